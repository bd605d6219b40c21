//! The standard input of a container: a pipe that exists before the process does, so that a client can be attached to
//! it first, as docker's is.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use shipway_sandbox::Keeper;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;

/// What a container was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StdinMode {
    /// It reads nothing.
    Closed,
    /// It reads what the first one who attaches writes, and sees the end when that one is done.
    Once,
    /// It reads what anybody writes, and sees no end.
    Open,
}

/// The pipe of the present or the next run.
#[derive(Debug)]
pub(super) struct StdinPipe {
    mode: StdinMode,
    ends: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    read: Option<OwnedFd>,
    write: Option<OwnedFd>,
}

impl Ends {
    /// The pipe of a run belongs to the pod's root, so that the process may open `/dev/stdin` again.
    fn make(&mut self, keeper: &Keeper) -> io::Result<()> {
        let (read, write) = keeper.pipe().map_err(io::Error::other)?;
        *self = Self {
            read: Some(read),
            write: Some(write),
        };
        Ok(())
    }
}

impl StdinPipe {
    pub(super) fn new(mode: StdinMode) -> Self {
        Self {
            mode,
            ends: Mutex::default(),
        }
    }

    /// The writing end, or nothing when it is not to be had.
    pub(super) fn attach(&self, keeper: &Keeper) -> Option<Stdin> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode == StdinMode::Closed {
            return None;
        }
        if ends.read.is_none()
            && ends.write.is_none()
            && let Err(error) = ends.make(keeper)
        {
            tracing::warn!(%error, "a container gets no standard input");
            return None;
        }
        let write = match self.mode {
            StdinMode::Open => ends.write.as_ref()?.try_clone().ok()?,
            StdinMode::Once | StdinMode::Closed => ends.write.take()?,
        };
        Stdin::new(write)
            .inspect_err(|error| tracing::warn!(%error, "a container gets no standard input"))
            .ok()
    }

    /// The reading end, for a run that begins.
    pub(super) fn begin_run(&self, keeper: &Keeper) -> io::Result<Option<OwnedFd>> {
        if self.mode == StdinMode::Closed {
            return Ok(None);
        }
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.read.is_none() {
            ends.make(keeper)?;
        }
        Ok(ends.read.take())
    }

    /// The run is over: the next one has a pipe of its own.
    pub(super) fn end_run(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Ends::default();
    }
}

/// A pipe for a process that starts at once.
pub(super) fn pipe_for_exec(keeper: &Keeper) -> io::Result<(OwnedFd, Stdin)> {
    let (read, write) = keeper.pipe().map_err(io::Error::other)?;
    Ok((read, Stdin::new(write)?))
}

/// What a process reads. Shut down or dropped, the process sees the end.
#[derive(Debug)]
pub struct Stdin {
    pipe: Option<pipe::Sender>,
}

impl Stdin {
    fn new(write: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&write, true)?;
        Ok(Self {
            pipe: Some(pipe::Sender::from_owned_fd(write)?),
        })
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.pipe {
            Some(pipe) => Pin::new(pipe).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.pipe {
            Some(pipe) => Pin::new(pipe).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe = None;
        Poll::Ready(Ok(()))
    }
}

/// From a pipe to a terminal, in a thread that ends with either of them.
pub(super) fn feed_terminal(read: OwnedFd, terminal: OwnedFd) -> io::Result<()> {
    std::thread::Builder::new()
        .name("terminal-input".into())
        .spawn(move || {
            let (mut read, mut terminal) = (std::fs::File::from(read), std::fs::File::from(terminal));
            // The end of the client's input is not the end of the terminal, and a terminal that is gone needs no input.
            let _ = io::copy(&mut read, &mut terminal);
        })?;
    Ok(())
}
