//! A directory for as long as its process lives.
//!
//! A dropped value removes its directory; a killed process cannot. So each directory is locked by the process that
//! uses it, the kernel lets go of the lock however that process ends, and who has that place to keep removes those that nobody
//! holds: with the next directory of that kind, or once for many of them, so that what cannot be removed is said once.
//!
//! The place may be somebody else's too, such as `/tmp`: a directory is made under a name that nobody can foresee, never
//! taken over from anybody, and only what has such a name and belongs to this user is ever removed. A leftover that
//! cannot be removed is reported and left for the next attempt.

use rustix::fs::{CWD, Mode, OFlags, openat};
use shipway_container::is_still_at;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What nobody can foresee of a name, in bytes.
const RANDOM: usize = 8;
/// How often a directory is made again that another process's sweep found before it was locked.
const ATTEMPTS: usize = 16;
/// How often a directory is emptied again because something was put into it meanwhile: a process that was killed may
/// have a last system call to finish.
const EMPTIED: usize = 16;

/// A directory's name before it is made.
#[derive(Clone, Debug)]
pub(crate) struct PlannedScratch {
    place: PathBuf,
    path: PathBuf,
}

impl PlannedScratch {
    /// A new name in `place`: `KIND-` and something random.
    pub(crate) fn new(place: &Path, kind: &'static str) -> Self {
        let random: [u8; RANDOM] = rand::random();
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            place: place.to_owned(),
            path: place.join(format!("{kind}-{random}")),
        }
    }

    /// Where the directory will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, and its place when it is missing. Leftovers of dead processes are somebody else's to remove.
    pub(crate) fn create(self) -> io::Result<Scratch> {
        make_place(&self.place)?;
        for _ in 0..ATTEMPTS {
            DirBuilder::new().mode(0o700).create(&self.path)?;
            // Not found: a sweep was faster than the lock.
            let lock = match own_directory(&self.path) {
                Ok(Some(lock)) => lock,
                Ok(None) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            lock.lock()?;
            if is_still_at(&lock, &self.path)? {
                return Ok(Scratch {
                    path: self.path,
                    _lock: lock,
                });
            }
        }
        Err(io::Error::other("it is removed as soon as it is made"))
    }
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Held, never read.
    _lock: File,
}

impl Scratch {
    /// A new directory; leftovers of dead processes are removed first.
    pub(crate) fn create(place: &Path, kind: &'static str) -> io::Result<Self> {
        make_place(place)?;
        remove_leftovers(place, kind)?;
        PlannedScratch::new(place, kind).create()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a directory stays until the next of its kind is made");
        }
    }
}

fn make_place(place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(place)
}

/// The directory at a path, opened; none when it is no directory of this user's own.
fn own_directory(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(CWD, path, flags, Mode::empty()) {
        Ok(directory) => File::from(directory),
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let own = directory.metadata()?.uid() == rustix::process::geteuid().as_raw();
    Ok(own.then_some(directory))
}

/// Removes the directories of a kind that nobody holds. Blocks.
pub(crate) fn remove_leftovers(place: &Path, kind: &str) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| is_of_kind(name, kind))
        {
            continue;
        }
        let path = entry.path();
        // Held while it is removed: who has just made it and waits for the lock then sees that it is gone.
        let _lock = match own_directory(&path) {
            Ok(Some(directory)) => match directory.try_lock() {
                Ok(()) => directory,
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(%error, path = %path.display(), "cannot see whether a directory is in use");
                    continue;
                }
            },
            // Another sweep was here, or it is somebody else's.
            Ok(None) | Err(_) => continue,
        };
        if let Err(error) = remove(&path) {
            tracing::warn!(%error, path = %path.display(), "a dead process's directory stays");
        }
    }
    Ok(())
}

/// Whether a name is one that [`PlannedScratch::new`] gives.
fn is_of_kind(name: &str, kind: &str) -> bool {
    let random = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
    random.is_some_and(|random| {
        random.len() == 2 * RANDOM && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Removes a directory, also where it holds directories that may not be written to, as Go's module cache does.
fn remove(path: &Path) -> io::Result<()> {
    let mut opened = false;
    for _ in 0..EMPTIED {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !opened => {
                open_up(path);
                opened = true;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// Lets the owner into all directories. What cannot be opened shows when it is removed.
fn open_up(top: &Path) {
    let mut open = vec![top.to_owned()];
    while let Some(directory) = open.pop() {
        let _ = fs::set_permissions(&directory, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

#[cfg(test)]
mod tests;
