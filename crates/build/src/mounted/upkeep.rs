//! Having a directory for oneself while nobody uses it: to export, fill or remove it.
//!
//! A second file beside that of the directory says that this is under way, so that steps wait for it and do not begin another directory,
//! which would be empty. It is taken first, and let go at once when a step has the directory: upkeep gives way.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shipway_container::{LifeLock, is_still_at};

use super::record::Record;
use super::turn;

/// What the names of these files begin with.
pub(crate) const UPKEEP: &str = "upkeep.";
/// How often a directory that a step has is looked at: a lock can be waited for by the kernel only while steps wait as well.
const PAUSE: Duration = Duration::from_millis(50);

/// A directory that is had whole.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Let go first: who waits for the mark finds it free.
    pub(super) lock: File,
    _mark: Mark,
    path: PathBuf,
}

/// Says that a directory is looked after, and takes its file along.
#[derive(Debug)]
struct Mark(Option<LifeLock>);

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(LifeLock::remove) {
            tracing::debug!(%error, "the mark of a cache mount that was looked after stays");
        }
    }
}

impl Upkeep {
    /// Takes a directory when no step has it within this time; nothing when one has. Blocks.
    pub(crate) fn take(locks: &Path, directory: &str, patience: Duration) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(locks)?;
        let begun = Instant::now();
        loop {
            if let Some(taken) = Self::try_take(locks, directory)? {
                return Ok(Some(taken));
            }
            if begun.elapsed() >= patience {
                return Ok(None);
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    fn try_take(locks: &Path, directory: &str) -> io::Result<Option<Self>> {
        let path = locks.join(directory);
        let mark = Mark(Some(LifeLock::create(&mark_of(locks, directory))?));
        loop {
            let lock = turn::open(&path)?;
            match lock.try_lock() {
                Ok(()) if is_still_at(&lock, &path)? => {
                    return Ok(Some(Self {
                        lock,
                        _mark: mark,
                        path,
                    }));
                }
                // It was removed with its directory before we had it.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Says whose it is: of a directory that is filled before a step has had it.
    pub(crate) fn record(&self, record: &Record) -> io::Result<()> {
        record.write(&self.lock)
    }

    /// Ends it with the directory's own file, whose directory is gone.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Where it is said that a directory is looked after.
fn mark_of(locks: &Path, directory: &str) -> PathBuf {
    locks.join(format!("{UPKEEP}{directory}"))
}

/// Waits while a directory is looked after; whether it was.
pub(super) fn wait_for_upkeep(locks: &Path, directory: &str) -> io::Result<bool> {
    let mark = match File::open(mark_of(locks, directory)) {
        Ok(mark) => mark,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match mark.try_lock_shared() {
        // Of a process that is dead.
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => mark.lock_shared().map(|()| true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::Sharing;
    use crate::mounted::take;

    fn record() -> Record {
        Record {
            scope: "user".to_owned(),
            id: "c".to_owned(),
        }
    }

    #[test]
    fn it_gives_way_to_steps_and_steps_wait_for_it() {
        let locks = tempfile::tempdir().unwrap();
        let step = take(locks.path(), "c", Sharing::Shared, &record()).unwrap();
        let taken = |patience| Upkeep::take(locks.path(), "c", patience).unwrap();
        assert!(taken(Duration::ZERO).is_none());
        drop(step);
        let upkeep = taken(Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiting = [Sharing::Shared, Sharing::Private, Sharing::Locked].map(|sharing| {
                let locks = locks.path();
                scope.spawn(move || take(locks, "c", sharing, &record()).unwrap().directory)
            });
            drop(upkeep);
            for step in waiting {
                // A private one may meet another that came after the upkeep.
                assert!(["c", "c.1", "c.2"].contains(&step.join().unwrap().as_str()));
            }
        });
        let left = std::fs::read_dir(locks.path()).unwrap();
        let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            names
                .iter()
                .all(|name| !name.to_string_lossy().starts_with(UPKEEP)),
            "{names:?}"
        );
    }

    #[test]
    fn a_shared_step_that_comes_during_upkeep_begins_no_second_directory() {
        let locks = tempfile::tempdir().unwrap();
        let upkeep = Upkeep::take(locks.path(), "c", Duration::ZERO).unwrap().unwrap();
        std::thread::scope(|scope| {
            let step = scope.spawn(|| take(locks.path(), "c", Sharing::Shared, &record()).unwrap());
            // Either it waits already, or it comes when all is over: both end with the first directory.
            std::thread::yield_now();
            drop(upkeep);
            assert_eq!(step.join().unwrap().directory, "c");
        });
    }

    #[test]
    fn the_mark_of_a_dead_process_is_no_hindrance() {
        let locks = tempfile::tempdir().unwrap();
        std::fs::write(mark_of(locks.path(), "c"), "").unwrap();
        let _alone = take(locks.path(), "c", Sharing::Private, &record()).unwrap();
        let second = take(locks.path(), "c", Sharing::Private, &record()).unwrap();
        assert_eq!(second.directory, "c.1");
        assert!(Upkeep::take(locks.path(), "d", Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn who_waited_for_what_was_removed_gets_a_new_one() {
        let locks = tempfile::tempdir().unwrap();
        let upkeep = Upkeep::take(locks.path(), "c", Duration::ZERO).unwrap().unwrap();
        std::thread::scope(|scope| {
            let step = scope.spawn(|| take(locks.path(), "c", Sharing::Locked, &record()).unwrap());
            std::thread::yield_now();
            upkeep.remove().unwrap();
            step.join().unwrap();
        });
        assert!(locks.path().join("c").exists());
    }
}
