//! How long a peer may say nothing, and how little.
//!
//! Silence is the measure and not duration: a layer of gigabytes may take an hour, as long as something moves. The HTTP
//! library's own limit counts the time of sending a body as silence of the other side, so it is not used.
//! A body that trickles in is never silent: it keeps a least pace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{sleep, timeout};

use super::error::ClientError;
use super::transport::unreachable;
use crate::transfer::Pace;

/// Nothing, or next to nothing, moved for too long.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silent {
    #[error("nothing came for {} seconds", limit.as_secs_f32())]
    Wholly { limit: Duration },
    #[error("next to nothing came for {} seconds", limit.as_secs_f32())]
    Nearly { limit: Duration },
}

/// The next bytes of an answer.
pub(super) async fn next_chunk(
    response: &mut Response,
    host: &str,
    limit: Duration,
    pace: &mut Pace,
) -> Result<Option<Bytes>, ClientError> {
    let asked = Instant::now();
    let Ok(chunk) = timeout(limit, response.chunk()).await else {
        return Err(silent(host, Silent::Wholly { limit }));
    };
    let chunk = chunk.map_err(|error| unreachable(host.to_owned(), error))?;
    match &chunk {
        Some(bytes) if !pace.keeps_up(asked.elapsed(), bytes.len() as u64) => {
            Err(silent(host, Silent::Nearly { limit }))
        }
        _ => Ok(chunk),
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
                    return Err(silent(host, Silent::Wholly { limit }));
                }
                seen = count();
            }
        }
    }
}

fn silent(host: &str, silent: Silent) -> ClientError {
    ClientError::Unreachable {
        host: host.to_owned(),
        source: Box::new(silent),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use futures::stream;

    use super::next_chunk;
    use crate::client::options::Timeouts;

    #[tokio::test]
    async fn a_byte_now_and_then_does_not_hold_a_download() {
        let timeouts = Timeouts {
            idle: Duration::from_secs(1),
            ..Timeouts::default()
        };
        let trickle = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
        });
        let mut response = http::Response::new(reqwest::Body::wrap_stream(Box::pin(trickle))).into();
        let (mut pace, begun) = (timeouts.pace(), Instant::now());
        let error = loop {
            match next_chunk(&mut response, "slow", timeouts.idle, &mut pace).await {
                Ok(_) => assert!(begun.elapsed() < Duration::from_secs(60), "it goes on and on"),
                Err(error) => break error,
            }
        };
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("next to nothing"), "{said}");
    }
}
