//! The marks by which a directory says that something of the layers below is gone.
//!
//! Overlayfs's own: a character device 0:0, and an attribute of a directory that hides all below it. On an overlay itself, such as
//! the root of a container, the kernel makes no such device; there a whiteout is an empty file with an attribute, overlayfs's other
//! form of it. No mount ever reads that one: who may mount makes devices.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::sys;

/// On a directory that shows nothing of the layers below.
const OPAQUE: &str = "user.overlay.opaque";
/// On an empty file that stands for one that is gone.
const WHITEOUT: &str = "user.overlay.whiteout";

/// Marks a name as gone. `EXIST` when the directory has it.
pub(crate) fn make(directory: impl AsFd, name: &OsStr) -> std::result::Result<(), Errno> {
    match sys::make_whiteout(&directory, name) {
        Err(Errno::PERM) => make_by_attribute(directory, name),
        other => other,
    }
}

/// The form for where no such device can be made.
pub(crate) fn make_by_attribute(directory: impl AsFd, name: &OsStr) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fsetxattr(file, WHITEOUT, b"y", XattrFlags::empty())
}

/// Marks a directory as showing nothing of the layers below.
pub(crate) fn make_opaque(directory: impl AsFd) -> std::result::Result<(), Errno> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Whether a directory is marked so.
pub(crate) fn is_opaque(directory: impl AsFd) -> bool {
    let mut value = [0; 8];
    rustix::fs::fgetxattr(directory, OPAQUE, &mut value).is_ok_and(|length| value[..length] == *b"y")
}

/// Whether what has this status is the mark that its name is gone.
pub(crate) fn is_one(parent: &OwnedFd, name: &OsStr, status: &Stat) -> bool {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::CharacterDevice => status.st_rdev == 0,
        FileType::RegularFile if status.st_size == 0 => has_attribute(parent, name),
        _ => false,
    }
}

fn has_attribute(parent: &OwnedFd, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut value = [0; 8];
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .and_then(|file| rustix::fs::fgetxattr(file, WHITEOUT, &mut value))
        .is_ok()
}
