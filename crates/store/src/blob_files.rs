//! The files of blobs: where they are, how they come to be there, and how they go.
//!
//! A blob is written to a name of its own in `incoming/`, locked while somebody writes it, and gets a second name under
//! `blobs/` when it is whole and synced. The first name goes only after the row was committed: a collection may take the
//! second one away in between (the row was doomed), and then it is simply put there again. Files that come together wait in a
//! directory there, which is locked in their place. Nothing under `blobs/` is ever written to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use shipway_oci::Digest;

use crate::unfinished::Unfinished;
use crate::{Result, StoreError};

/// A file without a lock and older than this was left behind. Younger ones may be between their making and their lock.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// How the names of holds end.
const HOLD: &str = "hold";

pub(crate) struct BlobFiles {
    blobs: PathBuf,
    incoming: PathBuf,
    uploads: PathBuf,
    unfinished: Unfinished,
}

/// A file under way. Its first name goes when this is dropped.
pub(crate) struct IncomingFile {
    pub(crate) file: File,
    path: PathBuf,
    unfinished: Unfinished,
}

/// A directory of files under way, locked. It goes with what is in it when this is dropped.
pub(crate) struct IncomingDirectory {
    path: PathBuf,
    unfinished: Unfinished,
    _lock: File,
}

impl BlobFiles {
    pub(crate) fn open(store: &Path) -> Result<Self> {
        let directory = |name: &str| {
            let path = store.join(name);
            make_durable_directory(&path).map(|_| path)
        };
        Ok(Self {
            blobs: directory("blobs")?,
            incoming: directory("incoming")?,
            uploads: directory("uploads")?,
            unfinished: Unfinished::default(),
        })
    }

    /// Where a blob's bytes are if it exists.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs
            .join(digest.algorithm().name())
            .join(&hex[..2])
            .join(hex)
    }

    /// The size of a blob's file; `None` if there is none.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::file("look at", &path)(error)),
        }
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoSuchBlob {
                digest: digest.clone(),
            },
            _ => StoreError::file("open", &path)(error),
        })
    }

    /// Takes a blob's file away. The caller's transaction has seen that its row is doomed or missing.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<()> {
        remove(&self.path(digest))
    }

    /// A new file that nobody else knows.
    pub(crate) fn incoming(&self) -> Result<IncomingFile> {
        let path = self.incoming.join(uuid::Uuid::new_v4().to_string());
        let file = self.unfinished.begin(&path, || create(&path))?;
        let incoming = IncomingFile {
            file,
            path,
            unfinished: self.unfinished.clone(),
        };
        try_lock(&incoming.file, &incoming.path)?;
        Ok(incoming)
    }

    /// A new file that is locked when it gets its name: among those of holds, one without a lock is of a dead process.
    pub(crate) fn hold(&self) -> Result<IncomingFile> {
        let mut hold = self.incoming()?;
        let path = hold.path.with_extension(HOLD);
        let renamed = self.unfinished.rename(&hold.path, &path);
        renamed.map_err(StoreError::file("name", &path))?;
        hold.path = path;
        Ok(hold)
    }

    /// When the oldest hold was taken that somebody still has.
    pub(crate) fn oldest_hold(&self) -> Result<Option<SystemTime>> {
        let mut oldest = None;
        for path in list(&self.incoming)? {
            if path.extension().is_none_or(|extension| extension != HOLD) {
                continue;
            }
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::file("open", &path)(error)),
            };
            if try_lock(&file, &path)? {
                continue;
            }
            let taken = file.metadata().and_then(|metadata| metadata.modified());
            let taken = taken.map_err(StoreError::file("look at", &path))?;
            oldest = Some(oldest.map_or(taken, |oldest: SystemTime| oldest.min(taken)));
        }
        Ok(oldest)
    }

    /// A new directory that nobody else knows.
    pub(crate) fn incoming_directory(&self) -> Result<IncomingDirectory> {
        let path = self.incoming.join(uuid::Uuid::new_v4().to_string());
        let lock = self.unfinished.begin(&path, || {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(StoreError::file("make the directory", &path))?;
            File::open(&path).map_err(StoreError::file("open", &path))
        })?;
        try_lock(&lock, &path)?;
        Ok(IncomingDirectory {
            path,
            unfinished: self.unfinished.clone(),
            _lock: lock,
        })
    }

    /// Removes what this process has begun and not finished; nothing is begun any more.
    pub(crate) fn give_up(&self) {
        self.unfinished.give_up();
    }

    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.uploads.join(id)
    }

    /// A new file for an upload, not locked.
    pub(crate) fn create_upload(&self, id: &str) -> Result<()> {
        create(&self.upload_path(id)).map(drop)
    }

    /// The file of an upload, locked for this writer; `None` if another one has it.
    pub(crate) fn open_upload(&self, id: &str) -> Result<Option<File>> {
        let path = self.upload_path(id);
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::file("open", &path))?;
        Ok(try_lock(&file, &path)?.then_some(file))
    }

    pub(crate) fn remove_upload(&self, id: &str) -> Result<()> {
        remove(&self.upload_path(id))
    }

    /// Gives a whole, synced file its name under `blobs/`, replacing what is there, and syncs the directory.
    pub(crate) fn place(&self, from: &Path, digest: &Digest) -> Result<()> {
        let to = self.path(digest);
        let Some(directory) = to.parent() else {
            return Ok(());
        };
        match fs::hard_link(from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_blob_directory(directory)?;
                fs::hard_link(from, &to)
                    .or_else(|error| match error.kind() {
                        io::ErrorKind::AlreadyExists => self.replace(from, &to),
                        _ => Err(error),
                    })
                    .map_err(StoreError::file("name the blob", &to))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.replace(from, &to)
                    .map_err(StoreError::file("replace the blob", &to))?;
            }
            Err(error) => return Err(StoreError::file("name the blob", &to)(error)),
        }
        sync_directory(directory)
    }

    /// Only `rename` replaces, and it takes its source away, so it gets a third name.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let third = self.incoming.join(uuid::Uuid::new_v4().to_string());
        fs::hard_link(from, &third)?;
        fs::rename(&third, to)?;
        // If both were already names of one file, `rename` does nothing at all.
        match fs::remove_file(&third) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes incoming files and directories whose writer is gone.
    pub(crate) fn sweep_incoming(&self) -> Result<()> {
        for entry in fs::read_dir(&self.incoming).map_err(StoreError::file("list", &self.incoming))? {
            let path = entry.map_err(StoreError::file("list", &self.incoming))?.path();
            if self.is_left_behind(&path) {
                if path.is_dir() {
                    remove_directory(&path)?;
                } else {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file or directory is old and nobody has it locked.
    pub(crate) fn is_left_behind(&self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|time| {
            SystemTime::now()
                .duration_since(time)
                .is_ok_and(|age| age > LEFT_BEHIND)
        });
        is_old && try_lock(&file, path).unwrap_or(false)
    }

    /// The names of all files of uploads.
    pub(crate) fn upload_names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(&self.uploads).map_err(StoreError::file("list", &self.uploads))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect())
    }

    /// Calls `visit` with every file under `blobs/`: its path, and the digest that its name says.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Path, Option<Digest>) -> Result<()>) -> Result<()> {
        for algorithm in list(&self.blobs)? {
            let name = algorithm
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            for directory in list(&algorithm)? {
                for path in list(&directory)? {
                    let hex = path.file_name().unwrap_or_default().to_string_lossy();
                    let digest = format!("{name}:{hex}").parse::<Digest>().ok();
                    let digest = digest.filter(|digest| self.path(digest) == path);
                    visit(&path, digest)?;
                }
            }
        }
        Ok(())
    }
}

impl IncomingFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        // If this fails, the next sweep finds it.
        let _ = fs::remove_file(&self.path);
        self.unfinished.end(&self.path);
    }
}

impl IncomingDirectory {
    /// A path in it that nothing has.
    pub(crate) fn new_path(&self) -> PathBuf {
        self.path.join(uuid::Uuid::new_v4().to_string())
    }
}

impl Drop for IncomingDirectory {
    fn drop(&mut self) {
        // If this fails, the next sweep finds it.
        let _ = fs::remove_dir_all(&self.path);
        self.unfinished.end(&self.path);
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(StoreError::file("list", directory))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(StoreError::file("list", directory))?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn create(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::file("create", path))
}

fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(StoreError::file("lock", path)(errno.into())),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(StoreError::file("sync", directory))
}

/// `blobs/<algorithm>/<two digits>`.
fn make_blob_directory(directory: &Path) -> Result<()> {
    if let Some(algorithm) = directory.parent() {
        make_durable_directory(algorithm)?;
    }
    make_durable_directory(directory)
}

/// Makes a directory and its name durable; it may be there already.
fn make_durable_directory(directory: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => directory.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::file("make the directory", directory)(error)),
    }
}
