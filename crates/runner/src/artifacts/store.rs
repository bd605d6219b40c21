//! Where artifacts are between jobs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Expiry;

/// Keeps one archive per job.
pub trait ArtifactStore: Send + Sync {
    /// A new archive of a job, not visible yet.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&self, job: u64) -> io::Result<File>;

    /// Makes the archive that was created for a job visible, until it expires.
    ///
    /// # Errors
    /// When there is none, or it cannot be kept.
    fn keep(&self, job: u64, expiry: Expiry) -> io::Result<()>;

    /// The archive of a job.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    fn open(&self, job: u64) -> io::Result<Option<File>>;
}

/// A directory of archives.
#[derive(Debug)]
pub struct ArtifactDirectory {
    directory: PathBuf,
}

impl ArtifactDirectory {
    /// Keeps archives in this directory, which is made for its owner alone if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// Where the archive of a job is, if it has one.
    pub fn path(&self, job: u64) -> PathBuf {
        self.directory.join(format!("{job}.tar"))
    }

    /// Removes an archive that [`ArtifactDirectory::path`] gave.
    pub(crate) fn remove(archive: &Path) -> io::Result<()> {
        fs::remove_file(archive)?;
        Expiry::forget(archive)
    }

    fn partial(&self, job: u64) -> PathBuf {
        self.directory.join(format!("{job}.tar.partial"))
    }
}

impl ArtifactStore for ArtifactDirectory {
    fn create(&self, job: u64) -> io::Result<File> {
        File::create(self.partial(job))
    }

    fn keep(&self, job: u64, expiry: Expiry) -> io::Result<()> {
        let path = self.path(job);
        // First: an archive that is there must not be one that goes too early.
        expiry.write(&path)?;
        fs::rename(self.partial(job), path)
    }

    fn open(&self, job: u64) -> io::Result<Option<File>> {
        match File::open(self.path(job)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ArtifactDirectory, ArtifactStore, Expiry};
    use std::io::{Read, Write};

    #[test]
    fn an_archive_is_visible_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let store = ArtifactDirectory::open(directory.path().join("artifacts")).unwrap();
        store.create(7).unwrap().write_all(b"tar").unwrap();
        assert!(store.open(7).unwrap().is_none());
        store.keep(7, Expiry::Unsaid).unwrap();
        let mut content = String::new();
        store
            .open(7)
            .unwrap()
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "tar");
    }
}
