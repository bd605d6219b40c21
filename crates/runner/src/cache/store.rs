//! Where caches are between pipelines.

use shipway_oci::Digest;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Keeps archives by project and key.
pub trait CacheStore: Send + Sync {
    /// The archive of a key, if there is one.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    fn open(&self, project: &str, key: &str) -> io::Result<Option<File>>;

    /// A new archive for a key, not visible yet.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&self, project: &str, key: &str) -> io::Result<PendingCache>;
}

/// An archive being written; dropped, it leaves nothing.
#[derive(Debug)]
pub struct PendingCache {
    file: NamedTempFile,
    path: PathBuf,
}

impl PendingCache {
    /// The file to write to.
    ///
    /// # Errors
    /// When it cannot be opened a second time.
    pub fn file(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// Makes it the archive of its key, in place of the one before.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn keep(self) -> io::Result<()> {
        self.file.persist(self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// A directory of archives.
#[derive(Debug)]
pub struct CacheDirectory {
    directory: PathBuf,
}

impl CacheDirectory {
    /// Keeps archives in this directory, which is made for its owner alone if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// Keys are any text, so the file's name is a digest. The length keeps `a` + `bc` apart from `ab` + `c`.
    fn path(&self, project: &str, key: &str) -> PathBuf {
        let name = Digest::sha256(format!("{}:{project}{key}", project.len()).as_bytes());
        self.directory.join(format!("{}.tar", name.hex()))
    }
}

impl CacheStore for CacheDirectory {
    fn open(&self, project: &str, key: &str) -> io::Result<Option<File>> {
        match File::open(self.path(project, key)) {
            Ok(file) => {
                // A cache that is used stays. Where the time cannot be set it goes as one that is not, and is made again.
                let _ = file.set_modified(SystemTime::now());
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, project: &str, key: &str) -> io::Result<PendingCache> {
        let file = NamedTempFile::new_in(&self.directory)?;
        Ok(PendingCache {
            file,
            path: self.path(project, key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheDirectory, CacheStore};
    use std::io::{Read, Write};

    #[test]
    fn the_last_archive_that_was_kept_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = CacheDirectory::open(directory.path()).unwrap();
        let write = |key: &str, text: &str, keep: bool| {
            let pending = store.create("group/project", key).unwrap();
            pending.file().unwrap().write_all(text.as_bytes()).unwrap();
            if keep {
                pending.keep().unwrap();
            }
        };
        write("a/../key", "first", true);
        write("a/../key", "second", true);
        write("a/../key", "third", false);
        let read = |project: &str, key: &str| {
            let mut text = String::new();
            store
                .open(project, key)
                .unwrap()
                .map(|mut file| file.read_to_string(&mut text).unwrap())
                .map(|_| text)
        };
        assert_eq!(read("group/project", "a/../key").as_deref(), Some("second"));
        assert_eq!(read("group/other", "a/../key"), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
