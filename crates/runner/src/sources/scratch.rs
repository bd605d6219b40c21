//! A directory for as long as its process lives.
//!
//! A dropped value removes its directory; a killed process cannot. So each directory is locked by the process that
//! uses it, the kernel lets go of the lock however that process ends, and whoever makes the next directory in the same
//! place removes those that nobody holds. The lock of the place itself is held in between, so that a directory which is
//! just made, and not locked yet, is never taken for a leftover.
//!
//! A leftover that cannot be removed is reported and left for the next attempt.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct Scratch {
    directory: TempDir,
    /// Held, never read.
    _lock: File,
}

impl Scratch {
    /// A new directory in `place`, which is made when it is missing; leftovers of dead processes are removed from it.
    pub(super) fn create(place: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        let whole = File::open(place)?;
        whole.lock()?;
        remove_leftovers(place)?;
        let directory = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let lock = File::open(directory.path())?;
        lock.lock()?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn remove_leftovers(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        match File::open(&path).map(|directory| directory.try_lock()) {
            Ok(Ok(())) => {}
            Ok(Err(TryLockError::WouldBlock)) => continue,
            Ok(Err(TryLockError::Error(error))) | Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot see whether a directory is in use");
                continue;
            }
        }
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(%error, path = %path.display(), "a dead process's directory stays");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_goes_and_what_lives_stays() {
        let place = tempfile::tempdir().expect("a directory");
        let alive = Scratch::create(place.path()).expect("the first");
        fs::write(alive.path().join("kept"), "").expect("a file");
        let dead = place.path().join("dead");
        fs::create_dir(&dead).expect("a leftover");
        fs::write(dead.join("file"), "").expect("its file");

        let next = Scratch::create(place.path()).expect("the second");

        assert!(!dead.exists(), "nobody holds it");
        assert!(alive.path().join("kept").exists(), "its process lives");
        let ended = alive.path().to_owned();
        drop(alive);
        assert!(!ended.exists());
        assert!(next.path().exists());
    }
}
