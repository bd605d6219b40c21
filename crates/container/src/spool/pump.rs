//! From the pipes of a process into its spool.
//!
//! One thread per running process, in `poll`: writing to the file may wait for the disk, which a task of the runtime
//! must not, and a thread of its own sees bytes sooner than one shared with everybody. While it waits for the disk the
//! pipe fills and the process waits too; that is the only back-pressure there is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;

use super::{OutputStream, PIECE, SpoolWriter};

/// How long output is still taken after the process is gone: a child in the background may hold its pipe for ever.
const GRACE: Duration = Duration::from_secs(2);

/// A descriptor to read from, and what its bytes are called.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) stream: OutputStream,
    pub(crate) descriptor: OwnedFd,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Pump {
    exited: OwnedFd,
    thread: JoinHandle<()>,
}

impl Pump {
    pub(crate) fn spawn(sources: Vec<Source>, mut writer: SpoolWriter) -> io::Result<Self> {
        let exited = eventfd(0, EventfdFlags::CLOEXEC)?;
        let wake = exited.try_clone()?;
        let thread = std::thread::Builder::new().name("output".into()).spawn(move || {
            if let Err(error) = pump(sources, &wake, &mut writer) {
                tracing::error!(%error, "reading the output of a process");
                writer.fail(error);
            }
        })?;
        Ok(Self { exited, thread })
    }

    /// The process is gone: returns when what it wrote is in the spool and the run is closed.
    pub(crate) fn finish(self) {
        if let Err(error) = rustix::io::write(&self.exited, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "waking the output thread");
        }
        if self.thread.join().is_err() {
            tracing::error!("the output thread of a process panicked");
        }
    }
}

fn pump(mut sources: Vec<Source>, exited: &OwnedFd, writer: &mut SpoolWriter) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut deadline: Option<Instant> = None;
    let mut kept = true;
    while !sources.is_empty() {
        let timeout = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
            None => None,
            Some(Some(left)) => Some(left),
            Some(None) => return Ok(()),
        };
        let timeout = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut descriptors: Vec<_> = sources
            .iter()
            .map(|source| PollFd::from_borrowed_fd(source.descriptor.as_fd(), PollFlags::IN))
            .collect();
        if deadline.is_none() {
            descriptors.push(PollFd::from_borrowed_fd(exited.as_fd(), PollFlags::IN));
        }
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<_> = descriptors
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty())
            .collect();
        if deadline.is_none() && ready.last() == Some(&true) {
            deadline = Some(Instant::now() + GRACE);
        }
        let mut ready = ready.into_iter();
        let mut failure = None;
        sources.retain(|source| {
            if ready.next() != Some(true) {
                return true;
            }
            match rustix::io::read(&source.descriptor, &mut buffer) {
                // A terminal answers EIO when its last process is gone.
                Ok(0) | Err(Errno::IO) => false,
                Ok(length) => {
                    // Once the file is broken the pipes are still emptied, so that the process can end.
                    if kept && let Err(error) = writer.append(source.stream, &buffer[..length]) {
                        tracing::error!(%error, "keeping the output of a process");
                        writer.fail(error);
                        kept = false;
                    }
                    true
                }
                Err(Errno::INTR | Errno::AGAIN) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
    }
    Ok(())
}
