//! Many blocks at once, written in order.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError, mpsc};

use shipway_oci::Digest;

use super::ahead::Chunk;
use super::blocks::{BLOCK_BYTES, Blocks};
use super::frame::{Block, Frame, Worker};
use super::{CompressError, Compression};

/// What went through a [`Compressor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// Digest of the uncompressed bytes.
    pub diff_id: Digest,
    /// How many they were.
    pub uncompressed: u64,
}

/// Turns tar bytes into a layer's bytes on several threads.
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

type Job = (Chunk, mpsc::SyncSender<Result<Block, CompressError>>);

/// Gives the next block; an empty one at the end.
type Source<'a> = dyn FnMut() -> Result<Chunk, CompressError> + 'a;

/// Blocks of one layer that are being compressed or wait to be written, whatever the number of threads.
const MOST_PENDING: usize = 32;

impl Compressor {
    /// A number of threads; the result does not depend on it.
    pub fn with_threads(threads: usize) -> Self {
        Self {
            threads: threads.clamp(1, 64),
        }
    }

    /// Reads `input` to its end and writes a layer to `output`. At most two blocks per thread are in memory.
    ///
    /// # Errors
    /// When one of both sides fails.
    pub fn run(
        &self,
        compression: Compression,
        input: &mut dyn Read,
        output: &mut dyn Write,
    ) -> Result<Compressed, CompressError> {
        let mut blocks = Blocks::new(input);
        self.write(compression, &mut || Ok(blocks.next()?.into()), output)?;
        Ok(blocks.finish())
    }

    /// Writes a layer to `output` out of blocks that somebody else reads.
    pub(super) fn write(
        &self,
        compression: Compression,
        source: &mut Source<'_>,
        output: &mut dyn Write,
    ) -> Result<(), CompressError> {
        let mut frame = Frame::open(compression, output)?;
        let mut worker = Worker::new(compression)?;
        let first = source()?;
        // Most layers of a Dockerfile are smaller than one block: no thread is worth starting for them.
        let second = if first.len() == BLOCK_BYTES {
            source()?
        } else {
            Chunk::default()
        };
        let alone = second.is_empty() || self.threads == 1 || compression == Compression::Uncompressed;
        if alone {
            let mut block = first;
            let mut following = second;
            while !block.is_empty() {
                frame.write(&worker.compress(&block)?)?;
                block = std::mem::take(&mut following);
                if block.is_empty() {
                    block = source()?;
                }
            }
        } else {
            self.in_parallel(compression, vec![first, second], source, &mut frame)?;
        }
        frame.close(&mut worker)
    }

    fn in_parallel(
        &self,
        compression: Compression,
        ready: Vec<Chunk>,
        source: &mut Source<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<(), CompressError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let work = Mutex::new(work);
        let most = (2 * self.threads).min(MOST_PENDING);
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let mut worker = Worker::new(compression).map_err(Some);
                    loop {
                        let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((block, result)) = job else { return };
                        let compressed = match &mut worker {
                            Ok(worker) => worker.compress(&block),
                            Err(why) => Err(why.take().unwrap_or(CompressError::ThreadLost)),
                        };
                        // The receiver is gone when the layer failed meanwhile.
                        let _ = result.send(compressed);
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
                    pending.push_back(receiver);
                    jobs.send((block, sender))
                        .map_err(|_| CompressError::ThreadLost)?;
                }
                while pending.len() > if ended { 0 } else { most } {
                    let Some(receiver) = pending.pop_front() else {
                        break;
                    };
                    frame.write(&receiver.recv().map_err(|_| CompressError::ThreadLost)??)?;
                }
                if ended {
                    return Ok(());
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
