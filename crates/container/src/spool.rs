//! What a process wrote, kept in a file until its last reader is gone.
//!
//! A container's output has any number of readers (an attached client, `logs --follow`, the trace of a job), of any
//! speed, and every one of them must see every byte in order. Holding it in memory would let one slow reader or one
//! noisy container take the whole process down; blocking the writer would let a reader stop the container. So bytes go
//! into a file without a name, readers are told how far it reaches, and each reads at its own pace. The space is the only
//! bound, and it is given back when the container and its readers are gone, whatever way this process ends.
//!
//! Contract under failure: when the file cannot be written (a full disk), every reader gets [`OutputError::Written`]
//! after the last whole piece; nothing is skipped silently. The process itself is not stopped by it.

mod pump;
mod reader;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shipway_store::{Meter, MeteredFile};
use tokio::sync::watch;

pub(crate) use pump::{Pump, Source};
pub use reader::Output;
use reader::Until;

/// Which of a process's two outputs. With a terminal there is only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Some bytes that a process wrote, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it wrote them.
    pub stream: OutputStream,
    /// When we took them.
    pub time: SystemTime,
    /// The bytes: at most 64 KiB, never empty; a character or line may be split.
    pub bytes: Bytes,
}

/// The output of a process is not all there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutputError {
    /// It could not be kept.
    #[error("the output could not be kept from here on")]
    Written {
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// It could not be read back.
    #[error("the kept output cannot be read")]
    Read {
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
}

/// A piece in the file: stream, time in nanoseconds, length; then the bytes.
const HEADER: usize = 1 + 8 + 4;
/// The largest piece, and the size of one read from a pipe.
const PIECE: usize = 64 * 1024;

/// How far the file reaches, and where each run of the process ended in it.
#[derive(Debug, Clone, Default)]
struct Extent {
    length: u64,
    ends: Vec<u64>,
    running: bool,
    failure: Option<Arc<io::Error>>,
}

/// The file and its readers' notification. Clones share both.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    file: Arc<MeteredFile>,
    extent: Arc<watch::Sender<Extent>>,
}

impl Spool {
    /// An empty one, in a directory of ours; it counts for the meter while it is there. The file never has a name where the file
    /// system can do that.
    pub(crate) fn create(directory: &Path, meter: &Meter) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(MeteredFile::new(tempfile::tempfile_in(directory)?, meter)),
            extent: Arc::new(watch::Sender::new(Extent::default())),
        })
    }

    /// The process starts (again). There is one writer at a time; the container's states see to that.
    pub(crate) fn begin_run(&self) -> SpoolWriter {
        self.extent.send_modify(|extent| extent.running = true);
        SpoolWriter { spool: self.clone() }
    }

    /// Everything from the first byte on; `follow` goes on to the end of the present run.
    pub(crate) fn read_all(&self, follow: bool) -> Output {
        let extent = self.extent.borrow();
        let until = if follow && extent.running {
            Until::EndOfRun(extent.ends.len())
        } else {
            Until::Offset(extent.length)
        };
        drop(extent);
        Output::new(self, 0, until)
    }

    /// What comes from now on, to the end of the present run, or of the next one when there is none.
    pub(crate) fn read_on(&self) -> Output {
        let extent = self.extent.borrow();
        let (offset, run) = (extent.length, extent.ends.len());
        drop(extent);
        Output::new(self, offset, Until::EndOfRun(run))
    }

    /// Everything of the first run, which is under way or over.
    pub(crate) fn first_run(&self) -> Output {
        Output::new(self, 0, Until::EndOfRun(0))
    }

    /// Everything from the first byte on, to the end of the present run, or of the next one when there is none.
    pub(crate) fn to_end_of_run(&self) -> Output {
        let run = self.extent.borrow().ends.len();
        Output::new(self, 0, Until::EndOfRun(run))
    }

    /// The same, and nobody reads it after that.
    pub(crate) fn once_to_end_of_run(&self) -> Output {
        let run = self.extent.borrow().ends.len();
        Output::once(self, Until::EndOfRun(run))
    }
}

/// The writing end, for one run. Dropped, the run is over.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    spool: Spool,
}

impl SpoolWriter {
    fn append(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        let mut offset = self.spool.extent.borrow().length;
        for piece in bytes.chunks(PIECE) {
            let nanoseconds = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos();
            let mut frame = Vec::with_capacity(HEADER + piece.len());
            frame.push(match stream {
                OutputStream::Stdout => 1,
                OutputStream::Stderr => 2,
            });
            frame.extend_from_slice(&u64::try_from(nanoseconds).unwrap_or(u64::MAX).to_be_bytes());
            frame.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
            frame.extend_from_slice(piece);
            self.spool.file.write_all_at(&frame, offset)?;
            offset += frame.len() as u64;
        }
        self.spool.extent.send_modify(|extent| extent.length = offset);
        Ok(())
    }

    fn fail(&mut self, error: io::Error) {
        self.spool
            .extent
            .send_modify(|extent| extent.failure = Some(Arc::new(error)));
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.spool.extent.send_modify(|extent| {
            extent.running = false;
            extent.ends.push(extent.length);
        });
    }
}

#[cfg(test)]
mod tests;
