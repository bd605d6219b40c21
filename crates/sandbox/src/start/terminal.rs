//! The terminal of a process: a pair of the container's own `/dev/pts`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use crate::beneath;
use crate::error::{Doing as _, Result};

/// Both ends of a terminal.
pub(super) struct Terminal {
    pub(super) near: OwnedFd,
    pub(super) far: OwnedFd,
}

/// Opens a new terminal; the calling process is in the container's root.
pub(super) fn open() -> Result<Terminal> {
    let action = || "open the container's /dev/pts/ptmx".to_owned();
    let root = beneath::own_root().doing(action)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let near = beneath::open_inside(&root, Path::new("/dev/pts/ptmx"), flags).doing(action)?;
    drop(root);
    unlockpt(&near).doing(|| "unlock a terminal".into())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let far = ioctl_tiocgptpeer(&near, flags).doing(|| "open a terminal".into())?;
    Ok(Terminal { near, far })
}
