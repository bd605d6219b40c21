//! Bodies of requests: bounded, with a limit on silence, and handed to a blocking thread.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use shipway_access::Principal;
use tokio::time::timeout;

use super::paced::{Paced, Piece};
use super::{Inner, ServerOptions};
use crate::transfer::{Chunks, Feed, chunks};
use crate::wire::{ErrorCode, RegistryError};

/// A body of up to this size is gathered first: then one visit to a blocking thread does everything.
const SMALL: usize = 256 * 1024;
/// How much of a body that nobody wants is read, so that the client gets to read our answer.
const DRAINED: u64 = 16 * 1024 * 1024;

/// How reading a body ended.
enum Ended {
    /// At its end.
    Done,
    /// Cut, silent for too long, or too slow.
    Interrupted,
    /// Longer than allowed.
    TooLarge,
    /// The reader wants no more.
    Unwanted,
}

/// Runs `work` on a blocking thread with the chunks of a body.
///
/// `work` learns whether the body came to its end, and is awaited even when it did not, so that it can put away what
/// arrived.
pub(super) async fn with_chunks<B, T>(
    body: B,
    inner: &Inner,
    principal: &Principal,
    work: impl FnOnce(Chunks) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError>
where
    B: Body<Data = Bytes>,
    T: Send + 'static,
{
    let options = &inner.options;
    let mut body = pin!(body);
    let mut paced = Paced::new(body.as_mut(), options);
    let mut gathered = BytesMut::new();
    let mut ended = None;
    while ended.is_none() && gathered.len() < SMALL && paced.announced() < SMALL as u64 {
        match paced.next().await {
            Piece::Data(data) => gathered.extend_from_slice(&data),
            Piece::End => ended = Some(Ended::Done),
            Piece::Interrupted => ended = Some(Ended::Interrupted),
        }
    }
    let gathered = gathered.freeze();
    if let Some(Ended::Done) = ended {
        return blocking(move || work(Chunks::whole(gathered))).await;
    }
    // Each of these holds a blocking thread for as long as its client takes; there must be some left for others.
    let _place = match inner.streams.place(principal).await {
        Ok(place) => place,
        Err(refused) => {
            drain(body, options).await;
            return Err(refused);
        }
    };
    let (feed, chunks) = chunks();
    let working = tokio::spawn(blocking(move || work(chunks)));
    let mut total = gathered.len() as u64;
    let wanted = gathered.is_empty() || feed.send(gathered).await;
    let ended = match ended {
        Some(ended) => ended,
        None if !wanted => Ended::Unwanted,
        None => feed_rest(&mut paced, &feed, options.max_blob_bytes, &mut total).await,
    };
    if let Ended::Done = ended {
        feed.end().await;
    } else {
        drop(feed);
    }
    if let Ended::Unwanted = ended {
        drain(body, options).await;
    }
    let outcome = working.await.map_err(RegistryError::internal)?;
    match ended {
        Ended::TooLarge => Err(too_large(options.max_blob_bytes)),
        _ => outcome,
    }
}

async fn feed_rest<B: Body<Data = Bytes>>(
    paced: &mut Paced<'_, B>,
    feed: &Feed,
    limit: u64,
    total: &mut u64,
) -> Ended {
    loop {
        match paced.next().await {
            Piece::Data(data) => {
                *total += data.len() as u64;
                if *total > limit {
                    return Ended::TooLarge;
                }
                if !feed.send(data).await {
                    return Ended::Unwanted;
                }
            }
            Piece::End => return Ended::Done,
            Piece::Interrupted => return Ended::Interrupted,
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(RegistryError::internal)
        .flatten()
}

/// A whole body of at most `limit` bytes.
pub(super) async fn collect<B>(body: B, limit: usize, options: &ServerOptions) -> Result<Bytes, RegistryError>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut paced = Paced::new(body.as_mut(), options);
    let mut gathered = BytesMut::new();
    if paced.announced() > limit as u64 {
        drain(body, options).await;
        return Err(too_large(limit as u64));
    }
    loop {
        match paced.next().await {
            Piece::Data(data) => {
                if gathered.len() + data.len() > limit {
                    drain(body, options).await;
                    return Err(too_large(limit as u64));
                }
                gathered.extend_from_slice(&data);
            }
            Piece::End => return Ok(gathered.freeze()),
            Piece::Interrupted => {
                return Err(RegistryError::with_message(
                    ErrorCode::SizeInvalid,
                    "the connection ended before the content did, or the content came too slowly",
                ));
            }
        }
    }
}

/// Reads and forgets a body that nobody wants, up to a limit of bytes and of time. Otherwise a client that is still writing
/// would find its connection reset before it could read the answer.
pub(super) async fn drain<B: Body<Data = Bytes>>(body: B, options: &ServerOptions) {
    let mut body = pin!(body);
    let mut paced = Paced::new(body.as_mut(), options);
    if paced.announced() > DRAINED {
        return;
    }
    let reading = async {
        let mut seen = 0;
        while seen < DRAINED
            && let Piece::Data(data) = paced.next().await
        {
            seen += data.len() as u64;
        }
    };
    // Late or not, the answer goes out next.
    let _ = timeout(options.body_timeout, reading).await;
}

fn too_large(limit: u64) -> RegistryError {
    RegistryError::with_message(
        ErrorCode::SizeInvalid,
        format!("the content is larger than {limit} bytes"),
    )
    .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}
