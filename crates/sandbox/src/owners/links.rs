//! Owners of what can have no attribute: links, pipes, sockets.
//!
//! Each has a mark in the top directory of its layer, a whiteout whose name holds the record: which file is meant, by inode number and
//! time of birth, and whose it is. A whiteout is in no view of a layer and in no layer that is written, it moves and goes with the
//! layer, and it is made by one system call: there is nothing that a killed process could leave half done. The time of birth tells a
//! file from a later one that was given its number.
//!
//! Inodes of all layers are of one file system, the keepers' directory's, so one table serves for a whole stack of them; overlayfs
//! shows their numbers as they are.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::archive::whiteout;
use crate::stack;

const PREFIX: &str = ".shipway-owner.";

/// A file for as long as it lives, told from those that had its number before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    inode: u64,
    /// Nanoseconds of the epoch; 0 on file systems that do not know.
    born: i128,
}

impl Identity {
    pub(crate) fn of(status: &Statx) -> Self {
        let is_known = status.stx_mask & StatxFlags::BTIME.bits() != 0;
        let (seconds, nanoseconds) = (status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
        Self {
            inode: status.stx_ino,
            born: if is_known {
                i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
            } else {
                0
            },
        }
    }

    pub(crate) fn at(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<Self, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        rustix::fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, wanted).map(|status| Self::of(&status))
    }
}

/// More files than a step gives away where nothing can be recorded. The bound keeps a step from filling memory.
const MOST_REMEMBERED: usize = 1_000_000;

/// Whose links are, of a stack of layers.
#[derive(Debug, Default)]
pub(crate) struct Links {
    owners: HashMap<Identity, (u32, u32)>,
}

impl Links {
    /// Takes up what the top directory of a layer says.
    pub(crate) fn load(&mut self, top: &OwnedFd) -> Result<(), Errno> {
        for name in stack::sorted_names(top)? {
            if let Some((identity, owner)) = name.to_str().and_then(read) {
                self.owners.insert(identity, owner);
            }
        }
        Ok(())
    }

    pub(crate) fn find(&self, identity: Identity) -> Option<(u32, u32)> {
        self.owners.get(&identity).copied()
    }

    /// Keeps an owner in mind as long as this table lives: of a file that no layer has, or that a mount shows under another number.
    pub(crate) fn remember(&mut self, identity: Identity, owner: (u32, u32)) -> Result<(), Errno> {
        if self.owners.len() >= MOST_REMEMBERED && self.find(identity).is_none() {
            return Err(Errno::NOSPC);
        }
        self.owners.insert(identity, owner);
        Ok(())
    }

    /// Records an owner in the top directory of a layer.
    pub(crate) fn record(
        &mut self,
        top: &OwnedFd,
        identity: Identity,
        owner: (u32, u32),
    ) -> Result<(), Errno> {
        let before = self.find(identity);
        if before == Some(owner) || (before.is_none() && owner == (0, 0)) {
            return Ok(());
        }
        match whiteout::make(top, &name(identity, owner)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        self.owners.insert(identity, owner);
        if let Some(before) = before {
            // A layer that was begun anew for it may have no mark of it yet.
            match rustix::fs::unlinkat(top, name(identity, before), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn name(identity: Identity, (uid, gid): (u32, u32)) -> OsString {
    format!("{PREFIX}{:x}.{}.{uid}.{gid}", identity.inode, identity.born).into()
}

fn read(name: &str) -> Option<(Identity, (u32, u32))> {
    let mut fields = name.strip_prefix(PREFIX)?.split('.');
    let identity = Identity {
        inode: u64::from_str_radix(fields.next()?, 16).ok()?,
        born: fields.next()?.parse().ok()?,
    };
    let owner = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((identity, owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Stack;

    #[test]
    fn marks_last_are_in_no_view_and_end_with_the_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("layer")).unwrap();
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        let top = crate::beneath::open_with(
            &directory,
            std::path::Path::new("layer"),
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        )
        .unwrap();
        rustix::fs::symlinkat("to", &top, "link").unwrap();
        let link = Identity::at(&top, "link").unwrap();
        let mut links = Links::default();
        links.record(&top, link, (0, 0)).unwrap();
        assert_eq!(
            stack::sorted_names(&top).unwrap().len(),
            1,
            "root's needs no mark"
        );
        links.record(&top, link, (1000, 33)).unwrap();
        links.record(&top, link, (1000, 34)).unwrap();
        links.record(&top, link, (1000, 34)).unwrap();
        assert_eq!(
            stack::sorted_names(&top).unwrap().len(),
            2,
            "one mark for one link"
        );

        let mut again = Links::default();
        again.load(&top).unwrap();
        assert_eq!(again.find(link), Some((1000, 34)));
        let stack = Stack::open(&directory, &["layer".into()]).unwrap();
        assert_eq!(stack.names().unwrap(), ["link"]);

        let later = Identity {
            born: link.born + 1,
            ..link
        };
        assert_eq!(again.find(later), None);
    }

    #[test]
    fn only_marks_are_read() {
        let identity = Identity { inode: 77, born: -5 };
        let written = name(identity, (1, 2));
        assert_eq!(read(written.to_str().unwrap()), Some((identity, (1, 2))));
        for other in [
            "link",
            ".shipway-owner.",
            ".shipway-owner.1.2.3",
            ".shipway-owner.1.2.3.4.5",
            ".shipway-owner.g.2.3.4",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
