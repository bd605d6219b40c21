//! Uploads that may stop and go on: in another request, another connection, another process.
//!
//! The bytes are in a file of the upload, the offset and the state of the hash in its row, so that going on reads
//! nothing again. One writer at a time has the file's lock. What a writer took in is remembered when it is suspended or
//! dropped; after `kill -9` the upload stands where it was remembered last, and bytes behind that are cut off: nobody was told that
//! they had arrived. If the saved state cannot be used (a power failure took bytes that it counts, or another version
//! of the hashing library wrote it), the bytes that are there are hashed again.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::str::FromStr;

use shipway_oci::{Algorithm, Digest, Hasher, RepositoryName};

use crate::blob::{checked, hash_file};
use crate::database::{change, now, parsed, row, rows, signed, size};
use crate::repository::link;
use crate::space::Space;
use crate::{BlobInfo, CommitError, Result, Store, StoreError};

/// Uploads that nobody went on with for this long are given up.
const IDLE: i64 = 24 * 60 * 60 * 1000;
/// Uploads that one owner may have begun and not ended.
const MOST_EACH: i64 = 1024;
/// And all owners together.
const MOST: i64 = 16 * 1024;

/// The name of an upload, which nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Box<str>);

/// A text that is no upload's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no upload's id")]
pub struct UploadIdError;

impl UploadId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    /// Only the one spelling that we give out is taken: it becomes the name of a file.
    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        let id = uuid::Uuid::try_parse(text).map_err(|_| UploadIdError)?;
        let canonical = id.to_string();
        if canonical == text {
            Ok(Self(canonical.into()))
        } else {
            Err(UploadIdError)
        }
    }
}

/// Why an upload cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginUploadError {
    /// The owner has too many that were begun and not ended.
    #[error(
        "too many uploads were begun and not ended (at most {each} of one user or job): end or cancel some"
    )]
    TooManyOfOwner {
        /// How many one owner may have.
        each: i64,
    },
    /// All owners together have too many.
    #[error("the registry has as many unfinished uploads as it can have ({all}): try again later")]
    TooMany {
        /// How many there may be.
        all: i64,
    },
    /// The disk or the database failed.
    #[error("cannot begin an upload")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
}

/// Why an upload cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OpenUploadError {
    /// Another request is writing to it.
    #[error("another request is writing to this upload: wait until it ends")]
    Busy,
    /// The disk or the database failed.
    #[error("cannot go on with the upload")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
}

/// The one writer of an upload. Dropped, it keeps what came so far, as [`UploadWriter::suspend`] does.
pub struct UploadWriter {
    store: Store,
    repository: RepositoryName,
    id: UploadId,
    file: File,
    offset: u64,
    hasher: Hasher,
    phase: Phase,
}

/// Where an upload's writer stands.
#[derive(PartialEq, Eq)]
enum Phase {
    /// Bytes may come.
    ///   ## Open => Settled (suspended, committed, or refused)
    Open,
    /// Its row says all there is to say.
    Settled,
}

struct Saved {
    offset: u64,
    algorithm: Algorithm,
    hash: Vec<u8>,
}

impl Store {
    /// Begins an upload into a repository, hashed by SHA-256 as it comes.
    pub fn begin_upload(&self, repository: &RepositoryName) -> Result<UploadId, BeginUploadError> {
        self.begin_upload_as(repository, Algorithm::Sha256)
    }

    /// Begins an upload that will be committed under the given hash; under another one its bytes are read again.
    pub fn begin_upload_as(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadId, BeginUploadError> {
        self.begin_upload_of("", repository, algorithm)
    }

    /// Begins an upload that counts for an owner, whatever that is to the caller: neither one of them nor all together
    /// fill the disk with uploads that nobody ends. Those that idled for a day make room.
    pub fn begin_upload_of(
        &self,
        owner: &str,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadId, BeginUploadError> {
        if let Some(id) = self.try_begin_upload(owner, repository, algorithm)? {
            return Ok(id);
        }
        self.give_up_idle_uploads()?;
        if let Some(id) = self.try_begin_upload(owner, repository, algorithm)? {
            return Ok(id);
        }
        let sql = "SELECT count(*) FROM uploads WHERE owner = ?1";
        let of_owner: Option<i64> = self
            .database()
            .read(|db| row(db, sql, [owner], |row| row.get(0)))
            .map_err(StoreError::from)?;
        Err(if of_owner.is_some_and(|count| count >= MOST_EACH) {
            BeginUploadError::TooManyOfOwner { each: MOST_EACH }
        } else {
            BeginUploadError::TooMany { all: MOST }
        })
    }

    fn try_begin_upload(
        &self,
        owner: &str,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<Option<UploadId>> {
        let id = UploadId(uuid::Uuid::new_v4().to_string().into());
        self.files().create_upload(id.as_str())?;
        let begun = self.database().write_quick(|db| -> Result<usize> {
            let sql = "INSERT INTO uploads (id, repository, offset, algorithm, hash, touched, owner)
                SELECT ?1, ?2, 0, ?3, ?4, ?5, ?6
                WHERE (SELECT count(*) FROM uploads WHERE owner = ?6) < ?7 AND (SELECT count(*) FROM uploads) < ?8";
            let hash = Hasher::new(algorithm).save();
            let (repository, algorithm) = (repository.as_str(), algorithm.name());
            let parameters = (id.as_str(), repository, algorithm, hash, now(), owner, MOST_EACH, MOST);
            Ok(change(db, sql, parameters)?)
        })?;
        if begun == 1 {
            return Ok(Some(id));
        }
        self.files().remove_upload(id.as_str())?;
        Ok(None)
    }

    /// How many bytes of an upload are kept; `None` if this repository has no such upload.
    pub fn upload_offset(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<u64>> {
        Ok(self.saved(repository, id)?.map(|saved| saved.offset))
    }

    /// Goes on with an upload; `None` if this repository has no such upload.
    pub fn open_upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<UploadWriter>, OpenUploadError> {
        if self.saved(repository, id)?.is_none() {
            return Ok(None);
        }
        let file = self
            .files()
            .open_upload(id.as_str())?
            .ok_or(OpenUploadError::Busy)?;
        // Only now does nobody else change the row.
        let Some(saved) = self.saved(repository, id)? else {
            return Ok(None);
        };
        let path = self.files().upload_path(id.as_str());
        let (offset, hasher) = settle(&file, &saved).map_err(StoreError::file("go on with", &path))?;
        Ok(Some(UploadWriter {
            store: self.clone(),
            repository: repository.clone(),
            id: id.clone(),
            file,
            offset,
            hasher,
            phase: Phase::Open,
        }))
    }

    /// Gives an upload up. A writer that has it open will find it gone when it commits.
    pub fn cancel_upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        let sql = "DELETE FROM uploads WHERE id = ?1 AND repository = ?2";
        let gone = self
            .database()
            .write(|db| -> Result<usize> { Ok(change(db, sql, (id.as_str(), repository.as_str()))?) })?;
        if gone == 1 {
            self.files().remove_upload(id.as_str())?;
        }
        Ok(gone == 1)
    }

    fn saved(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<Saved>> {
        let sql = "SELECT offset, algorithm, hash FROM uploads WHERE id = ?1 AND repository = ?2";
        Ok(self.database().read(|db| {
            row(db, sql, (id.as_str(), repository.as_str()), |row| {
                Ok(Saved {
                    offset: size(row, 0)?,
                    algorithm: parsed(row, 1)?,
                    hash: row.get(2)?,
                })
            })
        })?)
    }

    fn give_up_idle_uploads(&self) -> Result<()> {
        let sql = "DELETE FROM uploads WHERE touched < ?1 RETURNING id";
        let idle: Vec<String> = self
            .database()
            .write(|db| rows(db, sql, [now() - IDLE], |row| row.get(0)))?;
        for id in &idle {
            self.files().remove_upload(id)?;
        }
        Ok(())
    }

    /// Gives up idle uploads, and removes files whose row is gone.
    pub(crate) fn sweep_uploads(&self) -> Result<()> {
        self.give_up_idle_uploads()?;
        for name in self.files().upload_names()? {
            let sql = "SELECT 1 FROM uploads WHERE id = ?1";
            let is_known = self
                .database()
                .read(|db| crate::database::exists(db, sql, [&name]))?;
            // A file is made before its row: only one that is old is left over.
            if !is_known && self.files().is_left_behind(&self.files().upload_path(&name)) {
                self.files().remove_upload(&name)?;
            }
        }
        Ok(())
    }
}

/// Makes file, offset and hash agree.
fn settle(mut file: &File, saved: &Saved) -> io::Result<(u64, Hasher)> {
    let length = file.metadata()?.len();
    let offset = saved.offset.min(length);
    let restored = Hasher::restore(saved.algorithm, &saved.hash)
        .ok()
        .filter(|_| offset == saved.offset);
    let hasher = match restored {
        Some(hasher) => hasher,
        None => hash_file(file, offset, saved.algorithm)?,
    };
    if length > offset {
        file.set_len(offset)?;
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok((offset, hasher))
}

impl UploadWriter {
    /// The upload's name.
    pub fn id(&self) -> &UploadId {
        &self.id
    }

    /// How many bytes the upload has.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Keeps what came so far, to go on later; gives the offset to go on from.
    ///
    /// After this returns, `kill -9` loses nothing. A power failure may: the offset is then smaller than it was.
    pub fn suspend(mut self) -> Result<u64> {
        self.save()?;
        self.phase = Phase::Settled;
        Ok(self.offset)
    }

    /// Makes the bytes a blob, durably, links it to the upload's repository, and ends the upload.
    ///
    /// The link needs no further call. If the bytes are not what was expected, the upload is gone.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<BlobInfo, CommitError> {
        let path = self.path();
        let digest = match checked(self.hasher.clone(), &self.file, &path, expected) {
            Ok(digest) => digest,
            Err(error) => {
                if matches!(error, CommitError::DigestMismatch { .. }) {
                    self.phase = Phase::Settled;
                    self.store.cancel_upload(&self.repository, &self.id)?;
                }
                return Err(error);
            }
        };
        let info = BlobInfo {
            digest,
            size: self.offset,
        };
        let kept = self.store.keep_blob(&self.file, &path, &info, |db, blob| {
            let sql = "DELETE FROM uploads WHERE id = ?1";
            if change(db, sql, [self.id.as_str()])? == 0 {
                return Err(CommitError::UploadGone);
            }
            let space = Space::from(&self.repository).ensure(db)?;
            Ok(link(db, space, blob)?)
        });
        if let Err(error) = kept {
            // Cancelling takes the file away, which is noticed before the row is looked for.
            let is_gone = self.store.saved(&self.repository, &self.id)?.is_none();
            return Err(if is_gone { CommitError::UploadGone } else { error });
        }
        self.phase = Phase::Settled;
        self.store.files().remove_upload(self.id.as_str())?;
        Ok(info)
    }

    fn path(&self) -> PathBuf {
        self.store.files().upload_path(self.id.as_str())
    }

    fn save(&self) -> Result<()> {
        let sql = "UPDATE uploads SET offset = ?2, hash = ?3, touched = ?4 WHERE id = ?1";
        self.store.database().write_quick(|db| -> Result<()> {
            change(
                db,
                sql,
                (self.id.as_str(), signed(self.offset), self.hasher.save(), now()),
            )?;
            Ok(())
        })
    }
}

impl Write for UploadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for UploadWriter {
    fn drop(&mut self) {
        if self.phase == Phase::Open {
            // If this fails, the upload stands where it was remembered last.
            let _ = self.save();
        }
    }
}
