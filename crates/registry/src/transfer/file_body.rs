//! A part of a file as the body of a request or an answer.
//!
//! Big reads on the blocking pool, always one ahead: while a chunk is sent, the next is read. The first is smaller, so
//! that the other side has something early. A file that is shorter than promised fails the transfer: ending quietly
//! would look like success to a peer that was told no length.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

const FIRST_CHUNK: u64 = 64 * 1024;
const CHUNK: u64 = 512 * 1024;

/// Bytes of a file, streamed.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    /// Where the next read starts.
    at: u64,
    /// Where the last one ends.
    end: u64,
    /// What has been handed out.
    sent: u64,
    first: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    counter: Option<Arc<AtomicU64>>,
}

impl FileBody {
    /// `length` bytes from `first` on. They must be there.
    pub fn new(file: impl Into<Arc<File>>, first: u64, length: u64) -> Self {
        Self {
            file: file.into(),
            at: first,
            end: first + length,
            sent: first,
            first,
            reading: None,
            counter: None,
        }
    }

    /// The same, with a counter that says how much was handed out.
    pub(crate) fn counted(self, counter: Arc<AtomicU64>) -> Self {
        counter.store(0, Ordering::Relaxed);
        Self {
            counter: Some(counter),
            ..self
        }
    }

    fn read_next(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let chunk = if self.at == self.first { FIRST_CHUNK } else { CHUNK };
        let length = chunk.min(self.end - self.at);
        if length == 0 {
            return None;
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        self.at += length;
        Some(tokio::task::spawn_blocking(move || {
            read_exactly(&file, at, length)
        }))
    }
}

/// Bytes at a place of a file, all of them or an error.
pub(crate) fn read_exactly(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.reading.is_none() {
            self.reading = self.read_next();
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let outcome = ready!(Pin::new(reading).poll(cx))
            .map_err(io::Error::other)
            .flatten();
        self.reading = None;
        match outcome {
            Ok(chunk) => {
                self.sent += chunk.len() as u64;
                if let Some(counter) = &self.counter {
                    counter.store(self.sent - self.first, Ordering::Relaxed);
                }
                self.reading = self.read_next();
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Err(error) => {
                self.at = self.end;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write;

    #[tokio::test]
    async fn every_part_arrives_whole() {
        let data: Vec<u8> = (0..1_500_000u32).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        let file = Arc::new(file);
        for (first, length) in [(0, 1_500_000), (0, 0), (7, 1), (1_499_999, 1), (65_000, 700_000)] {
            let body = FileBody::new(Arc::clone(&file), first as u64, length as u64);
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(length as u64));
            let got = body.collect().await.unwrap().to_bytes();
            assert!(got[..] == data[first..first + length], "{first}+{length}");
        }
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert!(FileBody::new(file, 0, 10).collect().await.is_err());
    }
}
