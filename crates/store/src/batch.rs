//! Batches: files that come before it is known which of them are to be blobs.
//!
//! An archive of images says only at its end which of its files belong to one. Until then they wait in a directory of their
//! own below `incoming/`: hashed, but not synced, without a row, and without a descriptor each, since an archive has more files
//! than a process may have open. The directory is locked while its batch lives. What is committed becomes a blob like any
//! other; the rest goes with the batch, or after a crash with the next collection.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use shipway_oci::{Algorithm, Digest, Hasher};

use crate::blob::{checked, read_whole};
use crate::blob_files::{IncomingDirectory, create};
use crate::{BlobInfo, CommitError, Result, Store, StoreError};

/// Files that wait to be committed or forgotten. Dropped, it takes with it what was not committed.
pub struct Batch {
    store: Store,
    directory: IncomingDirectory,
}

/// A whole file of a batch, known by its digest. It lives as long as its batch.
#[derive(Debug, Clone)]
pub struct StagedFile {
    info: BlobInfo,
    path: PathBuf,
}

/// A file of a batch under way.
pub struct StagedWriter {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    written: u64,
}

impl Store {
    /// Begins a batch.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn begin_batch(&self) -> Result<Batch> {
        Ok(Batch {
            directory: self.files().incoming_directory()?,
            store: self.clone(),
        })
    }
}

impl Batch {
    /// Begins a file that will be known by the given hash.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, algorithm: Algorithm) -> Result<StagedWriter> {
        let path = self.directory.new_path();
        Ok(StagedWriter {
            file: create(&path)?,
            path,
            hasher: Hasher::new(algorithm),
            written: 0,
        })
    }

    /// All bytes of a file that must be small: more than `limit` is an error of kind `FileTooLarge`.
    ///
    /// # Errors
    /// When it is larger, or cannot be read.
    pub fn read(&self, staged: &StagedFile, limit: u64) -> Result<Vec<u8>> {
        let file = File::open(&staged.path).map_err(StoreError::file("open", &staged.path))?;
        read_whole(file, &staged.path, limit)
    }

    /// Makes a file of this batch a blob, durably. A second time changes nothing.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn commit(&self, staged: &StagedFile) -> Result<BlobInfo, CommitError> {
        let file = File::open(&staged.path).map_err(StoreError::file("open", &staged.path))?;
        self.store
            .keep_blob(&file, &staged.path, &staged.info, |_, _| Ok(()))?;
        Ok(staged.info.clone())
    }
}

impl StagedFile {
    /// Its name and size, were it a blob.
    pub fn info(&self) -> &BlobInfo {
        &self.info
    }
}

impl StagedWriter {
    /// Ends the file. If its bytes are not what was expected, it stays behind unknown until its batch goes.
    ///
    /// # Errors
    /// When the digest is another one.
    pub fn finish(self, expected: Option<&Digest>) -> Result<StagedFile, CommitError> {
        let digest = checked(self.hasher, &self.file, &self.path, expected)?;
        Ok(StagedFile {
            info: BlobInfo {
                digest,
                size: self.written,
            },
            path: self.path,
        })
    }
}

impl Write for StagedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
