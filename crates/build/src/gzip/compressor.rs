//! Many blocks at once, written in order.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError, mpsc};

use shipway_oci::Digest;

use super::ahead::Chunk;
use super::block::{BLOCK_BYTES, Block, FINAL_BLOCK, HEADER, compress};
use super::blocks::Blocks;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GzipError {
    /// The tar could not be read.
    #[error("cannot read the layer's tar")]
    Read {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The compressed bytes could not be written.
    #[error("cannot write the compressed layer")]
    Write {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The compressor failed.
    #[error("cannot compress a block of the layer")]
    Deflate {
        /// What it says.
        #[source]
        source: flate2::CompressError,
    },
    /// A compressing thread ended early.
    #[error("a compressing thread ended before its block was done")]
    ThreadLost,
}

/// What went through a [`Compressor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// Digest of the uncompressed bytes.
    pub diff_id: Digest,
    /// How many they were.
    pub uncompressed: u64,
}

/// Turns tar bytes into gzip bytes on several threads.
#[derive(Debug, Clone, Copy)]
pub struct Compressor {
    threads: usize,
}

impl Default for Compressor {
    /// As many threads as there are processors for us.
    fn default() -> Self {
        Self::with_threads(std::thread::available_parallelism().map_or(1, NonZero::get))
    }
}

type Job = (Chunk, mpsc::SyncSender<Result<Block, GzipError>>);

/// Gives the next block; an empty one at the end.
type Source<'a> = dyn FnMut() -> Result<Chunk, GzipError> + 'a;

impl Compressor {
    /// A number of threads; the result does not depend on it.
    pub fn with_threads(threads: usize) -> Self {
        Self {
            threads: threads.clamp(1, 64),
        }
    }

    /// Reads `input` to its end and writes one gzip member to `output`. At most two blocks per thread are in memory.
    pub fn run(&self, input: &mut dyn Read, output: &mut dyn Write) -> Result<Compressed, GzipError> {
        let mut blocks = Blocks::new(input);
        self.write(&mut || Ok(blocks.next()?.into()), output)?;
        Ok(blocks.finish())
    }

    /// Writes one gzip member to `output` out of blocks that somebody else reads.
    pub(super) fn write(&self, source: &mut Source<'_>, output: &mut dyn Write) -> Result<(), GzipError> {
        let mut frame = Frame::open(output)?;
        let first = source()?;
        // Most layers of a Dockerfile are smaller than one block: no thread is worth starting for them.
        let second = if first.len() == BLOCK_BYTES {
            source()?
        } else {
            Chunk::default()
        };
        if second.is_empty() || self.threads == 1 {
            let mut block = first;
            let mut following = second;
            while !block.is_empty() {
                frame.write(compress(&block)?, block.len())?;
                block = std::mem::take(&mut following);
                if block.is_empty() {
                    block = source()?;
                }
            }
        } else {
            self.in_parallel(vec![first, second], source, &mut frame)?;
        }
        frame.close()
    }

    fn in_parallel(
        &self,
        ready: Vec<Chunk>,
        source: &mut Source<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), GzipError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let work = Mutex::new(work);
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    loop {
                        let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((block, result)) = job else { return };
                        // The receiver is gone when the layer failed meanwhile.
                        let _ = result.send(compress(&block));
                    }
                });
            }
            let jobs = jobs;
            let mut pending = VecDeque::new();
            let mut ready = ready.into_iter();
            loop {
                let block = match ready.next() {
                    Some(block) => block,
                    None => source()?,
                };
                let ended = block.is_empty();
                if !ended {
                    let (sender, receiver) = mpsc::sync_channel(1);
                    pending.push_back((block.len(), receiver));
                    jobs.send((block, sender)).map_err(|_| GzipError::ThreadLost)?;
                }
                while pending.len() > if ended { 0 } else { 2 * self.threads } {
                    let Some((length, receiver)) = pending.pop_front() else {
                        break;
                    };
                    frame.write(receiver.recv().map_err(|_| GzipError::ThreadLost)??, length)?;
                }
                if ended {
                    return Ok(());
                }
            }
        })
    }
}

/// The gzip member around the blocks.
struct Frame<'a> {
    output: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    length: u32,
}

impl<'a> Frame<'a> {
    fn open(output: &'a mut dyn Write) -> Result<Self, GzipError> {
        output
            .write_all(&HEADER)
            .map_err(|source| GzipError::Write { source })?;
        Ok(Self {
            output,
            crc: crc32fast::Hasher::new(),
            length: 0,
        })
    }

    fn write(&mut self, block: Block, length: usize) -> Result<(), GzipError> {
        self.crc.combine(&block.crc);
        // The trailer holds the length modulo 2^32.
        #[allow(clippy::cast_possible_truncation)]
        let length = length as u32;
        self.length = self.length.wrapping_add(length);
        self.output
            .write_all(&block.bytes)
            .map_err(|source| GzipError::Write { source })
    }

    fn close(self) -> Result<(), GzipError> {
        let mut trailer = FINAL_BLOCK.to_vec();
        trailer.extend(self.crc.finalize().to_le_bytes());
        trailer.extend(self.length.to_le_bytes());
        self.output
            .write_all(&trailer)
            .map_err(|source| GzipError::Write { source })
    }
}

#[cfg(test)]
mod tests;
