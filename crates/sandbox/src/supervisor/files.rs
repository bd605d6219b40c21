//! Whose files are: given, told, and what is made for somebody.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Statx, StatxFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::calls::Form;
use super::devices::Devices;
use super::task::{Task, own};
use crate::owners::links::{Identity, Links};
use crate::owners::record::{ATTRIBUTE, Record};
use crate::owners::{self};
use crate::sys::notification;

/// The records of a step's files.
pub(super) struct Files {
    links: Links,
    marks: Marks,
    pub(super) devices: Devices,
    /// The device that the root is on.
    root: (u32, u32),
}

/// Where marks of links go.
pub(super) enum Marks {
    /// Into the top of the upper directory of an overlay.
    Upper(OwnedFd),
    /// Into a directory beside a tree.
    Tree(OwnedFd),
}

impl Marks {
    pub(super) fn directory(&self) -> &OwnedFd {
        match self {
            Self::Upper(directory) | Self::Tree(directory) => directory,
        }
    }

    /// The file whose owner is written: that of an overlay is another one than it shows.
    fn written(&self, task: &Task<'_>, file: &OwnedFd, shown: &Statx) -> Option<Identity> {
        let top = match self {
            Self::Upper(top) => top,
            Self::Tree(_) => return Some(Identity::of(shown)),
        };
        let name = task.name_of(file).ok()?;
        let wanted = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::TYPE;
        let below = name.strip_prefix("/").ok()?;
        let status = rustix::fs::statx(top, below, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
        let kind = |status: &Statx| FileType::from_raw_mode(status.stx_mode.into());
        (kind(&status) == kind(shown)).then(|| Identity::of(&status))
    }
}

impl Files {
    pub(super) fn new(links: Links, marks: Marks, devices: Devices) -> Result<Self, Errno> {
        let status = rustix::fs::statx(rustix::fs::CWD, "/", AtFlags::empty(), StatxFlags::INO)?;
        Ok(Self {
            links,
            marks,
            devices,
            root: (status.stx_dev_major, status.stx_dev_minor),
        })
    }

    /// What is recorded of an open file; a plain record of one with none.
    pub(super) fn record(&self, file: &OwnedFd) -> Result<Record, Errno> {
        let status = status(file)?;
        if has_attributes(&status) {
            let record = owners::read(|buffer| rustix::fs::getxattr(own(file), ATTRIBUTE, buffer))?;
            if let Some(record) = record {
                return Ok(record);
            }
        }
        let owner = self.links.find(Identity::of(&status));
        Ok(owner.map_or_else(Record::default, |(uid, gid)| Record::owned(uid, gid)))
    }

    /// Gives a file away. As the kernel does it clears the set-id bits of a file and its capabilities, and the time of change is now.
    pub(super) fn give(
        &mut self,
        task: &Task<'_>,
        file: &OwnedFd,
        (uid, gid): (u32, u32),
    ) -> Result<(), Errno> {
        // This copies a file of a lower layer up, too.
        rustix::fs::chownat(file, "", None::<Uid>, None::<Gid>, AtFlags::EMPTY_PATH)?;
        self.give_new(task, file, (uid, gid))
    }

    /// The same of a file that nobody has seen yet: it keeps the bits that it was made with.
    pub(super) fn give_new(
        &mut self,
        task: &Task<'_>,
        file: &OwnedFd,
        (uid, gid): (u32, u32),
    ) -> Result<(), Errno> {
        let status = status(file)?;
        let record = Record::owned(uid, gid);
        if has_attributes(&status) {
            let name = own(file);
            let written = if record.is_plain() {
                rustix::fs::removexattr(name, ATTRIBUTE)
            } else {
                rustix::fs::setxattr(name, ATTRIBUTE, record.to_text().as_bytes(), XattrFlags::empty())
            };
            match written {
                Ok(()) | Err(Errno::NODATA) => return Ok(()),
                // Memory, or the kernel's own: kept in mind while the step runs.
                Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
        let shown = Identity::of(&status);
        if (status.stx_dev_major, status.stx_dev_minor) == self.root
            && !has_attributes(&status)
            && let Some(written) = self.marks.written(task, file, &status)
        {
            self.links.record(self.marks.directory(), written, (uid, gid))?;
        }
        self.links.remember(shown, (uid, gid))
    }

    /// A status for a caller, of a file with a record, and of a device; none of what is as the kernel says.
    pub(super) fn status(&self, file: &OwnedFd, form: Form) -> Result<Option<Vec<u8>>, Errno> {
        if let Some(device) = self.devices.meant_by(file)? {
            return status_of(device, form, Record::default()).map(Some);
        }
        let record = self.record(file)?;
        if record.is_plain() {
            return Ok(None);
        }
        status_of(file, form, record).map(Some)
    }

    /// Whose something is that somebody makes in a directory: a directory with the set-group-id bit gives its own group.
    pub(super) fn owner_in(&self, parent: &OwnedFd, (uid, gid): (u32, u32)) -> Result<(u32, u32), Errno> {
        let status = status(parent)?;
        let gives_group = Mode::from_raw_mode(status.stx_mode.into()).contains(Mode::SGID);
        Ok(if gives_group {
            (uid, self.record(parent)?.gid)
        } else {
            (uid, gid)
        })
    }
}

fn status_of(file: &OwnedFd, form: Form, record: Record) -> Result<Vec<u8>, Errno> {
    let owner = (record.uid, record.gid);
    match form {
        Form::Plain => notification::status_bytes(file, owner, record.mode),
        Form::Extended(flags, mask) => {
            notification::extended_status_bytes(file, (flags, mask), owner, record.mode)
        }
    }
}

/// Opens what was just made as a place.
pub(super) fn made(parent: &OwnedFd, name: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn status(file: &OwnedFd) -> Result<Statx, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::TYPE | StatxFlags::MODE;
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)
}

fn has_attributes(status: &Statx) -> bool {
    matches!(
        FileType::from_raw_mode(status.stx_mode.into()),
        FileType::RegularFile | FileType::Directory
    )
}
