//! What is special about a layer: the layers below it, and how it says that something of theirs is gone.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::whiteout;
use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::owners::Owners;

/// Beginning of the name of an entry that removes what the rest names.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// Name of the entry that makes its directory opaque.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What an entry's name means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A file of that name.
    Plain,
    /// The removal of the file with this name.
    Removes(&'a OsStr),
    /// Its directory hides everything below.
    Hides,
    /// Bookkeeping of an old storage driver, of no meaning here.
    Nothing,
}

pub(super) fn meaning(name: &OsStr) -> Meaning<'_> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE_WHITEOUT {
        return Meaning::Hides;
    }
    match bytes.strip_prefix(WHITEOUT) {
        Some(rest) if rest.starts_with(WHITEOUT) => Meaning::Nothing,
        Some(rest) if !rest.is_empty() && rest != b"." && rest != b".." => {
            Meaning::Removes(OsStr::from_bytes(rest))
        }
        Some(_) => Meaning::Nothing,
        None => Meaning::Plain,
    }
}

/// The layers below, topmost first.
pub(super) struct Layer {
    below: Vec<OwnedFd>,
}

impl Layer {
    /// Opens the layers below, given bottom first. Missing ones are left out: layers unpack in parallel.
    pub(super) fn open(directory: &OwnedFd, below: &[PathBuf]) -> Result<Self> {
        let mut opened = Vec::with_capacity(below.len());
        for path in below.iter().rev() {
            match beneath::open_with(directory, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(layer) => opened.push(layer),
                Err(crate::error::KeeperError::System { cause, .. }) if cause.errno() == libc::ENOENT => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { below: opened })
    }

    /// What must stay open for it.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.below.iter().map(OwnedFd::as_fd).collect()
    }

    /// How the directory `path` looks in the layers below; none if they do not show one.
    pub(super) fn directory_below(&self, path: &Path, owners: &Owners) -> Result<Option<Stat>> {
        for layer in &self.below {
            match look(layer, path, owners)
                .doing(|| format!("look at {} in the layers below", path.display()))?
            {
                Look::Directory(status) => return Ok(Some(status)),
                Look::Hidden => return Ok(None),
                Look::Absent => {}
            }
        }
        Ok(None)
    }
}

enum Look {
    Directory(Stat),
    /// Something else is there, or this layer hides those below it.
    Hidden,
    Absent,
}

fn look(layer: &OwnedFd, path: &Path, owners: &Owners) -> std::result::Result<Look, Errno> {
    let mut hides = false;
    let mut current = rustix::io::fcntl_dupfd_cloexec(layer, 3)?;
    for name in path.iter() {
        match rustix::fs::openat(&current, name, DIRECTORY, Mode::empty()) {
            Ok(next) => current = next,
            Err(Errno::NOENT) if !hides => return Ok(Look::Absent),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(Look::Hidden),
            Err(errno) => return Err(errno),
        }
        hides |= whiteout::is_opaque(&current);
    }
    let status = rustix::fs::fstat(&current)?;
    Ok(Look::Directory(owners.corrected_open(&current, status)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whiteouts_by_their_beginning() {
        assert_eq!(meaning(OsStr::new("a.wh.b")), Meaning::Plain);
        assert_eq!(meaning(OsStr::new(".wh.b")), Meaning::Removes(OsStr::new("b")));
        assert_eq!(meaning(OsStr::new(".wh..wh..opq")), Meaning::Hides);
        assert_eq!(meaning(OsStr::new(".wh..wh.plnk")), Meaning::Nothing);
        assert_eq!(meaning(OsStr::new(".wh.")), Meaning::Nothing);
        assert_eq!(meaning(OsStr::new(".wh...")), Meaning::Nothing);
    }
}
