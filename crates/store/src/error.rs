//! The error of calls that can only fail because the disk or the database does.
//!
//! Calls that can also be *refused* have an enum of their own, with this as one variant.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_oci::Digest;

/// The store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the store's database failed: see that its disk can be read and written")]
    Database {
        /// SQLite's own words.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite has no room.
    #[error("cannot write to the store's database")]
    Full {
        /// The system's words for it, in which every full disk is recognized.
        #[source]
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no such blob.
    #[error("the blob {digest} is not in the store")]
    NoSuchBlob {
        /// The digest asked for.
        digest: Digest,
    },
    /// A value cannot be written as a row.
    #[error("cannot store the {what}")]
    Encode {
        /// What was to be written.
        what: &'static str,
        /// The encoder's own words.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    /// For `map_err` after a file operation.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        // SQLite says of a map that cannot grow, which every opening begins with, that the disk failed.
        let is_full = source.sqlite_error().is_some_and(|error| {
            error.code == rusqlite::ErrorCode::DiskFull
                || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        });
        if is_full {
            return Self::Full {
                source: rustix::io::Errno::NOSPC.into(),
            };
        }
        Self::Database { source }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::File { source, .. } | StoreError::Full { source } if is_full(&source) => {
                Self::new(source.kind(), source)
            }
            error => Self::other(error),
        }
    }
}

/// Whether something failed, through however many crates, because a disk or its owner's share of it is full.
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| {
            let shared = || error.downcast_ref::<Arc<io::Error>>().map(AsRef::as_ref);
            error.downcast_ref().or_else(shared)
        })
        .any(is_full)
}

/// Whether a call failed because a disk, or its owner's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of_sqlite(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn a_full_disk_is_recognized_whoever_met_it() {
        let full = || io::Error::from(rustix::io::Errno::NOSPC);
        assert!(is_disk_full(&full()));
        assert!(is_disk_full(&Arc::new(full())));
        assert!(is_disk_full(
            &StoreError::file("write", Path::new("blob"))(full())
        ));
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(is_disk_full(&of_sqlite(code)), "{code}");
            assert!(is_disk_full(&io::Error::from(of_sqlite(code))), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_BUSY] {
            assert!(!is_disk_full(&of_sqlite(code)), "{code}");
        }
    }
}
