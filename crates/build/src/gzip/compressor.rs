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
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Text that compresses, with a tail that does not.
    fn sample(length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        let mut state: u32 = 7;
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if bytes.len() % 5000 < 4000 {
                bytes.extend_from_slice(b"the same words again and again ");
            }
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn gzip(threads: usize, input: &[u8]) -> (Compressed, Vec<u8>) {
        let mut output = Vec::new();
        let done = Compressor::with_threads(threads)
            .run(&mut &input[..], &mut output)
            .expect("memory does not fail");
        (done, output)
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes_and_one_member() {
        for length in [
            0,
            1,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            5 * BLOCK_BYTES + 77,
        ] {
            let input = sample(length);
            let (one, bytes) = gzip(1, &input);
            for threads in [2, 3, 8] {
                assert_eq!(
                    gzip(threads, &input),
                    (one.clone(), bytes.clone()),
                    "{length} bytes, {threads} threads"
                );
            }
            assert_eq!(one.diff_id, Digest::sha256(&input));
            assert_eq!(one.uncompressed, length as u64);
            let mut member = flate2::bufread::GzDecoder::new(&bytes[..]);
            let mut back = Vec::new();
            member.read_to_end(&mut back).expect("valid gzip");
            assert!(back == input, "{length} bytes come back");
            assert!(member.into_inner().is_empty(), "nothing behind the only member");
        }
    }

    #[test]
    fn incompressible_bytes_pass() {
        let mut state: u64 = 1;
        let input: Vec<u8> = (0..2 * BLOCK_BYTES)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                u8::try_from(state & 0xff).expect("a byte")
            })
            .collect();
        let (_, bytes) = gzip(2, &input);
        assert!(bytes.len() < input.len() + 256, "{} bytes", bytes.len());
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut back)
            .expect("valid gzip");
        assert!(back == input);
    }

    /// The digest of a layer is a promise: a change of level, block size or library must be noticed here.
    #[test]
    fn the_bytes_are_pinned() {
        let (_, bytes) = gzip(2, &sample(3 * BLOCK_BYTES));
        assert_eq!(
            Digest::sha256(&bytes).to_string(),
            "sha256:8e3d2fbf99ece1cba4d655ed488a9d7e28dc679a230078c1d91840a48794e3e1"
        );
    }

    #[test]
    fn gnu_gunzip_reads_it() {
        let input = sample(3 * BLOCK_BYTES + 5);
        let (_, bytes) = gzip(3, &input);
        let Ok(mut child) = Command::new("gunzip")
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            return;
        };
        let mut stdin = child.stdin.take().expect("piped");
        let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = child.wait_with_output().expect("gunzip runs");
        feeder.join().expect("no panic").expect("gunzip reads");
        assert!(output.status.success() && output.stdout == input);
    }

    #[test]
    fn a_failing_reader_fails_the_layer() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0 == 0 {
                    return Err(std::io::Error::other("gone"));
                }
                let length = self.0.min(buffer.len());
                self.0 -= length;
                buffer[..length].fill(1);
                Ok(length)
            }
        }
        for before in [0, 10, 4 * BLOCK_BYTES] {
            let result = Compressor::with_threads(2).run(&mut Broken(before), &mut std::io::sink());
            assert!(matches!(result, Err(GzipError::Read { .. })));
        }
    }
}
