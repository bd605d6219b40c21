//! Many blocks at once, written in order.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use shipway_oci::{Algorithm, Digest, Hasher};

use super::ahead::Chunk;
use super::blocks::Blocks;
use super::cut::LEAST_BYTES;
use super::frame::{Frame, Worker};
use super::known::Made;
use super::{CompressError, Compression, Known, Pieces};

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

type Job = (Chunk, mpsc::SyncSender<Result<Made, CompressError>>);

/// Gives the next block; an empty one at the end.
type Source<'a> = dyn FnMut() -> Result<Chunk, CompressError> + 'a;

/// Gives the pieces of earlier layers, once it is clear that a layer has several.
pub(crate) type Earlier<'a> = dyn Fn() -> Arc<Known> + 'a;

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
        let (mut blocks, mut hasher, mut uncompressed) =
            (Blocks::new(input), Hasher::new(Algorithm::Sha256), 0);
        let mut next = || {
            let block = blocks.next()?;
            hasher.update(&block);
            uncompressed += block.len() as u64;
            Ok(block.into())
        };
        self.write(compression, &mut next, None, output)?;
        Ok(Compressed {
            diff_id: hasher.finish(),
            uncompressed,
        })
    }

    /// Writes a layer to `output` out of blocks that somebody else reads, and of pieces that `earlier` layers have. Gives its own
    /// pieces, if earlier ones were asked for.
    pub(super) fn write(
        &self,
        compression: Compression,
        source: &mut Source<'_>,
        earlier: Option<&Earlier<'_>>,
        output: &mut dyn Write,
    ) -> Result<Pieces, CompressError> {
        let mut frame = Frame::open(compression, output)?;
        let mut worker = Worker::new(compression)?;
        let mut pieces = Pieces::default();
        let first = source()?;
        // Most layers of a Dockerfile are smaller than one block: no thread is worth starting for them, and no piece remembering.
        let second = if first.len() >= LEAST_BYTES {
            source()?
        } else {
            Chunk::default()
        };
        let is_plain = compression == Compression::Uncompressed;
        let is_single = second.is_empty();
        let known = earlier
            .filter(|_| !is_plain && !is_single)
            .map(|earlier| earlier());
        let mut written = |made: Made| {
            frame.write(&made.block)?;
            if let Some((piece, is_copied)) = made.piece {
                pieces.add(piece, is_copied);
            }
            Ok(())
        };
        let mut ready = [first, second].into_iter().filter(|block| !block.is_empty());
        let mut next = || ready.next().map_or_else(&mut *source, Ok);
        if is_single || is_plain || self.threads == 1 {
            loop {
                let block = next()?;
                if block.is_empty() {
                    break;
                }
                written(Made::of(&block, known.as_deref(), &mut worker)?)?;
            }
        } else {
            self.in_parallel(compression, known.as_deref(), &mut next, &mut written)?;
        }
        frame.close(&mut worker)?;
        Ok(pieces)
    }

    fn in_parallel(
        &self,
        compression: Compression,
        known: Option<&Known>,
        next: &mut Source<'_>,
        written: &mut dyn FnMut(Made) -> Result<(), CompressError>,
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
                        let made = match &mut worker {
                            Ok(worker) => Made::of(&block, known, worker),
                            Err(why) => Err(why.take().unwrap_or(CompressError::ThreadLost)),
                        };
                        // The receiver is gone when the layer failed meanwhile.
                        let _ = result.send(made);
                    }
                });
            }
            let jobs = jobs;
            let mut pending = VecDeque::new();
            loop {
                let block = next()?;
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
                    written(receiver.recv().map_err(|_| CompressError::ThreadLost)??)?;
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
