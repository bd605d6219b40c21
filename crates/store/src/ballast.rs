//! Room that is kept for the day when the disk is full.
//!
//! To delete a row SQLite first writes: the shared map and the log need pages. On a completely full disk nothing could then be
//! freed by the one command that exists for it. So an open store keeps a file of reserved blocks, and whoever opens it to free
//! space gives these up for as long as it is at work, if no other room is to be had. That is found out by trying: the figures of
//! a file system know no user's quota, and that is as full a disk as any. Who gives them up holds a lock on the file,
//! so that nobody who opens the store meanwhile takes the room back. It is a reserve, not a promise: where it could not be made
//! (the disk was full already), opening goes on without it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

use crate::error::is_full;
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
    // A part of it would only make the disk fuller, and more than it is what somebody tried for who was killed.
    if allocate(file, SIZE).and_then(|()| file.set_len(SIZE)).is_err() {
        let _ = file.set_len(0);
    }
}

fn allocate(file: &File, length: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::empty(), 0, length)?)
}

/// The room, given up until this is dropped.
pub(crate) struct GivenUp(File);

impl Drop for GivenUp {
    fn drop(&mut self) {
        fill(&self.0);
    }
}

/// Gives the room up where no more than that is to be had; nothing where there is enough, or where there never was a reserve.
pub(crate) fn give_up(directory: &Path) -> Result<Option<GivenUp>> {
    give_up_unless(directory, allocate)
}

/// Gives it up unless as much again can be allocated.
fn give_up_unless(
    directory: &Path,
    allocate: impl FnOnce(&File, u64) -> io::Result<()>,
) -> Result<Option<GivenUp>> {
    let path = directory.join("ballast");
    if !path.exists() {
        return Ok(None);
    }
    let file = file(directory).map_err(StoreError::file("open", &path))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|errno| StoreError::file("lock", &path)(errno.into()))?;
    match allocate(&file, 2 * SIZE) {
        Err(error) if is_full(&error) => {
            file.set_len(0).map_err(StoreError::file("empty", &path))?;
            Ok(Some(GivenUp(file)))
        }
        // A file system that reserves nothing has no reserve to give up either.
        Ok(()) | Err(_) => {
            fill(&file);
            Ok(None)
        }
    }
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
    fn is_given_up_for_a_quota_as_for_a_full_disk() {
        use rustix::io::Errno;
        for (errno, is_needed) in [
            (Errno::DQUOT, true),
            (Errno::NOSPC, true),
            (Errno::OPNOTSUPP, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            reserve(directory.path());
            let given_up = give_up_unless(directory.path(), |_, _| Err(errno.into())).unwrap();
            assert_eq!(given_up.is_some(), is_needed, "{errno}");
            assert_eq!(
                length(directory.path()),
                if is_needed { 0 } else { SIZE },
                "{errno}"
            );
            drop(given_up);
            assert_eq!(length(directory.path()), SIZE, "{errno}");
        }
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
