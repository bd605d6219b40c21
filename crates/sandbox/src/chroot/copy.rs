//! One file of one tree into another, with all that an image records of it: a status here is as an image has it, and whose a file of
//! the other tree is to be, the owners of that one are told.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid};
use rustix::io::Errno;

use crate::archive::attributes;
use crate::overlay::modified_at;
use crate::owners::Owners;

const PIECE: usize = 64 * 1024 * 1024;

/// Copies `name` of `from`, which has this status, to the same name of `to`, where nothing is. Sockets and devices become nothing: no
/// layer has them. Directories are the caller's.
pub(super) fn file(
    from: &OwnedFd,
    (to, owners): (&OwnedFd, &Owners),
    name: &OsStr,
    status: &Stat,
) -> Result<(), Errno> {
    file_as((from, name), (to, name), owners, status)
}

/// The same under another name.
pub(super) fn file_as(
    (from, name): (&OwnedFd, &OsStr),
    (to, new_name): (&OwnedFd, &OsStr),
    owners: &Owners,
    status: &Stat,
) -> Result<(), Errno> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => return regular((from, name), (to, new_name), owners, status),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&target, to, new_name)?;
            own_by_name(to, new_name, owners, status)?;
        }
        FileType::Fifo => {
            rustix::fs::mkfifoat(to, new_name, Mode::from_raw_mode(0o600))?;
            own_by_name(to, new_name, owners, status)?;
            let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
            rustix::fs::chmodat(to, new_name, mode, AtFlags::empty())?;
        }
        _ => return Ok(()),
    }
    let times = modified_at(status.st_mtime, status.st_mtime_nsec as i64);
    rustix::fs::utimensat(to, new_name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn own_by_name(to: &OwnedFd, name: &OsStr, owners: &Owners, status: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    owners.own_named(to, name, uid, gid)
}

fn regular(
    (from, name): (&OwnedFd, &OsStr),
    (to, new_name): (&OwnedFd, &OsStr),
    owners: &Owners,
    status: &Stat,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, new_name, flags, Mode::from_raw_mode(0o600))?;
    contents(&source, &target, u64::try_from(status.st_size).unwrap_or(0))?;
    looks(&source, &target, owners, status)
}

/// Gives an open file or directory the owner, mode, attributes and time of another, in the order in which none undoes another.
pub(super) fn looks(
    source: impl AsFd,
    target: impl AsFd,
    owners: &Owners,
    status: &Stat,
) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    owners.own(&target, uid, gid)?;
    owners.set_mode(&target, status.st_mode & 0o7777)?;
    for (name, value) in attributes::of_open(&source, owners)? {
        owners.set_attribute(&target, &name, &value)?;
    }
    let times = modified_at(status.st_mtime, status.st_mtime_nsec as i64);
    rustix::fs::futimens(target, &times)
}

/// Shares the blocks where the file system can; else the kernel copies what is there, and holes stay holes.
fn contents(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Errno> {
    if size == 0 || rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(errno),
        };
        let hole = match rustix::fs::seek(source, SeekFrom::Hole(data)) {
            Ok(hole) => hole,
            Err(Errno::INVAL | Errno::NXIO) => size,
            Err(errno) => return Err(errno),
        };
        at = span(source, target, data, hole)?;
        if at < hole {
            // Shorter than it was.
            break;
        }
    }
    rustix::fs::ftruncate(target, size)
}

/// Copies the bytes between two places, and says how far it came.
fn span(source: &OwnedFd, target: &OwnedFd, start: u64, end: u64) -> Result<u64, Errno> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let wanted = usize::try_from(end - from).unwrap_or(PIECE).min(PIECE);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) => {
                return by_hand(source, target, from, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(from)
}

fn by_hand(source: &OwnedFd, target: &OwnedFd, mut at: u64, end: u64) -> Result<u64, Errno> {
    let mut piece = vec![0; 256 * 1024];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(piece.len()).min(piece.len());
        let length = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut piece[..wanted], at))?;
        if length == 0 {
            break;
        }
        let mut written = 0;
        while written < length {
            let place = at + written as u64;
            written +=
                rustix::io::retry_on_intr(|| rustix::io::pwrite(target, &piece[written..length], place))?;
        }
        at += length as u64;
    }
    Ok(at)
}
