//! One tree: its files, the list of them, and room for what is set aside while something runs in it.
//!
//! ```text
//! N/root/    the tree
//! N/list     what is in it by its layers
//! N/list.next   what was in it when somebody changed it last, and will be its list when the changes have become a layer
//! N/aside/   what a process does not see while it runs
//! N/owners/  whose its links are, where that is recorded
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::outcome::Outcome;
use super::{manifest, materialise};
use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::keeper::Workplace;
use crate::owners::{Owners, Ownership};
use crate::stack::Stack;

/// Marks of links.
const OWNERS: &str = "owners";
/// The list of a tree.
pub(super) const LIST: &str = "list";
/// The list that takes its place.
pub(super) const NEXT_LIST: &str = "list.next";

/// The tree that a request was given.
#[derive(Debug, Clone)]
pub(crate) struct Assigned {
    /// Relative to the keepers' directory.
    pub(super) path: PathBuf,
    /// What it shows, bottom first.
    pub(super) layers: Vec<PathBuf>,
    /// Whether it is yet to be put together.
    pub(super) is_new: bool,
    pub(super) purpose: Purpose,
}

/// What a tree is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be looked at.
    Look,
    /// To be changed.
    Change,
    /// To be changed further: what has changed before, over the same layers, is in the same upper directory.
    ChangeFurther,
}

/// A tree, open and whole.
pub(super) struct Tree {
    pub(super) home: OwnedFd,
    pub(super) root: OwnedFd,
    pub(super) owners: Owners,
}

impl Tree {
    /// The same as it is when another process has written marks of links.
    pub(super) fn read_again(&self, ownership: Ownership) -> Result<Self> {
        let kept = |file| rustix::io::fcntl_dupfd_cloexec(file, 3).doing(|| "keep a tree open".into());
        Ok(Self {
            home: kept(&self.home)?,
            root: kept(&self.root)?,
            owners: self.owners.read_again(ownership)?,
        })
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

impl Assigned {
    /// Opens the tree, put together if it is new.
    pub(super) fn open(&self, place: &Workplace<'_>) -> Result<Tree> {
        let directory = place.directory;
        if self.is_new {
            let mode = Mode::from_raw_mode(0o700);
            for part in ["", "root", "aside", OWNERS] {
                let (parent, name) = beneath::parent(directory, &self.path.join(part))?;
                rustix::fs::mkdirat(parent, name, mode).doing(|| "make a tree".into())?;
            }
        }
        let home = beneath::open_with(directory, &self.path, DIRECTORY)?;
        let root = beneath::open_with(&home, Path::new("root"), DIRECTORY)?;
        let marks = beneath::open_with(&home, Path::new(OWNERS), DIRECTORY)?;
        let owners = Owners::of_tree(place.ownership, &marks)?;
        if self.is_new {
            materialise::materialise(&self.stack(place)?, &root, &owners)?;
            manifest::write(&root, &home, LIST)?;
        } else if self.purpose == Purpose::Change {
            match rustix::fs::renameat(&home, NEXT_LIST, &home, LIST) {
                // Nobody has changed it since.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).doing(|| "take up the list of a tree".into()),
            }
        }
        Ok(Tree { home, root, owners })
    }

    /// What becomes of it when somebody only looked; whether a new one came to be shows in whether that could be done.
    pub(crate) fn outcome_of_a_look(&self, is_done: bool) -> Option<Outcome> {
        let is_whole = is_done || !self.is_new;
        (self.purpose == Purpose::Look).then_some(if is_whole {
            Outcome::Unchanged
        } else {
            Outcome::Broken
        })
    }

    /// The layers that it is made of.
    pub(super) fn stack(&self, place: &Workplace<'_>) -> Result<Stack> {
        let owners = Owners::of_layers(place.ownership, place.directory, &self.layers)?;
        Ok(Stack::open(place.directory, &self.layers)?.owned(owners))
    }

    /// Makes it this process's root, to be looked at, and says whose its files are.
    pub(crate) fn enter(&self, place: &Workplace<'_>) -> Result<Owners> {
        let Tree { root, owners, .. } = self.open(place)?;
        place.enter(&root)?;
        Ok(owners)
    }
}
