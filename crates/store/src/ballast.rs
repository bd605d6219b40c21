//! Room that is kept for the day when the disk is full.
//!
//! To delete a row SQLite first writes: the shared map and the log need pages. On a completely full disk nothing could then be
//! freed by the one command that exists for it. So an open store keeps a file of reserved blocks, and whoever opens it to free
//! space gives these up first. It is a reserve, not a promise: where it could not be made (the disk was full already), opening
//! goes on without it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::{Result, StoreError};

/// The log grows to four megabytes before SQLite writes it back; the rest is for the map and the file system's own needs.
const SIZE: u64 = 8 << 20;

fn path(directory: &Path) -> PathBuf {
    directory.join("ballast")
}

/// Reserves the room, if it is not and there is some.
pub(crate) fn reserve(directory: &Path) {
    let path = path(directory);
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == SIZE) {
        return;
    }
    let reserved = File::create(&path)
        .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, SIZE).map_err(io::Error::from));
    if reserved.is_err() {
        // A part of it would only make the disk fuller.
        let _ = std::fs::remove_file(&path);
    }
}

/// Gives the room up.
pub(crate) fn release(directory: &Path) -> Result<()> {
    let path = path(directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", &path)(error))
        }
        _ => Ok(()),
    }
}
