//! Pipes between threads of ours and the keeper.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use shipway_sandbox::KeeperError;

use crate::error::StepError;

/// What an ordinary user may have in one pipe, by the kernel's default.
const PIPE_BYTES: usize = 1 << 20;

/// A pipe: read end, write end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // Both sides go on for longer before they wait for each other. The kernel may refuse; then it works as well.
    let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
    Ok((read, write))
}

/// Runs `produce` against the write end and `consume` against the read end at the same time. Each side closes its end
/// when it is done, so a side that fails ends the other. Of two failures the cause is told: a producer's broken pipe is
/// only the echo of its consumer's end, and a consumer's cut-off input that of its producer's.
pub(crate) fn through_pipe<A: Send, B>(
    produce: impl FnOnce(OwnedFd) -> Result<A, StepError> + Send,
    consume: impl FnOnce(OwnedFd) -> Result<B, StepError>,
) -> Result<(A, B), StepError> {
    let (read, write) = pipe()?;
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || produce(write));
        let consumed = consume(read);
        let produced = producer.join().unwrap_or(Err(StepError::Interrupted));
        match (produced, consumed) {
            (Ok(produced), Ok(consumed)) => Ok((produced, consumed)),
            (Err(echo), Err(cause)) if is_broken_pipe(&echo) => Err(cause),
            (Err(cause), _) | (Ok(_), Err(cause)) => Err(cause),
        }
    })
}

fn is_broken_pipe(error: &StepError) -> bool {
    const EPIPE: i32 = rustix::io::Errno::PIPE.raw_os_error();
    match error {
        StepError::Stream { source } => source.kind() == io::ErrorKind::BrokenPipe,
        StepError::Keeper {
            source: KeeperError::System { cause, .. },
            ..
        } => cause.errno() == EPIPE,
        _ => false,
    }
}

/// A pipe's end for reading or writing.
pub(crate) fn file(end: OwnedFd) -> File {
    File::from(end)
}

/// A reader that hashes what passes.
pub(super) struct Hashing<R> {
    inner: R,
    pub(super) hasher: blake3::Hasher,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A tar builder over a buffered pipe end, finished by [`finish`].
pub(super) fn tar_writer(end: OwnedFd) -> tar::Builder<io::BufWriter<File>> {
    tar::Builder::new(io::BufWriter::with_capacity(1 << 17, file(end)))
}

pub(super) fn finish(builder: tar::Builder<io::BufWriter<File>>) -> io::Result<()> {
    builder.into_inner()?.flush()
}
