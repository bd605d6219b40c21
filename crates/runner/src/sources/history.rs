//! Histories of work trees, copied for jobs and kept from run to run.
//!
//! Cutting a history to some depth makes git pack it once more, which takes longer than everything else a job's start
//! needs when its images are here. What comes out depends on little, and that little is a copy's name. One copy of a
//! work tree stays, and of the work trees the last [`KEPT`]; `shipway run` reads copies and never writes to one.
//!
//! A copy is filled in a scratch directory and gets its name when it is whole and on disk. Whoever uses one holds its
//! lock; the kernel lets go of it however a process ends, and what nobody holds may be removed. All that looks at
//! names holds the lock of the place meanwhile, so nothing is removed between being found and being locked. A copy
//! that cannot be removed is reported and left for the next attempt.

use super::SourceError;
use crate::scratch::{PlannedScratch, Scratch};
use shipway_oci::{Algorithm, Hasher};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Work trees whose history stays.
const KEPT: usize = 8;
/// What copies are called while they are filled or removed.
const UNFINISHED: &str = "shipway-history";
/// Letters of each half of a name.
const HALF: usize = 32;
/// Counts the ways in which copies have been made: one made in another way is another copy.
const WAY: &str = "1";

/// What a copy depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryName {
    tree: String,
    state: String,
}

impl HistoryName {
    /// The copy of the work tree at `root`, with everything else that decides about its content.
    pub(super) fn new(root: &Path, state: &[&[u8]]) -> Self {
        Self {
            tree: hash(&[root.as_os_str().as_encoded_bytes()]),
            state: hash(state),
        }
    }

    fn file_name(&self) -> String {
        format!("{}-{}", self.tree, self.state)
    }
}

/// The halves of what may be the name of a copy.
fn halves(file_name: &str) -> Option<(&str, &str)> {
    let halves = file_name.split_once('-')?;
    let is_half = |half: &str| half.len() == HALF && half.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_half(halves.0) && is_half(halves.1)).then_some(halves)
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in [WAY.as_bytes()].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut hex = hasher.finish().hex().to_owned();
    hex.truncate(HALF);
    hex
}

/// A copy. It stays for as long as this lives.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    /// Held, never read.
    _lock: File,
}

impl History {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The place where copies are.
#[derive(Debug)]
pub(super) struct Histories {
    place: PathBuf,
}

impl Histories {
    pub(super) fn new(place: PathBuf) -> Self {
        Self { place }
    }

    /// The copy of that name. When there is none, `fill` makes it in an empty directory.
    ///
    /// # Errors
    /// What `fill` says, and when the place cannot be read or written.
    pub(super) fn get(
        &self,
        name: &HistoryName,
        fill: impl FnOnce(&Path) -> Result<(), SourceError>,
    ) -> Result<History, SourceError> {
        let problem = |source| SourceError::Read {
            path: self.place.display().to_string(),
            source,
        };
        let locked = self.lock().map_err(problem)?;
        self.sweep(name).map_err(problem)?;
        if let Some(history) = self.find(name).map_err(problem)? {
            return Ok(history);
        }
        drop(locked);

        let unfinished = Scratch::create(&self.place, UNFINISHED).map_err(problem)?;
        fill(unfinished.path())?;
        sync(unfinished.path()).map_err(problem)?;

        let _locked = self.lock().map_err(problem)?;
        match fs::rename(unfinished.path(), self.place.join(name.file_name())) {
            // Somebody else made the same meanwhile; which of the two it is depends on the file system.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) => {}
            renamed => renamed.map_err(problem)?,
        }
        // Also lets go of its lock, which was for whoever fills it alone.
        drop(unfinished);
        self.find(name)
            .and_then(|found| found.ok_or_else(|| ErrorKind::NotFound.into()))
            .map_err(problem)
    }

    /// Removes all copies that nobody holds, unless this is only a question, and says how many.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub(super) fn clear(&self, only_ask: bool) -> io::Result<u64> {
        if !self.place.try_exists()? {
            return Ok(0);
        }
        let _locked = self.lock()?;
        let mut removed = 0;
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            if entry.file_name().to_str().and_then(halves).is_none() {
                continue;
            }
            let goes = if only_ask {
                File::open(entry.path())?.try_lock().is_ok()
            } else {
                remove_unless_held(&entry.path());
                !entry.path().try_exists()?
            };
            removed += u64::from(goes);
        }
        Ok(removed)
    }

    fn lock(&self) -> io::Result<File> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.place)?;
        let place = File::open(&self.place)?;
        place.lock()?;
        Ok(place)
    }

    fn find(&self, name: &HistoryName) -> io::Result<Option<History>> {
        let path = self.place.join(name.file_name());
        let lock = match File::open(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        lock.lock_shared()?;
        // Its age counts from here; a copy that seems older is made again earlier.
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(History { path, _lock: lock }))
    }

    /// Removes what is outdated, or of a work tree that nobody has asked for since many others.
    fn sweep(&self, wanted: &HistoryName) -> io::Result<()> {
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            match name.to_str().and_then(halves) {
                Some((tree, _)) if tree != wanted.tree => {
                    others.push((entry.metadata()?.modified()?, path));
                }
                Some((_, state)) if state != wanted.state => remove_unless_held(&path),
                Some(_) | None => {}
            }
        }
        others.sort();
        // The wanted one is one of those that stay.
        let surplus = (others.len() + 1).saturating_sub(KEPT);
        for (_, path) in &others[..surplus] {
            remove_unless_held(path);
        }
        Ok(())
    }
}

/// Removes a copy under another name: what is left of it by a kill in between must not be found as a whole one.
fn remove_unless_held(path: &Path) {
    let removed = File::open(path).and_then(|directory| match directory.try_lock() {
        Ok(()) => {
            let place = path.parent().unwrap_or(Path::new("."));
            let other = PlannedScratch::new(place, UNFINISHED);
            fs::rename(path, other.path())?;
            fs::remove_dir_all(other.path())
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    });
    if let Err(error) = removed {
        tracing::warn!(%error, path = %path.display(), "a copy of a history that nobody needs stays");
    }
}

/// Brings a tree to disk: a name that outlives a power failure must not have half a history behind it.
fn sync(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
