//! The changes in an upper directory as a layer: what is there now and was not there, or was other, before.
//!
//! The directory tells where to look: overlayfs copies up what is opened for writing and marks what is gone. What it does not tell is
//! whether a file that was opened was changed, and it marks a directory that was made anew as hiding what is below whether there is
//! anything below or not. So each of its entries is held against the layers below, and one that says nothing is left out. The layer
//! depends on the two states alone and not on how one became the other; tiers without overlayfs come to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat};

use super::emit::{Emitter, entries_reversed};
use super::identity::is_same;
use super::{layer, whiteout};
use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::owners::Owners;
use crate::requests::{DiffPlan, DiffReport, LinkedFiles};
use crate::rooted::{from_here, rooted};
use crate::stack::Stack;

/// Writes the root that this process stands in, an upper directory, as a layer over `below`.
pub(super) fn diff(plan: &DiffPlan, below: &Stack, owners: Owners, output: OwnedFd) -> Result<DiffReport> {
    let changes = beneath::here().doing(|| "open what a step has changed".into())?;
    let mut differ = Differ {
        changes,
        omit: plan.omit.iter().map(rooted).collect(),
        emitter: Emitter::new(output, owners.clone(), None, plan.clamp_mtime, LinkedFiles::Once),
        waiting: Vec::new(),
        owners,
    };
    differ.directory(Path::new("/"), Some(below), Hidden::ByMarks)?;
    differ.emitter.finish()
}

/// What of the layers below a directory of changes hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// What its marks say.
    ByMarks,
    /// All: it, or one above it, was made anew.
    All,
}

struct Differ {
    changes: OwnedFd,
    owners: Owners,
    omit: BTreeSet<PathBuf>,
    emitter: Emitter,
    /// Directories above that are as they were: written when something in them is.
    waiting: Vec<(PathBuf, Stat)>,
}

impl Differ {
    fn directory(&mut self, path: &Path, below: Option<&Stack>, hidden: Hidden) -> Result<()> {
        let action = || format!("look at {}", path.display());
        let mut names: BTreeMap<OsString, Option<PathBuf>> = entries_reversed(path)?
            .into_iter()
            .filter_map(|entry| Some((entry.file_name()?.to_owned(), Some(entry))))
            .collect();
        let hidden = if hidden == Hidden::ByMarks && path != Path::new("/") && self.is_opaque(path) {
            Hidden::All
        } else {
            hidden
        };
        if let (Some(below), Hidden::All) = (below, hidden) {
            for name in below.names().doing(action)? {
                names.entry(name).or_insert(None);
            }
        }
        for (name, entry) in names {
            match entry {
                Some(entry) => self.entry(&entry, &name, below, hidden)?,
                None => self.gone(&path.join(name))?,
            }
        }
        Ok(())
    }

    fn is_opaque(&self, path: &Path) -> bool {
        let path = path.strip_prefix("/").unwrap_or(path);
        beneath::open_with(&self.changes, path, rustix::fs::OFlags::RDONLY).is_ok_and(whiteout::is_opaque)
    }

    fn entry(&mut self, path: &Path, name: &OsStr, below: Option<&Stack>, hidden: Hidden) -> Result<()> {
        let action = || format!("look at {}", path.display());
        let own = path.strip_prefix("/").unwrap_or(path);
        let status = rustix::fs::statat(&self.changes, own, AtFlags::SYMLINK_NOFOLLOW).doing(action)?;
        if is_omitted(&self.omit, path, &status)? {
            return Ok(());
        }
        let shown = match below {
            Some(below) => below.look(name).doing(action)?,
            None => None,
        };
        if whiteout::is_one(&self.changes, own.as_os_str(), &status) {
            return if shown.is_some() { self.gone(path) } else { Ok(()) };
        }
        let status = self
            .owners
            .corrected(&self.changes, own.as_os_str(), status)
            .doing(action)?;
        let is_as_before = match &shown {
            Some(shown) => {
                is_same(&self.owners, &self.changes, (own.as_os_str(), &status), shown).doing(action)?
            }
            None => false,
        };
        if !is_directory(&status) {
            return if is_as_before {
                Ok(())
            } else {
                self.write(path, &status)
            };
        }
        let depth = self.waiting.len();
        if is_as_before {
            self.waiting.push((path.to_owned(), status));
        } else {
            self.write(path, &status)?;
        }
        let down = match below {
            Some(below) => below.down(name).doing(action)?,
            None => None,
        };
        self.directory(path, down.as_ref(), hidden)?;
        self.waiting.truncate(depth);
        Ok(())
    }

    fn write(&mut self, path: &Path, status: &Stat) -> Result<()> {
        self.write_waiting()?;
        self.emitter.file(path, entry_name(path), status)
    }

    fn gone(&mut self, path: &Path) -> Result<()> {
        self.write_waiting()?;
        let name = path.strip_prefix("/").unwrap_or(path);
        let folder = name.parent().unwrap_or(Path::new(""));
        let own = name.file_name().unwrap_or_default().as_bytes();
        let mark = folder.join(OsStr::from_bytes(&[layer::WHITEOUT, own].concat()));
        self.emitter.mark(mark.as_os_str().as_bytes())
    }

    fn write_waiting(&mut self) -> Result<()> {
        for (path, status) in self.waiting.drain(..) {
            self.emitter.file(&path, entry_name(&path), &status)?;
        }
        Ok(())
    }
}

fn entry_name(path: &Path) -> &[u8] {
    path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes()
}

fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

/// Whether a mount point that was made is still as it was: an empty file, or a directory with nothing but such. As
/// deep as the omitted paths go, since everything below must be omitted too.
fn is_omitted(omit: &BTreeSet<PathBuf>, path: &Path, status: &Stat) -> Result<bool> {
    if !omit.contains(path) {
        return Ok(false);
    }
    if !is_directory(status) {
        return Ok(FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size == 0);
    }
    for entry in entries_reversed(path)? {
        let status = rustix::fs::lstat(from_here(&entry)).doing(|| format!("look at {}", entry.display()))?;
        if !is_omitted(omit, &entry, &status)? {
            return Ok(false);
        }
    }
    Ok(true)
}
