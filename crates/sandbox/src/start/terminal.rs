//! The terminal of a process: a pair of the container's own `/dev/pts`.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use crate::error::{Doing as _, Result};

/// Both ends of a terminal.
pub(super) struct Terminal {
    pub(super) near: OwnedFd,
    pub(super) far: OwnedFd,
}

/// Opens a new terminal; the calling process is in the container's root.
pub(super) fn open() -> Result<Terminal> {
    let near = rustix::fs::open(
        "/dev/pts/ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(|| "open the container's /dev/pts/ptmx".into())?;
    unlockpt(&near).doing(|| "unlock a terminal".into())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let far = ioctl_tiocgptpeer(&near, flags).doing(|| "open a terminal".into())?;
    Ok(Terminal { near, far })
}
