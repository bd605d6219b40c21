//! Owners that files are to have where the kernel has but one id to give.
//!
//! In a user namespace with one id every file is that id's. What an image says of its owners is recorded beside the file instead:
//!
//! - of a regular file or directory in an extended attribute of its own ([`record`]). Overlayfs copies it up with the file, a rename
//!   and a further name keep it, and it goes with the file;
//! - of what can have no such attribute in a mark of its layer ([`links`]).
//!
//! Both are written by one system call each, so a process that is killed leaves the record as it was or as it is to be. Everything that
//! makes files asks this module to own them, and everything that reads them has it correct what the kernel says; no record is ever a
//! part of an image.
//!
//! It is no boundary: a step may write the attribute itself, and then has said whose its own file is.
//!
//! Known gap: a link of a lower layer that is renamed is copied up by overlayfs as a new link, which is root's.

pub(crate) mod links;
pub(crate) mod record;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use self::links::{Identity, Links};
use self::record::{ATTRIBUTE, Record};
use crate::archive::attributes::Attribute;
use crate::beneath;
use crate::error::{KeeperError, Result as KeeperResult};

/// Where it is said whose a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ownership {
    /// In the file, as the kernel keeps it.
    #[default]
    Real,
    /// In a record beside it.
    Recorded,
    /// There too, with its permission bits and capability: of a file that denies its owner, the owner is let in all the same.
    RecordedWithModes,
}

/// Whose the files of a stack of layers are. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owners {
    recorded: Option<Rc<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    links: RefCell<Links>,
    /// The top directory of the layer that is being written: where marks go.
    top: Option<OwnedFd>,
    /// Whether permission bits and capabilities are recorded too. Then who has no record is root's, whoever runs this.
    modes: bool,
}

impl Owners {
    /// Of files in these layers, given as directories of the keepers' directory; a missing one says nothing.
    pub(crate) fn of_layers(
        ownership: Ownership,
        directory: &OwnedFd,
        layers: &[PathBuf],
    ) -> KeeperResult<Self> {
        let mut links = Links::default();
        if ownership != Ownership::Real {
            for layer in layers {
                match beneath::open_with(directory, layer, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(top) => links.load(&top).map_err(|errno| unreadable(layer, errno))?,
                    Err(KeeperError::System { cause, .. }) if cause.errno() == libc::ENOENT => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self::from_links(ownership, links, None))
    }

    /// The same with a layer that is being written: its top directory, whose marks count too.
    pub(crate) fn writing(
        ownership: Ownership,
        directory: &OwnedFd,
        layers: &[PathBuf],
        top: &OwnedFd,
    ) -> KeeperResult<Self> {
        if ownership == Ownership::Real {
            return Ok(Self::default());
        }
        let below = Self::of_layers(ownership, directory, layers)?;
        let mut links = below
            .recorded
            .map_or_else(Links::default, |recorded| recorded.links.take());
        let own = rustix::io::fcntl_dupfd_cloexec(top, 3)
            .and_then(|own| links.load(top).map(|()| own))
            .map_err(|errno| unreadable(std::path::Path::new("the layer"), errno))?;
        Ok(Self::from_links(ownership, links, Some(own)))
    }

    /// Of files of a tree, of whose links `marks` says, a directory for nothing else.
    pub(crate) fn of_tree(ownership: Ownership, marks: &OwnedFd) -> KeeperResult<Self> {
        if ownership == Ownership::Real {
            return Ok(Self::default());
        }
        let mut links = Links::default();
        let own = rustix::io::fcntl_dupfd_cloexec(marks, 3)
            .and_then(|own| links.load(marks).map(|()| own))
            .map_err(|errno| unreadable(std::path::Path::new("a tree"), errno))?;
        Ok(Self::from_links(ownership, links, Some(own)))
    }

    /// The same as it is now on disk, where another process has recorded something.
    pub(crate) fn read_again(&self, ownership: Ownership) -> KeeperResult<Self> {
        match self.descriptor() {
            Some(marks) => Self::of_tree(ownership, marks),
            None => Ok(self.clone()),
        }
    }

    /// Of files that are in no layer: links among them are root's.
    pub(crate) fn outside_layers(ownership: Ownership) -> Self {
        Self::from_links(ownership, Links::default(), None)
    }

    fn from_links(ownership: Ownership, links: Links, top: Option<OwnedFd>) -> Self {
        let recorded = (ownership != Ownership::Real).then(|| {
            Rc::new(Recorded {
                links: RefCell::new(links),
                top,
                modes: ownership == Ownership::RecordedWithModes,
            })
        });
        Self { recorded }
    }

    /// What must stay open for it.
    pub(crate) fn descriptor(&self) -> Option<&OwnedFd> {
        self.recorded.as_ref()?.top.as_ref()
    }

    /// What is at `name` in `parent`, which the kernel says is so, as an image has it. Links are not followed.
    pub(crate) fn corrected(&self, parent: impl AsFd, name: &OsStr, status: Stat) -> Result<Stat, Errno> {
        let Some(recorded) = &self.recorded else {
            return Ok(status);
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile | FileType::Directory => {
                let flags =
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
                self.corrected_open(file, status)
            }
            FileType::CharacterDevice | FileType::BlockDevice => Ok(status),
            _ => {
                let identity = Identity::at(parent, name)?;
                let owner = recorded.links.borrow().find(identity);
                let record = owner.map(|(uid, gid)| Record::owned(uid, gid));
                Ok(recorded.as_recorded(status, record))
            }
        }
    }

    /// The same of an open file or directory.
    pub(crate) fn corrected_open(&self, file: impl AsFd, status: Stat) -> Result<Stat, Errno> {
        let Some(recorded) = &self.recorded else {
            return Ok(status);
        };
        let record = read(|buffer| rustix::fs::fgetxattr(&file, ATTRIBUTE, buffer))?;
        Ok(recorded.as_recorded(status, record))
    }

    /// Gives an open file or directory away. Clears the set-id bits of a file, and its capabilities, as the kernel does.
    pub(crate) fn own(&self, file: impl AsFd, uid: Uid, gid: Gid) -> Result<(), Errno> {
        if self.recorded.is_none() {
            return rustix::fs::fchown(file, Some(uid), Some(gid));
        }
        rustix::fs::fchown(&file, None, None)?;
        write(file, &Record::owned(uid.as_raw(), gid.as_raw()))
    }

    /// Gives an open file or directory, which has its owner, permission bits.
    pub(crate) fn set_mode(&self, file: impl AsFd, mode: u32) -> Result<(), Errno> {
        if !self.records_modes() {
            return rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
        }
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        let least = if kind == FileType::Directory { 0o700 } else { 0o600 };
        let (mode, own) = (mode & 0o7777, mode & 0o777 | least);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(own))?;
        let before = read(|buffer| rustix::fs::fgetxattr(&file, ATTRIBUTE, buffer))?.unwrap_or_default();
        let mode = (mode != own).then_some(mode);
        write(file, &Record { mode, ..before })
    }

    /// Gives an open file or directory, which has its owner, an extended attribute.
    pub(crate) fn set_attribute(&self, file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        if !self.records_modes() || name != CAPABILITY {
            return rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
        }
        let before = read(|buffer| rustix::fs::fgetxattr(&file, ATTRIBUTE, buffer))?.unwrap_or_default();
        let capability = Some(value.to_vec());
        write(file, &Record { capability, ..before })
    }

    /// The capability that a file is recorded with, given how its record is asked for.
    pub(crate) fn capability(
        &self,
        get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Option<Attribute>, Errno> {
        if !self.records_modes() {
            return Ok(None);
        }
        let capability = read(get)?.and_then(|record| record.capability);
        Ok(capability.map(|value| (CAPABILITY.to_vec(), value)))
    }

    fn records_modes(&self) -> bool {
        self.recorded.as_ref().is_some_and(|recorded| recorded.modes)
    }

    /// Gives away what has a name and cannot be opened: a link, a pipe. Outside layers it stays root's.
    pub(crate) fn own_named(&self, parent: impl AsFd, name: &OsStr, uid: Uid, gid: Gid) -> Result<(), Errno> {
        let Some(recorded) = &self.recorded else {
            return rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        };
        let Some(top) = &recorded.top else { return Ok(()) };
        let identity = Identity::at(parent, name)?;
        let owner = (uid.as_raw(), gid.as_raw());
        recorded.links.borrow_mut().record(top, identity, owner)
    }
}

impl Recorded {
    fn as_recorded(&self, mut status: Stat, record: Option<Record>) -> Stat {
        let record = match record {
            Some(record) => record,
            // Whose the kernel says that it is: in a user namespace root.
            None if !self.modes => return status,
            None => Record::default(),
        };
        (status.st_uid, status.st_gid) = (record.uid, record.gid);
        if let Some(mode) = record.mode {
            status.st_mode = status.st_mode & !0o7777 | mode;
        }
        status
    }
}

/// The extended attribute that gives a program rights of its own.
const CAPABILITY: &[u8] = b"security.capability";

fn write(file: impl AsFd, record: &Record) -> Result<(), Errno> {
    if !record.is_plain() {
        return rustix::fs::fsetxattr(file, ATTRIBUTE, record.to_text().as_bytes(), XattrFlags::empty());
    }
    match rustix::fs::fremovexattr(file, ATTRIBUTE) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// The record that an attribute holds, given how it is asked for.
pub(crate) fn read(get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Result<Option<Record>, Errno> {
    let mut text = [0; 512];
    match get(&mut text) {
        Ok(length) => Ok(Record::from_text(&text[..length])),
        // None, nothing of the kind here, or nothing that this module wrote.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn unreadable(layer: &std::path::Path, errno: Errno) -> KeeperError {
    KeeperError::System {
        action: format!("read the owners of {}", layer.display()),
        cause: errno.into(),
    }
}

#[cfg(test)]
mod tests;
