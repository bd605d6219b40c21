//! One reader of a spool, at its own pace.

use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use shipway_store::MeteredFile;
use tokio::sync::watch;

use super::{Extent, HEADER, OutputChunk, OutputError, OutputStream, PIECE, Spool};

/// How much one read of the file takes: the memory that a reader holds.
const WINDOW: usize = 4 * (PIECE + HEADER);

/// What was read goes back to the disk in parts of this size.
const GIVEN_BACK: u64 = 1 << 20;

/// Where a reader is done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    Offset(u64),
    EndOfRun(usize),
}

/// The output of a process, from some point on: a stream of chunks that ends when there is no more to come.
pub struct Output {
    chunks: BoxStream<'static, Result<OutputChunk, OutputError>>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    pub(super) fn new(spool: &Spool, offset: u64, until: Until) -> Self {
        Self::of(Cursor::new(spool, offset, until))
    }

    /// All of it, for the only reader that there will be: what it has read goes back to the disk.
    pub(super) fn once(spool: &Spool, until: Until) -> Self {
        Self::of(Cursor {
            given_back: Some(0),
            ..Cursor::new(spool, 0, until)
        })
    }

    fn of(cursor: Cursor) -> Self {
        let chunks = futures::stream::unfold(cursor, |mut cursor| async move {
            let item = cursor.next().await.transpose()?;
            cursor.failed = item.is_err();
            Some((item, cursor))
        });
        Self {
            chunks: chunks.boxed(),
        }
    }

    /// The next chunk, or nothing at the end.
    ///
    /// # Errors
    /// When the output was not kept or cannot be read; nothing follows.
    pub async fn chunk(&mut self) -> Result<Option<OutputChunk>, OutputError> {
        self.chunks.next().await.transpose()
    }
}

impl Stream for Output {
    type Item = Result<OutputChunk, OutputError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_next_unpin(context)
    }
}

struct Cursor {
    file: Arc<MeteredFile>,
    extent: watch::Receiver<Extent>,
    offset: u64,
    until: Until,
    window: Bytes,
    failed: bool,
    /// How much of the file is given back; nothing where others may read it.
    given_back: Option<u64>,
}

/// What the extent says to a reader at its offset.
enum Next {
    Bytes { limit: u64 },
    Wait,
    End,
    Failure(Arc<io::Error>),
}

impl Cursor {
    fn new(spool: &Spool, offset: u64, until: Until) -> Self {
        Self {
            file: Arc::clone(&spool.file),
            extent: spool.extent.subscribe(),
            offset,
            until,
            window: Bytes::new(),
            failed: false,
            given_back: None,
        }
    }

    async fn next(&mut self) -> Result<Option<OutputChunk>, OutputError> {
        if self.failed {
            return Ok(None);
        }
        loop {
            if let Some(chunk) = self.take() {
                return Ok(Some(chunk));
            }
            let next = self.look();
            match next {
                Next::End => return Ok(None),
                Next::Failure(source) => return Err(OutputError::Written { source }),
                // The last writer's spool is gone with its container: nothing more can come.
                Next::Wait if self.extent.changed().await.is_err() => return Ok(None),
                Next::Wait => {}
                Next::Bytes { limit } => self.fill(limit).await?,
            }
        }
    }

    fn look(&mut self) -> Next {
        let extent = self.extent.borrow_and_update();
        let (limit, ended) = match self.until {
            Until::Offset(end) => (end, true),
            Until::EndOfRun(run) => match extent.ends.get(run) {
                Some(end) => (*end, true),
                None => (extent.length, false),
            },
        };
        if self.offset < limit {
            Next::Bytes { limit }
        } else if let Some(failure) = &extent.failure {
            Next::Failure(Arc::clone(failure))
        } else if ended {
            Next::End
        } else {
            Next::Wait
        }
    }

    async fn fill(&mut self, limit: u64) -> Result<(), OutputError> {
        let length = usize::try_from(limit - self.offset).unwrap_or(WINDOW).min(WINDOW);
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let gone = offset - offset % GIVEN_BACK;
        let given_back = self.given_back.filter(|given_back| *given_back < gone);
        if let Some(given_back) = &mut self.given_back {
            *given_back = gone;
        }
        let read = tokio::task::spawn_blocking(move || {
            if let Some(from) = given_back
                && let Err(error) = file.give_back(from, gone)
            {
                tracing::debug!(%error, "what was read of an output stays on the disk until its process is gone");
            }
            let mut buffer = vec![0; length];
            file.file().read_exact_at(&mut buffer, offset)?;
            Ok(buffer)
        });
        let buffer = read.await.map_err(io::Error::other).and_then(|read| read);
        self.window = buffer
            .map_err(|source| OutputError::Read {
                source: Arc::new(source),
            })?
            .into();
        Ok(())
    }

    /// The first whole piece of the window. A piece cut off by the window's end is read again from its start.
    fn take(&mut self) -> Option<OutputChunk> {
        if self.window.len() < HEADER {
            self.window.clear();
            return None;
        }
        let mut header = self.window.slice(..HEADER);
        let stream = if header.get_u8() == 1 {
            OutputStream::Stdout
        } else {
            OutputStream::Stderr
        };
        let time = UNIX_EPOCH + Duration::from_nanos(header.get_u64());
        let end = HEADER + usize::try_from(header.get_u32()).unwrap_or(usize::MAX - HEADER);
        if self.window.len() < end {
            self.window.clear();
            return None;
        }
        let piece = self.window.split_to(end);
        self.offset += end as u64;
        Some(OutputChunk {
            stream,
            time,
            bytes: piece.slice(HEADER..),
        })
    }
}
