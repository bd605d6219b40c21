//! The error of calls that can only fail because the disk or the database does.
//!
//! Calls that can also be *refused* have an enum of their own, with this as one variant.

use std::io;
use std::path::{Path, PathBuf};

use shipway_oci::Digest;

/// The store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the store's database failed: see that its disk is neither full nor read-only")]
    Database {
        /// SQLite's own words.
        #[from]
        source: rusqlite::Error,
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

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::new(io::ErrorKind::StorageFull, source)
            }
            error => Self::other(error),
        }
    }
}
