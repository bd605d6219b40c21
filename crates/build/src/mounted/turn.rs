//! Who has a directory while a step runs: a lock on a file, because other processes build as well.
//!
//! `shared` ones are held together. `locked` ones wait for their turn. A `private` one that is taken, and a `shared` one that somebody
//! has for himself, is not waited for: there is a second directory, a third, and so on, and the first that is free is taken. Upkeep
//! is waited for in any case: it is short, and what it is done for is the directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use shipway_container::is_still_at;

use super::record::Record;
use super::upkeep::wait_for_upkeep;
use crate::dockerfile::Sharing;

/// Directories of one cache; more RUNs than that at the same time wait.
const MOST_DIRECTORIES: usize = 64;

/// A cache that a RUN has.
pub(crate) struct Turn {
    pub(crate) cache: String,
    /// Its directory in [`FOLDER`](super::FOLDER).
    pub(crate) directory: String,
    _lock: File,
}

/// Takes a cache. Blocks, for as long as others have one that is to be had in turns.
pub(crate) fn take(locks: &Path, cache: &str, sharing: Sharing, record: &Record) -> io::Result<Turn> {
    for number in 0..MOST_DIRECTORIES {
        let directory = match number {
            0 => cache.to_owned(),
            number => format!("{cache}.{number}"),
        };
        if let Some(lock) = take_directory(locks, &directory, sharing)? {
            record.write(&lock)?;
            return Ok(Turn {
                cache: cache.to_owned(),
                directory,
                _lock: lock,
            });
        }
    }
    take(locks, cache, Sharing::Locked, record)
}

fn take_directory(locks: &Path, directory: &str, sharing: Sharing) -> io::Result<Option<File>> {
    let path = locks.join(directory);
    let mut is_sure = false;
    loop {
        let lock = open(&path)?;
        let taken = match sharing {
            Sharing::Shared => lock.try_lock_shared(),
            Sharing::Private => lock.try_lock(),
            Sharing::Locked => lock.lock().map_err(TryLockError::Error),
        };
        match taken {
            Ok(()) if is_still_at(&lock, &path)? => return Ok(Some(lock)),
            // It was removed with its directory before we had it.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if wait_for_upkeep(locks, directory)? => is_sure = false,
            // Upkeep may have ended before its mark was looked for.
            Err(TryLockError::WouldBlock) if !is_sure => is_sure = true,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A lock's file, made where there is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_share_gets_a_directory_of_its_own() {
        let locks = tempfile::tempdir().unwrap();
        let record = Record {
            scope: "user".to_owned(),
            id: "c".to_owned(),
        };
        let taken = |sharing| take(locks.path(), "c", sharing, &record).unwrap();
        let (one, other) = (taken(Sharing::Shared), taken(Sharing::Shared));
        assert_eq!((one.directory.as_str(), other.directory.as_str()), ("c", "c"));
        let alone = taken(Sharing::Private);
        assert_eq!(alone.directory, "c.1");
        drop((one, other));
        let first = taken(Sharing::Private);
        assert_eq!(first.directory, "c");
        assert_eq!(taken(Sharing::Shared).directory, "c.2");
        drop(first);
        assert_eq!(taken(Sharing::Locked).directory, "c");
    }
}
