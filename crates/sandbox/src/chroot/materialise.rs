//! A tree from its layers.
//!
//! Files are copied, by shared blocks where the file system has them: a step may write into any of them in place, and layers are
//! everybody's. Several names of one file in one layer become several names of one file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::copy;
use crate::error::{Doing as _, Result};
use crate::owners::Owners;
use crate::stack::Stack;

/// Fills `root`, an empty directory, with what the layers show.
pub(super) fn materialise(stack: &Stack, root: &OwnedFd, owners: &Owners) -> Result<()> {
    let mut making = Making {
        owners,
        root: rustix::io::fcntl_dupfd_cloexec(root, 3).doing(|| "keep a tree open".into())?,
        linked: HashMap::new(),
    };
    making.directory(stack, root, Path::new(""))?;
    match stack.top() {
        Some(top) => stack
            .status(top)
            .and_then(|status| copy::looks(top, root, owners, &status))
            .doing(|| "make the root of a tree".into()),
        None => {
            rustix::fs::fchmod(root, Mode::from_raw_mode(0o755)).doing(|| "make the root of a tree".into())
        }
    }
}

struct Making<'m> {
    owners: &'m Owners,
    root: OwnedFd,
    /// First names of files that have several, by what they are.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Making<'_> {
    fn directory(&mut self, stack: &Stack, into: &OwnedFd, path: &Path) -> Result<()> {
        let action = || format!("put {} of the layers together", path.display());
        for name in stack.names().doing(action)? {
            let path = path.join(&name);
            let action = || format!("put {} of the layers together", path.display());
            let Some(shown) = stack.look(&name).doing(action)? else {
                continue;
            };
            if FileType::from_raw_mode(shown.status.st_mode) != FileType::Directory {
                self.file(shown.parent, into, &name, &path, &shown.status)
                    .doing(action)?;
                continue;
            }
            let Some(down) = stack.down(&name).doing(action)? else {
                continue;
            };
            rustix::fs::mkdirat(into, &name, Mode::from_raw_mode(0o700)).doing(action)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(into, &name, flags, Mode::empty()).doing(action)?;
            self.directory(&down, &made, &path)?;
            if let Some(top) = down.top() {
                copy::looks(top, &made, self.owners, &shown.status).doing(action)?;
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        into: &OwnedFd,
        name: &OsStr,
        path: &Path,
        status: &rustix::fs::Stat,
    ) -> std::result::Result<(), Errno> {
        if status.st_nlink > 1 {
            let identity = (status.st_dev, status.st_ino);
            if let Some(first) = self.linked.get(&identity) {
                return rustix::fs::linkat(&self.root, first, into, name, AtFlags::empty());
            }
            self.linked.insert(identity, path.to_owned());
        }
        copy::file(from, (into, self.owners), name, status)
    }
}
