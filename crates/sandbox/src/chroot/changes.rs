//! What has changed in a tree, as an upper directory: the form in which overlayfs would have left it.
//!
//! Walks the tree beside the list of what was in it. Files that differ are copied, names that are gone get whiteouts, directories above
//! either are made to look as they do. What turns out to be as the layers below show it is left out.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::copy;
use super::fittings::Restored;
use super::manifest::{Mark, Reader, Writer, open_directory};
use super::outcome::Outcome;
use super::tree::{LIST, NEXT_LIST, Tree};
use crate::archive::{identity, whiteout};
use crate::error::{Doing as _, Result};
use crate::owners::Owners;
use crate::stack::{Stack, sorted_names};

/// Writes the changes of a tree into `upper`, an empty directory, and makes its next list.
pub(super) fn collect(
    tree: &Tree,
    below: &Stack,
    restored: &Restored,
    (upper, owners): (&OwnedFd, &Owners),
) -> Result<Outcome> {
    let mut collecting = Collecting {
        before: Reader::open(&tree.home, LIST)?,
        after: Writer::create(&tree.home, NEXT_LIST)?,
        restored,
        linked: HashMap::new(),
        upper,
        owners,
        tree_owners: &tree.owners,
        outcome: Outcome::Unchanged,
    };
    let top = Level {
        path: PathBuf::new(),
        tree: &tree.root,
        below: Some(below),
        is_changed: true,
    };
    let mut open = Vec::new();
    collecting.directory(&top, &mut open)?;
    let outcome = collecting.outcome;
    collecting.after.finish()?;
    if outcome == Outcome::Changed {
        // The merged root looks as the upper directory does.
        rustix::fs::fstat(&tree.root)
            .and_then(|status| tree.owners.corrected_open(&tree.root, status))
            .and_then(|status| copy::looks(&tree.root, upper, owners, &status))
            .doing(|| "make an upper directory".into())?;
    }
    Ok(outcome)
}

/// A directory of the tree.
struct Level<'l> {
    path: PathBuf,
    tree: &'l OwnedFd,
    below: Option<&'l Stack>,
    /// Whether names may have come or gone.
    is_changed: bool,
}

struct Collecting<'c> {
    before: Reader,
    after: Writer,
    restored: &'c Restored,
    /// First names of files that have several.
    linked: HashMap<(u64, u64), PathBuf>,
    upper: &'c OwnedFd,
    /// Of what is written.
    owners: &'c Owners,
    /// Of the tree.
    tree_owners: &'c Owners,
    outcome: Outcome,
}

/// The directories from the top of the upper directory down to where the walk is, made when something goes into them.
type Open = Vec<Option<OwnedFd>>;

impl Collecting<'_> {
    fn directory(&mut self, level: &Level<'_>, open: &mut Open) -> Result<()> {
        let action = || format!("look at {} of a tree", level.path.display());
        let names = sorted_names(level.tree).doing(action)?;
        let gone = match level.below {
            Some(below) if level.is_changed => {
                let present: BTreeSet<_> = names.iter().collect();
                let mut shown = below.names().doing(action)?;
                shown.retain(|name| !present.contains(name));
                shown
            }
            _ => Vec::new(),
        };
        for name in &gone {
            self.outcome = Outcome::Changed;
            let into = self.folder(&level.path, open)?;
            whiteout::make(into, name)
                .doing(|| format!("mark {} as gone", level.path.join(name).display()))?;
        }
        for name in &names {
            self.entry(level, name, open)?;
        }
        Ok(())
    }

    fn entry(&mut self, level: &Level<'_>, name: &OsStr, open: &mut Open) -> Result<()> {
        let path = level.path.join(name);
        let action = || format!("look at {} of a tree", path.display());
        let status = rustix::fs::statat(level.tree, name, AtFlags::SYMLINK_NOFOLLOW).doing(action)?;
        let now = Mark::of(&status);
        let before = self.before.find(&path)?;
        self.after.add(&path, now)?;
        let is_changed = !self.restored.is_as_before(before, now);
        let status = if is_changed {
            let corrected = self.tree_owners.corrected(level.tree, name, status);
            corrected.doing(action)?
        } else {
            status
        };
        let is_same = || -> std::result::Result<bool, Errno> {
            match level.below.map(|below| below.look(name)).transpose()?.flatten() {
                Some(shown) => identity::is_same(self.tree_owners, level.tree, (name, &status), &shown),
                None => Ok(false),
            }
        };
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            if is_changed && !is_same().doing(action)? {
                self.file(level, name, &path, &status, open)?;
            }
            return Ok(());
        }
        let differs = is_changed && !is_same().doing(action)?;
        let tree = open_directory(level.tree, name).doing(action)?;
        let below = match level.below {
            Some(below) => below.down(name).doing(action)?,
            None => None,
        };
        open.push(None);
        if differs {
            self.outcome = Outcome::Changed;
            self.folder(&path, open)?;
        }
        let inside = Level {
            path: path.clone(),
            tree: &tree,
            below: below.as_ref(),
            is_changed,
        };
        self.directory(&inside, open)?;
        if let Some(Some(made)) = open.pop() {
            self.tree_owners
                .corrected_open(&tree, rustix::fs::fstat(&tree).doing(action)?)
                .and_then(|status| copy::looks(&tree, made, self.owners, &status))
                .doing(|| format!("copy {} of a tree", inside.path.display()))?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        level: &Level<'_>,
        name: &OsStr,
        path: &Path,
        status: &Stat,
        open: &mut Open,
    ) -> Result<()> {
        let action = || format!("copy {} of a tree", path.display());
        if !matches!(
            FileType::from_raw_mode(status.st_mode),
            FileType::RegularFile | FileType::Symlink | FileType::Fifo
        ) {
            return Ok(());
        }
        self.outcome = Outcome::Changed;
        if status.st_nlink > 1 {
            let identity = (status.st_dev, status.st_ino);
            if let Some(first) = self.linked.get(&identity).cloned() {
                let top = rustix::io::fcntl_dupfd_cloexec(self.upper, 3).doing(action)?;
                let into = self.folder(&level.path, open)?;
                return rustix::fs::linkat(&top, first, into, name, AtFlags::empty()).doing(action);
            }
            self.linked.insert(identity, path.to_owned());
        }
        let into = self.folder(&level.path, open)?;
        copy::file(level.tree, (into, self.owners), name, status).doing(action)
    }

    /// The directory of the upper one that is at `path`, with those above it.
    fn folder<'o>(&'o self, path: &Path, open: &'o mut Open) -> Result<&'o OwnedFd> {
        let action = || format!("make {} of an upper directory", path.display());
        for (depth, name) in path.iter().enumerate() {
            if open.get(depth).is_some_and(Option::is_some) {
                continue;
            }
            let parent = depth
                .checked_sub(1)
                .and_then(|above| open.get(above)?.as_ref())
                .unwrap_or(self.upper);
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).doing(action)?;
            let made = open_directory(parent, name).doing(action)?;
            if let Some(place) = open.get_mut(depth) {
                *place = Some(made);
            }
        }
        Ok(open.last().and_then(Option::as_ref).unwrap_or(self.upper))
    }
}
