//! Whether a file is, in all that a layer records, the one that the layers below show.
//!
//! What a step opened for writing and left as it was is in an upper directory all the same, and what it touched has a new time of
//! change. Neither belongs into a layer: the layer of a step is the difference of what was there before and what is there after it,
//! whichever way that was found out.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes;
use crate::owners::Owners;
use crate::stack::Shown;

const PIECE: usize = 64 * 1024;

/// Whether nothing that a layer records tells `name` in `parent`, which has this status, from what is shown below. Of directories
/// only what they are themselves counts. A file of several names never is the same: that they are one file is worth recording.
pub(crate) fn is_same(
    owners: &Owners,
    parent: &OwnedFd,
    (name, status): (&OsStr, &Stat),
    below: &Shown<'_>,
) -> Result<bool, Errno> {
    let other = &below.status;
    let kind = FileType::from_raw_mode(status.st_mode);
    let plain = |status: &Stat| {
        (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime,
            status.st_mtime_nsec,
            status.st_rdev,
        )
    };
    if plain(status) != plain(other) {
        return Ok(false);
    }
    match kind {
        FileType::Directory => same_attributes(owners, parent, (name, OFlags::DIRECTORY), below),
        FileType::Symlink => {
            let here = rustix::fs::readlinkat(parent, name, Vec::new())?;
            Ok(here == rustix::fs::readlinkat(below.parent, name, Vec::new())?)
        }
        FileType::RegularFile => {
            if status.st_size != other.st_size || status.st_nlink > 1 {
                return Ok(false);
            }
            Ok(same_attributes(owners, parent, (name, OFlags::empty()), below)?
                && same_contents(parent, name, below)?)
        }
        _ => Ok(status.st_nlink <= 1),
    }
}

fn open(parent: &OwnedFd, name: &OsStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn same_attributes(
    owners: &Owners,
    parent: &OwnedFd,
    (name, more): (&OsStr, OFlags),
    below: &Shown<'_>,
) -> Result<bool, Errno> {
    let here = attributes::of_open(open(parent, name, more)?, owners)?;
    let name = std::path::Path::new(name).file_name().unwrap_or(name);
    Ok(here == attributes::of_open(open(below.parent, name, more)?, owners)?)
}

fn same_contents(parent: &OwnedFd, name: &OsStr, below: &Shown<'_>) -> Result<bool, Errno> {
    let own = std::path::Path::new(name).file_name().unwrap_or(name);
    let mut here = File::from(open(parent, name, OFlags::empty())?);
    let mut there = File::from(open(below.parent, own, OFlags::empty())?);
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let length = read_full(&mut here, &mut one)?;
        if length != read_full(&mut there, &mut other)? || one[..length] != other[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

fn read_full(file: &mut File, piece: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(filled)
}
