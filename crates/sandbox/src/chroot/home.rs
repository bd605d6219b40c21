//! The directory of one keeper's trees: whose it is, and what becomes of those whose keeper is dead.
//!
//! Beside each directory is a file that its keeper holds locked for as long as it lives, and the file is there before the directory. So
//! whoever can take that lock has found what a dead keeper left, or what nobody has begun yet, and holds it until the last of it is gone:
//! keepers that begin or end at the same moment do not get at each other's trees.
//!
//! Failure: a directory that could not be removed keeps its file, and the next keeper removes it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::stack::sorted_names;
use crate::tree::remove;

/// Of all keepers of a directory.
const TREES: &str = ".keeper/trees";
/// What the name of a lock ends with.
const LOCK: &str = ".lock";

/// A directory of trees that a living keeper has.
#[derive(Debug)]
pub(crate) struct Home {
    /// Relative to the keepers' directory.
    path: PathBuf,
    /// Locked.
    _lock: OwnedFd,
}

impl Home {
    /// Makes one, and removes those of dead keepers.
    pub(super) fn prepare(directory: &OwnedFd) -> Result<Self> {
        make(directory, Path::new(TREES))?;
        remove_dead(directory)?;
        let mut unique = [0; 8];
        rustix::rand::getrandom(&mut unique, rustix::rand::GetRandomFlags::empty())
            .doing(|| "get a random number".into())?;
        let path = Path::new(TREES).join(format!("{:016x}", u64::from_ne_bytes(unique)));
        let _lock = create_lock(directory, &path)?;
        make(directory, &path)?;
        Ok(Self { path, _lock })
    }

    /// Where it is, relative to the keepers' directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all trees in it.
    pub(super) fn remove(self, directory: &OwnedFd) -> Result<()> {
        remove_locked(directory, &self.path)
    }
}

/// The file beside a directory.
fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LOCK);
    name.into()
}

fn create_lock(directory: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let action = || "lock a directory for trees".to_owned();
    let path = lock_of(path);
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, &path, flags, Mode::from_raw_mode(0o600)).doing(action)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .doing(action)?;
        // Who looked for dead keepers may have taken it for one's before it was locked.
        if is_still_at(directory, &path, &file).doing(action)? {
            return Ok(file);
        }
    }
}

fn is_still_at(directory: &OwnedFd, path: &Path, file: &OwnedFd) -> std::result::Result<bool, Errno> {
    let opened = rustix::fs::fstat(file)?;
    match rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn remove_dead(directory: &OwnedFd) -> Result<()> {
    let action = || "look for trees of dead keepers".to_owned();
    let trees = beneath::open_with(directory, Path::new(TREES), OFlags::RDONLY | OFlags::DIRECTORY)?;
    for name in sorted_names(&trees).doing(action)? {
        let Some(name) = unlocked(&name) else { continue };
        let path = Path::new(TREES).join(name);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = match rustix::fs::openat(directory, lock_of(&path), flags, Mode::empty()) {
            Ok(lock) => lock,
            // Another keeper removed it, or its own did.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno).doing(action),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_still_at(directory, &lock_of(&path), &lock).doing(action)? => {
                // What a dead keeper's processes write a moment longer, or a disk does not let go of, is no reason not to begin.
                let _ = remove_locked(directory, &path);
            }
            Ok(()) | Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(errno).doing(action),
        }
    }
    Ok(())
}

/// The name of the directory that a file locks.
fn unlocked(lock: &OsStr) -> Option<OsString> {
    lock.to_str()?.strip_suffix(LOCK).map(OsString::from)
}

/// Removes a directory whose lock is held, and the lock's file last.
fn remove_locked(directory: &OwnedFd, path: &Path) -> Result<()> {
    remove(directory, path)?;
    remove(directory, &lock_of(path))
}

fn make(directory: &OwnedFd, path: &Path) -> Result<()> {
    match rustix::fs::mkdirat(directory, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).doing(|| format!("make {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepers() -> (tempfile::TempDir, OwnedFd) {
        let keepers = tempfile::tempdir().unwrap();
        let directory = crate::launcher::open_directory(keepers.path()).unwrap();
        crate::layout::prepare(&directory).unwrap();
        (keepers, directory)
    }

    #[test]
    fn trees_of_the_dead_go_and_those_of_the_living_stay() {
        let (keepers, directory) = keepers();
        let place = |home: &Home| keepers.path().join(home.path());
        let living = Home::prepare(&directory).unwrap();
        let dead = Home::prepare(&directory).unwrap();
        std::fs::create_dir(place(&dead).join("7")).unwrap();
        let left = place(&dead);
        drop(dead);
        let next = Home::prepare(&directory).unwrap();
        assert!(!left.exists() && place(&living).exists() && place(&next).exists());
        living.remove(&directory).unwrap();
        next.remove(&directory).unwrap();
        assert_eq!(std::fs::read_dir(keepers.path().join(TREES)).unwrap().count(), 0);
    }

    #[test]
    fn keepers_that_begin_and_end_at_once_leave_each_other_alone() {
        let (keepers, directory) = keepers();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (keepers, directory) = (&keepers, &directory);
                scope.spawn(move || {
                    for turn in 0..200 {
                        let home = Home::prepare(directory).unwrap();
                        std::fs::create_dir(keepers.path().join(home.path()).join("1")).unwrap();
                        // Some end, some are dead.
                        if (number + turn) % 3 > 0 {
                            home.remove(directory).unwrap();
                        }
                    }
                });
            }
        });
        drop(Home::prepare(&directory).unwrap());
        let left = std::fs::read_dir(keepers.path().join(TREES)).unwrap();
        assert_eq!(left.count(), 2, "one directory and its lock");
    }
}
