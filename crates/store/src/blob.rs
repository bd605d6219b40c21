//! Blobs: how bytes come in, and how they are found again.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rusqlite::Transaction;
use shipway_oci::{Algorithm, Digest, Hasher};

use crate::blob_files::IncomingFile;
use crate::database::{change, exists, now, row, signed, size};
use crate::meter::MeterShare;
use crate::{Result, Store, StoreError};

/// A lease younger than this is not written again: asking for a blob in a loop costs no disk.
///
/// It shortens the grace of a collection by at most this much.
pub(crate) const LEASE_STEP: i64 = 60_000;

/// A blob that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// They are not what the caller said.
    #[error(
        "the bytes have the digest {actual}, not {expected}: they were damaged or exchanged on their way"
    )]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The upload was cancelled, or committed by another request.
    #[error("the upload is gone: it was cancelled or committed by another request")]
    UploadGone,
    /// The disk or the database failed.
    #[error("cannot keep the blob")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
}

impl From<rusqlite::Error> for CommitError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store {
            source: source.into(),
        }
    }
}

/// A blob under way. Dropped without [`BlobWriter::commit`], it is discarded.
pub struct BlobWriter {
    store: Store,
    incoming: IncomingFile,
    hasher: Hasher,
    written: u64,
    share: MeterShare,
}

/// Whether bytes take room that they did not take before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    New,
    Known,
}

impl Store {
    /// Begins a blob that will be named by its SHA-256.
    pub fn begin_blob(&self) -> Result<BlobWriter> {
        self.begin_blob_as(Algorithm::Sha256)
    }

    /// Begins a blob that will be named by the given hash.
    pub fn begin_blob_as(&self, algorithm: Algorithm) -> Result<BlobWriter> {
        Ok(BlobWriter {
            store: self.clone(),
            incoming: self.files().incoming()?,
            hasher: Hasher::new(algorithm),
            written: 0,
            share: self.meter().share(),
        })
    }

    /// Whether a blob exists. Its lease is extended: a collection leaves it alone for its grace.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let sql = "SELECT size, touched, doomed IS NOT NULL FROM blobs WHERE digest = ?1";
        let found = self.database().read(|db| {
            row(db, sql, [digest.as_str()], |row| {
                Ok((size(row, 0)?, row.get::<_, i64>(1)?, row.get(2)?))
            })
        })?;
        let info = |size| BlobInfo {
            digest: digest.clone(),
            size,
        };
        match found {
            None => Ok(None),
            Some((size, touched, false)) if touched > now() - LEASE_STEP => Ok(Some(info(size))),
            Some((size, _, false)) => {
                let sql = "UPDATE blobs SET touched = ?2 WHERE digest = ?1 AND doomed IS NULL";
                let kept = self
                    .database()
                    .write_quick(|db| change(db, sql, (digest.as_str(), now())))?;
                // Between the two statements a collection may have doomed it.
                if kept == 1 {
                    Ok(Some(info(size)))
                } else {
                    self.revive(digest)
                }
            }
            Some((_, _, true)) => self.revive(digest),
        }
    }

    fn revive(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.database()
            .write(|db| Ok(self.ensure_alive(db, digest)?.map(|(_, info)| info)))
    }

    /// The row of a blob that exists, with its lease extended. A doomed one is brought back if its bytes are still there.
    pub(crate) fn ensure_alive(
        &self,
        db: &Transaction<'_>,
        digest: &Digest,
    ) -> Result<Option<(i64, BlobInfo)>> {
        let sql = "SELECT id, size, doomed IS NOT NULL FROM blobs WHERE digest = ?1";
        let found = row(db, sql, [digest.as_str()], |row| {
            Ok((row.get(0)?, size(row, 1)?, row.get::<_, bool>(2)?))
        })?;
        let Some((id, size, is_doomed)) = found else {
            return Ok(None);
        };
        if is_doomed && self.files().size(digest)? != Some(size) {
            return Ok(None);
        }
        change(
            db,
            "UPDATE blobs SET doomed = NULL, touched = ?2 WHERE id = ?1",
            (id, now()),
        )?;
        Ok(Some((
            id,
            BlobInfo {
                digest: digest.clone(),
                size,
            },
        )))
    }

    /// The bytes of a blob. An open file stays readable even if the blob is collected meanwhile.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        self.files().open_blob(digest)
    }

    /// Keeps a small blob that is all in memory.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobInfo, CommitError> {
        let mut writer = self.begin_blob()?;
        writer
            .write_all(bytes)
            .map_err(StoreError::file("write", writer.incoming.path()))?;
        writer.commit(None)
    }

    /// All bytes of a blob that must be small: more than `limit` is an error of kind `FileTooLarge`.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        read_whole(self.open_blob(digest)?, &self.files().path(digest), limit)
    }

    /// The last steps of every blob: sync, name, row. `alongside` runs in the transaction that makes it exist.
    pub(crate) fn keep_blob(
        &self,
        file: &File,
        path: &Path,
        info: &BlobInfo,
        alongside: impl Fn(&Transaction<'_>, i64) -> Result<(), CommitError>,
    ) -> Result<Kept, CommitError> {
        let digest = &info.digest;
        if self.keep_known(info, &alongside)? {
            return Ok(Kept::Known);
        }
        file.sync_all().map_err(StoreError::file("sync", path))?;
        self.files().place(path, digest)?;
        self.database().write(|db| {
            // A collection that had doomed this digest may have taken the new file for the old one.
            if self.files().size(digest)? != Some(info.size) {
                self.files().place(path, digest)?;
            }
            let sql = "INSERT INTO blobs (digest, size, touched) VALUES (?1, ?2, ?3)
                ON CONFLICT (digest) DO UPDATE SET size = excluded.size, touched = excluded.touched, doomed = NULL
                RETURNING id";
            let parameters = (digest.as_str(), signed(info.size), now());
            let id = db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
            alongside(db, id)
        })?;
        Ok(Kept::New)
    }

    /// The same for bytes that somebody had before: nothing to sync. False if nobody had.
    fn keep_known(
        &self,
        info: &BlobInfo,
        alongside: &impl Fn(&Transaction<'_>, i64) -> Result<(), CommitError>,
    ) -> Result<bool, CommitError> {
        let digest = info.digest.as_str();
        let sql = "SELECT 1 FROM blobs WHERE digest = ?1 AND doomed IS NULL";
        if !self.database().read(|db| exists(db, sql, [digest]))? {
            return Ok(false);
        }
        self.database().write(|db| {
            let sql = "UPDATE blobs SET touched = ?2 WHERE digest = ?1 AND doomed IS NULL RETURNING id";
            let Some(id) = row(db, sql, (digest, now()), |row| row.get(0))? else {
                return Ok(false);
            };
            if self.files().size(&info.digest)? != Some(info.size) {
                return Ok(false);
            }
            alongside(db, id)?;
            Ok(true)
        })
    }
}

impl BlobWriter {
    /// How many bytes came so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the bytes a blob, durably. If they are not what was expected, they are discarded.
    pub fn commit(self, expected: Option<&Digest>) -> Result<BlobInfo, CommitError> {
        let path = self.incoming.path();
        let digest = checked(self.hasher, &self.incoming.file, path, expected)?;
        let info = BlobInfo {
            digest,
            size: self.written,
        };
        let kept = self
            .store
            .keep_blob(&self.incoming.file, path, &info, |_, _| Ok(()))?;
        if kept == Kept::New {
            self.share.keep();
        }
        Ok(info)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.incoming.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written += written as u64;
        self.share.grow(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All bytes of a file that must be small.
pub(crate) fn read_whole(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(StoreError::file("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::file("read whole", path)(
            io::ErrorKind::FileTooLarge.into(),
        ));
    }
    Ok(bytes)
}

/// The digest of what was written, checked against what was expected.
///
/// The file is read again only if another hash is asked for than the one that ran along.
pub(crate) fn checked(
    hasher: Hasher,
    file: &File,
    path: &Path,
    expected: Option<&Digest>,
) -> Result<Digest, CommitError> {
    let Some(expected) = expected else {
        return Ok(hasher.finish());
    };
    let actual = if expected.algorithm() == hasher.algorithm() {
        hasher.finish()
    } else {
        hash_file(file, u64::MAX, expected.algorithm())
            .map_err(StoreError::file("read", path))?
            .finish()
    };
    if actual == *expected {
        Ok(actual)
    } else {
        Err(CommitError::DigestMismatch {
            expected: expected.clone(),
            actual,
        })
    }
}

/// Hashes the first bytes of a file.
pub(crate) fn hash_file(mut file: &File, length: u64, algorithm: Algorithm) -> io::Result<Hasher> {
    file.rewind()?;
    let mut hasher = Hasher::new(algorithm);
    io::copy(
        &mut io::BufReader::with_capacity(1 << 18, file.take(length)),
        &mut hasher,
    )?;
    Ok(hasher)
}
