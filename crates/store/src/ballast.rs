//! Room that is kept for the day when the disk is full.
//!
//! To delete a row SQLite first writes: the shared map and the log need pages. On a completely full disk nothing could then be
//! freed by the one command that exists for it. So an open store keeps a file of reserved blocks, and whoever opens it to free
//! space gives these up for as long as it is at work, if the disk has no other room. Who gives them up holds a lock on the file,
//! so that nobody who opens the store meanwhile takes the room back. It is a reserve, not a promise: where it could not be made
//! (the disk was full already), opening goes on without it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use crate::{Result, StoreError};

/// The log grows to four megabytes before SQLite writes it back; the rest is for the map and the file system's own needs.
const SIZE: u64 = 8 << 20;

fn file(directory: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("ballast"))
}

/// Reserves the room, if it is not and there is some, and nobody needs it now.
pub(crate) fn reserve(directory: &Path) {
    if let Ok(file) = file(directory)
        && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    {
        fill(&file);
    }
}

fn fill(file: &File) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == SIZE) {
        return;
    }
    if fallocate(file, FallocateFlags::empty(), 0, SIZE).is_err() {
        // A part of it would only make the disk fuller.
        let _ = file.set_len(0);
    }
}

/// The room, given up until this is dropped.
pub(crate) struct GivenUp(File);

impl Drop for GivenUp {
    fn drop(&mut self) {
        fill(&self.0);
    }
}

/// Gives the room up where the disk has no more than that; nothing where there is enough, or where there never was a reserve.
pub(crate) fn give_up(directory: &Path) -> Result<Option<GivenUp>> {
    let path = directory.join("ballast");
    let space = statvfs(directory)
        .map_err(|errno| StoreError::file("ask for the space of", directory)(errno.into()))?;
    if space.f_bavail.saturating_mul(space.f_frsize) >= SIZE || !path.exists() {
        return Ok(None);
    }
    let file = file(directory).map_err(StoreError::file("open", &path))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|errno| StoreError::file("lock", &path)(errno.into()))?;
    file.set_len(0).map_err(StoreError::file("empty", &path))?;
    Ok(Some(GivenUp(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(directory: &Path) -> u64 {
        std::fs::metadata(directory.join("ballast")).unwrap().len()
    }

    #[test]
    fn is_kept_where_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        reserve(directory.path());
        assert_eq!(length(directory.path()), SIZE);
        assert!(give_up(directory.path()).unwrap().is_none());
        assert_eq!(length(directory.path()), SIZE);
    }

    #[test]
    fn nobody_takes_it_back_from_who_gave_it_up() {
        let directory = tempfile::tempdir().unwrap();
        reserve(directory.path());
        let held = file(directory.path()).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        held.set_len(0).unwrap();
        let given_up = GivenUp(held);
        reserve(directory.path());
        assert_eq!(length(directory.path()), 0);
        drop(given_up);
        assert_eq!(length(directory.path()), SIZE);
    }
}
