//! How long a peer may say nothing.
//!
//! Silence is the measure and not duration: a layer of gigabytes may take an hour, as long as something moves. The HTTP
//! library's own limit counts the time of sending a body as silence of the other side, so it is not used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::transport::unreachable;

/// Nothing moved for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} seconds", limit.as_secs_f32())]
pub(super) struct Silent {
    limit: Duration,
}

/// The next bytes of an answer.
pub(super) async fn next_chunk(
    response: &mut Response,
    host: &str,
    limit: Duration,
) -> Result<Option<Bytes>, ClientError> {
    match timeout(limit, response.chunk()).await {
        Ok(chunk) => chunk.map_err(|error| unreachable(host.to_owned(), error)),
        Err(_) => Err(silent(host, limit)),
    }
}

/// The head of an answer; while `sent` grows, the other side is listening and may be silent.
pub(super) async fn answer(
    answering: impl Future<Output = Result<Response, reqwest::Error>>,
    sent: Option<&AtomicU64>,
    host: &str,
    limit: Duration,
) -> Result<Response, ClientError> {
    let mut answering = std::pin::pin!(answering);
    let count = || sent.map_or(0, |sent| sent.load(Ordering::Relaxed));
    let mut seen = count();
    loop {
        tokio::select! {
            answer = &mut answering => {
                return answer.map_err(|error| unreachable(host.to_owned(), error));
            }
            () = sleep(limit) => {
                if count() == seen {
                    return Err(silent(host, limit));
                }
                seen = count();
            }
        }
    }
}

fn silent(host: &str, limit: Duration) -> ClientError {
    ClientError::Unreachable {
        host: host.to_owned(),
        source: Box::new(Silent { limit }),
    }
}
