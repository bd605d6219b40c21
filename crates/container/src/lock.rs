//! What lives: a file that is locked while its owner does.
//!
//! The kernel lets go of a lock when its process dies, however it dies, so a lock that can be taken marks what a dead
//! process left behind. No process ids are written down, which could belong to somebody else by now.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::ids::PodId;

const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// A lock that is held: of a pod, of a job that runs. Dropped, it is let go; the file stays until [`LifeLock::remove`].
#[derive(Debug)]
pub struct LifeLock {
    path: PathBuf,
    _file: File,
}

impl LifeLock {
    /// Takes the lock of something new, at a path that nobody else makes for something else. Waits for a sweep that looks at it.
    ///
    /// # Errors
    /// When the file cannot be made or locked, in a directory that is missing for instance.
    pub fn create(path: &Path) -> io::Result<Self> {
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(NO_LINK)
                .open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            // A sweep may have taken it for a leftover and removed it before we had the lock.
            if is_still_at(&file, path)? {
                return Ok(Self {
                    path: path.to_owned(),
                    _file: file,
                });
            }
        }
    }

    /// Takes the lock of something that may be there already; nothing when somebody has it.
    ///
    /// # Errors
    /// When the file cannot be made or locked, in a directory that is missing for instance.
    pub fn take_if_free(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(NO_LINK)
                .open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Who had it may have removed it before we had the lock.
                Ok(()) if !is_still_at(&file, path)? => {}
                Ok(()) => {
                    return Ok(Some(Self {
                        path: path.to_owned(),
                        _file: file,
                    }));
                }
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes the lock of something whose owner is dead; nothing when it lives, or when another sweep was first.
    ///
    /// # Errors
    /// When the file cannot be opened or locked.
    pub fn take_over(path: &Path) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().write(true).custom_flags(NO_LINK).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_still_at(&file, path)? => Ok(Some(Self {
                path: path.to_owned(),
                _file: file,
            })),
            Ok(()) | Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the owner lives: `false` when it is dead or has ended. Does not wait, and takes nothing over; a sweep that comes in the
    /// very moment may think that the owner lives.
    ///
    /// # Errors
    /// When the file cannot be opened or locked, for want of descriptors for instance.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Shared, so that those who look do not see one another.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What it stood for is gone with all it had.
    ///
    /// # Errors
    /// When the file cannot be removed: it then marks a leftover.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Who needs the unpacked layers of one class of ids to stay: every pod with these ids while it lives. Taken whole, they may be
/// removed. Its file is never removed.
#[derive(Debug)]
pub(crate) struct LayersLock {
    _file: File,
}

impl LayersLock {
    /// Waits while layers are being removed.
    pub(crate) fn share(path: &Path) -> io::Result<Self> {
        let file = Self::open(path)?;
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self { _file: file })
    }

    /// Nothing when a pod lives.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = Self::open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    }
}

/// Whether what was opened at a path is what is there, links not followed. Asked after it was locked: whoever removes or replaces
/// such a file holds its lock meanwhile, so a lock on what is not there any more is a lock on nothing.
///
/// # Errors
/// When it cannot be looked at; that there is nothing is no error.
pub fn is_still_at(opened: &File, path: &Path) -> io::Result<bool> {
    let opened = opened.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many pods have died and left something in a data directory, of whatever class of ids.
pub fn dead_pods(data: &Path) -> usize {
    let directory = data.join("locks");
    let pods = pods(&directory).unwrap_or_default().into_iter();
    pods.filter(|pod| matches!(LifeLock::is_held(&directory.join(pod.as_str())), Ok(false)))
        .count()
}

/// Every pod that has a lock file, alive or not.
pub(crate) fn pods(directory: &Path) -> io::Result<Vec<PodId>> {
    let mut pods = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        // Whatever else lies there is none of ours.
        pods.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_taken_only_when_nobody_shares_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layers.u0.100000.65536");
        let (one, two) = (
            LayersLock::share(&path).unwrap(),
            LayersLock::share(&path).unwrap(),
        );
        assert!(LayersLock::take(&path).unwrap().is_none());
        drop((one, two));
        let taken = LayersLock::take(&path).unwrap();
        assert!(taken.is_some() && LayersLock::take(&path).unwrap().is_none());
    }

    #[test]
    fn what_was_replaced_or_leads_elsewhere_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let [path, link] = ["file", "link"].map(|name| directory.path().join(name));
        let file = File::create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(is_still_at(&file, &path).unwrap());
        assert!(!is_still_at(&file, &link).unwrap());
        assert!(LifeLock::create(&link).is_err() && LifeLock::take_over(&link).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(!is_still_at(&file, &path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_still_at(&file, &path).unwrap());
    }

    #[test]
    fn what_a_sweep_removed_meanwhile_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Some(dead) = LifeLock::take_over(&path).unwrap() {
                        dead.remove().unwrap();
                    }
                }
            });
            for _ in 0..2000 {
                let lock = LifeLock::create(&path).unwrap();
                let is_there = path.exists();
                if !is_there {
                    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                assert!(is_there, "a lock that nobody else can find");
                lock.remove().unwrap();
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_living_pod_is_not_taken_over_and_a_dead_one_once() {
        let directory = tempfile::tempdir().unwrap();
        let pod = PodId::random();
        let path = directory.path().join(pod.as_str());
        let lock = LifeLock::create(&path).unwrap();
        std::fs::write(directory.path().join("README"), "not a pod").unwrap();
        assert_eq!(pods(directory.path()).unwrap(), std::slice::from_ref(&pod));
        assert!(LifeLock::take_over(&path).unwrap().is_none());
        assert!(LifeLock::is_held(&path).unwrap());
        drop(lock);
        assert!(!LifeLock::is_held(&path).unwrap());
        let taken = LifeLock::take_over(&path).unwrap().unwrap();
        assert!(LifeLock::take_over(&path).unwrap().is_none());
        taken.remove().unwrap();
        assert!(LifeLock::take_over(&path).unwrap().is_none());
        assert!(!LifeLock::is_held(&path).unwrap());
        assert!(pods(directory.path()).unwrap().is_empty());
    }
}
