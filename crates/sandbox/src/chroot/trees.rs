//! Which trees a keeper has, what each of them shows, and who uses it.
//!
//! A tree is known by the layers that it shows. Who changes it has it alone; who looks shares it. When a step's changes have become a
//! layer, by a rename, the tree of that step shows that layer too and serves the next step as it is: steps of a stage, one after the
//! other, copy nothing.
//!
//! ## New => Idle
//! Whoever was to put it together has.
//! ## Idle => Looked at, Written => Idle
//! ## Written => (gone)
//! It was left in a state that nobody knows.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::home::Home;
use super::outcome::Outcome;
use super::tree::{Assigned, Purpose};
use crate::error::Result;

/// Idle trees beyond as many go, the one unused for longest first.
const MOST_IDLE: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Idle,
    LookedAt(usize),
    Written,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    layers: Vec<PathBuf>,
    used: Use,
    last: u64,
    /// Whether the topmost of its layers is an upper directory that is yet to become one.
    is_ahead: bool,
}

impl Entry {
    /// Nobody knows what it shows any more: no layer has this name.
    fn lose(&mut self) {
        self.layers = vec![PathBuf::new()];
    }

    fn is_lost(&self) -> bool {
        self.layers
            .first()
            .is_some_and(|layer| layer.as_os_str().is_empty())
    }
}

/// The claim on a tree of whoever was given it.
#[derive(Debug)]
pub(crate) struct Lease {
    number: u64,
    is_new: bool,
    /// Where its changes go, of who changes it.
    upper: Option<PathBuf>,
}

/// The trees of one keeper.
#[derive(Debug)]
pub(crate) struct Trees {
    home: Home,
    entries: Vec<Entry>,
    next: u64,
}

impl Trees {
    /// Makes room for the trees of this keeper, and removes those of dead ones.
    pub(crate) fn prepare(directory: &OwnedFd) -> Result<Self> {
        Ok(Self {
            home: Home::prepare(directory)?,
            entries: Vec::new(),
            next: 0,
        })
    }

    /// Removes all of them.
    pub(crate) fn remove(self, directory: &OwnedFd) -> Result<()> {
        self.home.remove(directory)
    }

    /// A tree of these layers to look at.
    pub(crate) fn lend_to_look(&mut self, layers: Vec<PathBuf>) -> (Assigned, Lease) {
        let found = self
            .entries
            .iter_mut()
            .find(|entry| entry.layers == layers && entry.used != Use::Written);
        let (number, is_new) = match found {
            Some(entry) => {
                entry.used = match entry.used {
                    Use::LookedAt(others) => Use::LookedAt(others + 1),
                    Use::Idle | Use::Written => Use::LookedAt(1),
                };
                (entry.number, false)
            }
            None => (self.enter(layers.clone()), true),
        };
        self.assign(number, is_new, layers, Purpose::Look, None)
    }

    /// A tree of these layers to change; the changes go to an upper directory, and what of them is there already is in the tree too.
    pub(crate) fn lend_to_change(&mut self, layers: Vec<PathBuf>, upper: PathBuf) -> (Assigned, Lease) {
        let mut further = layers.clone();
        further.push(upper.join("fs"));
        let mut idle = |wanted: &[PathBuf]| {
            let fits = |entry: &&mut Entry| entry.layers == wanted && entry.used == Use::Idle;
            let entry = self.entries.iter_mut().find(fits)?;
            entry.used = Use::Written;
            Some(entry.number)
        };
        let found = idle(&further)
            .map(|number| (number, Purpose::ChangeFurther))
            .or_else(|| Some((idle(&layers)?, Purpose::Change)));
        let (number, is_new, purpose) = match found {
            Some((number, purpose)) => (number, false, purpose),
            None => (self.enter(layers.clone()), true, Purpose::Change),
        };
        self.assign(number, is_new, layers, purpose, Some(upper))
    }

    /// A new tree; nobody else may look at what is not whole.
    fn enter(&mut self, layers: Vec<PathBuf>) -> u64 {
        self.next += 1;
        self.entries.push(Entry {
            number: self.next,
            layers,
            used: Use::Written,
            last: 0,
            is_ahead: false,
        });
        self.next
    }

    fn assign(
        &mut self,
        number: u64,
        is_new: bool,
        layers: Vec<PathBuf>,
        purpose: Purpose,
        upper: Option<PathBuf>,
    ) -> (Assigned, Lease) {
        self.next += 1;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            entry.last = self.next;
        }
        let assigned = Assigned {
            path: self.path(number),
            layers,
            is_new,
            purpose,
        };
        (
            assigned,
            Lease {
                number,
                is_new,
                upper,
            },
        )
    }

    fn path(&self, number: u64) -> PathBuf {
        self.home.path().join(number.to_string())
    }

    /// Takes a tree back, and gives the paths of trees that are to be removed. Who only looked has changed nothing; whether a new tree
    /// came to be at all its user knows, and says so by `Broken` if it did not.
    pub(crate) fn give_back(&mut self, lease: Lease, outcome: Outcome) -> Vec<PathBuf> {
        let Lease {
            number,
            is_new,
            upper,
        } = lease;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) else {
            return Vec::new();
        };
        entry.used = match entry.used {
            Use::LookedAt(others) if others > 1 => Use::LookedAt(others - 1),
            _ => Use::Idle,
        };
        match (outcome, upper) {
            (Outcome::Broken, Some(_)) => entry.lose(),
            (Outcome::Broken, None) if is_new => entry.lose(),
            (Outcome::Changed, Some(upper)) if !entry.is_ahead => {
                entry.layers.push(upper.join("fs"));
                entry.is_ahead = true;
            }
            _ => {}
        }
        self.unneeded()
    }

    /// A directory has another name now, or there was one of that name already that is as good.
    pub(crate) fn renamed(&mut self, from: &Path, to: &Path) {
        for entry in &mut self.entries {
            if let Some(layer) = entry.layers.iter_mut().find(|layer| *layer == from) {
                *layer = to.to_owned();
                entry.is_ahead = false;
            }
        }
    }

    /// A directory is gone: what is made of it is of no use to anybody.
    pub(crate) fn removed(&mut self, path: &Path) -> Vec<PathBuf> {
        for entry in &mut self.entries {
            if entry.layers.iter().any(|layer| layer.starts_with(path)) {
                entry.lose();
            }
        }
        self.unneeded()
    }

    fn unneeded(&mut self) -> Vec<PathBuf> {
        let mut gone: Vec<u64> = Vec::new();
        let idle = |entry: &&Entry| entry.used == Use::Idle;
        gone.extend(
            self.entries
                .iter()
                .filter(idle)
                .filter(|entry| entry.is_lost())
                .map(|entry| entry.number),
        );
        let mut kept: Vec<_> = self
            .entries
            .iter()
            .filter(idle)
            .filter(|entry| !entry.is_lost() && !entry.is_ahead)
            .map(|entry| (entry.last, entry.number))
            .collect();
        kept.sort_unstable_by(|one, other| other.cmp(one));
        gone.extend(kept.into_iter().skip(MOST_IDLE).map(|(_, number)| number));
        self.entries.retain(|entry| !gone.contains(&entry.number));
        gone.into_iter().map(|number| self.path(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees() -> (tempfile::TempDir, Trees) {
        let home = tempfile::tempdir().unwrap();
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        crate::layout::prepare(&directory).unwrap();
        let trees = Trees::prepare(&directory).unwrap();
        (home, trees)
    }

    fn layers(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn the_tree_of_a_step_serves_the_next_one() {
        let (_home, mut trees) = trees();
        let (first, lease) = trees.lend_to_change(layers(&["base"]), "step".into());
        assert!(first.is_new);
        // Somebody else on the same layers meanwhile.
        let (beside, other) = trees.lend_to_look(layers(&["base"]));
        assert!(beside.is_new && beside.path != first.path);
        assert!(trees.give_back(other, Outcome::Unchanged).is_empty());
        assert!(trees.give_back(lease, Outcome::Changed).is_empty());
        trees.renamed(Path::new("step/fs"), Path::new("layers/one"));
        let (next, lease) = trees.lend_to_change(layers(&["base", "layers/one"]), "step-2".into());
        assert_eq!((next.is_new, &next.path), (false, &first.path));
        assert_eq!(trees.give_back(lease, Outcome::Broken), [first.path]);
        assert!(trees.lend_to_look(layers(&["base", "layers/one"])).0.is_new);
        assert!(!trees.lend_to_look(layers(&["base"])).0.is_new);
    }

    #[test]
    fn a_step_of_several_parts_goes_on_in_its_tree() {
        let (_home, mut trees) = trees();
        let (first, lease) = trees.lend_to_change(layers(&["base"]), "step".into());
        trees.give_back(lease, Outcome::Changed);
        let (second, lease) = trees.lend_to_change(layers(&["base"]), "step".into());
        assert_eq!(
            (&second.path, second.purpose),
            (&first.path, Purpose::ChangeFurther)
        );
        trees.give_back(lease, Outcome::Changed);
        assert!(!trees.lend_to_look(layers(&["base", "step/fs"])).0.is_new);
        // Another step over the same layers is not of this one's tree.
        assert_ne!(
            trees.lend_to_change(layers(&["base"]), "other".into()).0.path,
            first.path
        );
    }

    #[test]
    fn many_look_and_nobody_changes_meanwhile() {
        let (_home, mut trees) = trees();
        let (_, lease) = trees.lend_to_look(layers(&["base"]));
        trees.give_back(lease, Outcome::Unchanged);
        let (one, first) = trees.lend_to_look(layers(&["base"]));
        let (two, second) = trees.lend_to_look(layers(&["base"]));
        assert_eq!(one.path, two.path);
        trees.give_back(first, Outcome::Unchanged);
        assert!(trees.lend_to_change(layers(&["base"]), "step".into()).0.is_new);
        trees.give_back(second, Outcome::Unchanged);
        assert!(!trees.lend_to_change(layers(&["base"]), "step".into()).0.is_new);
    }

    #[test]
    fn what_is_made_of_a_removed_directory_goes_and_so_do_the_oldest() {
        let (_home, mut trees) = trees();
        let (step, lease) = trees.lend_to_change(layers(&["base"]), "scratch/step".into());
        trees.give_back(lease, Outcome::Changed);
        assert_eq!(trees.removed(Path::new("scratch/step")), [step.path]);
        let mut gone = Vec::new();
        for number in 0..=MOST_IDLE {
            let (_, lease) = trees.lend_to_look(layers(&[&number.to_string()]));
            gone.extend(trees.give_back(lease, Outcome::Unchanged));
        }
        assert_eq!(gone.len(), 1);
        assert!(trees.lend_to_look(layers(&["0"])).0.is_new);
    }
}
