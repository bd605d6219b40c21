//! Answers that are an archive made by somebody who writes into a pipe, blocking.
//!
//! The archive is sent while it is made. What fails before its first byte is still a proper error; what fails later
//! breaks the connection off, so that nobody takes half an archive for a whole one.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use futures::StreamExt as _;
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;

use crate::failure::Failure;
use crate::reply::{self, Reply, TAR};

const PIECE: usize = 64 * 1024;

/// Streams what `start`'s task writes into the descriptor that it is given; the task's error is a sentence.
pub(crate) async fn answer(
    start: impl FnOnce(OwnedFd) -> JoinHandle<Result<(), String>>,
) -> Result<Reply, Failure> {
    let (mut near, far) =
        pipe().map_err(|error| Failure::internal(format!("cannot make a pipe: {error}")))?;
    let work = start(far);
    let mut first = vec![0; PIECE];
    let read = near
        .read(&mut first)
        .await
        .map_err(|error| Failure::internal(error.to_string()))?;
    first.truncate(read);
    if read == 0 {
        outcome(work)
            .await
            .map_err(|error| Failure::internal(error.to_string()))?;
        return Ok(reply::bytes(http::StatusCode::OK, TAR, ""));
    }
    let end =
        futures::stream::once(outcome(work)).filter_map(|ended| std::future::ready(ended.err().map(Err)));
    let first = futures::stream::once(std::future::ready(Ok(Bytes::from(first))));
    Ok(reply::stream(
        TAR,
        first.chain(ReaderStream::with_capacity(near, PIECE)).chain(end),
    ))
}

async fn outcome(work: JoinHandle<Result<(), String>>) -> io::Result<()> {
    work.await
        .map_err(|_| io::Error::other("the archive's writer ended early"))?
        .map_err(io::Error::other)
}

/// A pipe whose near end is read by us and whose far end somebody writes to, blocking.
fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&near, OFlags::NONBLOCK)?;
    Ok((Receiver::from_owned_fd(near)?, far))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_early_failure_is_an_answer_and_a_late_one_breaks_off() {
        let early = answer(|_output| tokio::spawn(async { Err("no such file".to_owned()) })).await;
        assert_eq!(early.unwrap_err().message(), "no such file");
        let late = answer(|output| {
            tokio::task::spawn_blocking(move || {
                std::fs::File::from(output)
                    .write_all(&[1; 200_000])
                    .map_err(|error| error.to_string())?;
                Err("disk full".to_owned())
            })
        });
        let error = late.await.unwrap().into_body().collect().await.unwrap_err();
        assert_eq!(error.to_string(), "disk full");
    }

    #[tokio::test]
    async fn all_bytes_arrive() {
        let reply = answer(|output| {
            tokio::task::spawn_blocking(move || {
                std::fs::File::from(output)
                    .write_all(&[7; 300_000])
                    .map_err(|error| error.to_string())
            })
        });
        let body = reply
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert!(body.len() == 300_000 && body.iter().all(|byte| *byte == 7));
    }
}
