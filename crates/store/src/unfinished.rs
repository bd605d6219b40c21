//! What this process has begun below `incoming/` and has not finished.
//!
//! Each file goes with the value that stands for it. A process that is asked to end does not wait for the threads that have such
//! values, or a Ctrl-C would take as long as the layer under way; so what they have begun is taken from under them, and nothing more
//! is begun. A process that is killed leaves its files to the next sweep.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Result, StoreError};

/// Tries at a directory in which a thread may just be making a file.
const TRIES: usize = 3;

/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    paths: BTreeSet<PathBuf>,
    /// Nothing more is begun.
    is_over: bool,
}

impl Unfinished {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a file or directory at a path, and takes note of it.
    pub(crate) fn begin(&self, path: &Path, make: impl FnOnce() -> Result<File>) -> Result<File> {
        let mut state = self.state();
        if state.is_over {
            let ending = io::Error::new(io::ErrorKind::Interrupted, "the process is ending");
            return Err(StoreError::file("make", path)(ending));
        }
        let file = make()?;
        state.paths.insert(path.to_owned());
        Ok(file)
    }

    /// Gives what is at a path another name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        fs::rename(from, to)?;
        state.paths.remove(from);
        state.paths.insert(to.to_owned());
        Ok(())
    }

    /// It is gone, whole or not.
    pub(crate) fn end(&self, path: &Path) {
        self.state().paths.remove(path);
    }

    /// Removes all of it; nothing is begun any more.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.is_over = true;
        for path in std::mem::take(&mut state.paths) {
            // What cannot be removed is found by the next sweep.
            if fs::remove_file(&path).is_err() {
                let _ = (0..TRIES).find(|_| fs::remove_dir_all(&path).is_ok());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone_and_nothing_follows() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let make = |path: PathBuf| move || File::create(&path).map_err(StoreError::file("make", &path));
        let unfinished = Unfinished::default();
        for name in ["one", "two", "ended"] {
            unfinished.begin(&at(name), make(at(name))).unwrap();
        }
        let directory = || {
            fs::create_dir(at("directory")).unwrap();
            make(at("directory/inside"))()
        };
        unfinished.begin(&at("directory"), directory).unwrap();
        unfinished.rename(&at("two"), &at("three")).unwrap();
        unfinished.end(&at("ended"));
        unfinished.give_up();
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(at("ended").exists());
        unfinished.begin(&at("late"), make(at("late"))).unwrap_err();
        assert!(!at("late").exists());
    }
}
