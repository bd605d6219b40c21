//! Looking at everything: whether the database is whole, every row has its bytes, and every byte is right.
//!
//! Safe while the store is in use. Nothing is repaired but one thing that cannot be wrong: files that no row knows are
//! removed if that is asked for.

use std::fmt;
use std::path::PathBuf;

use shipway_oci::Digest;

use crate::blob::hash_file;
use crate::database::{exists, parsed, rows, size};
use crate::{Result, Store, StoreError};

/// How closely to look.
#[derive(Debug, Clone, Default)]
pub struct FsckOptions {
    /// Do not hash the bytes again, only look at sizes.
    pub quick: bool,
    /// Remove files under `blobs/` that no row knows: a crash between a file's naming and its row leaves them.
    pub remove_unknown_files: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FsckReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What SQLite says of its own file, if it is not whole.
    pub database: Vec<String>,
    /// Blobs whose file is gone.
    pub missing: Vec<Digest>,
    /// Blobs whose bytes are wrong.
    pub corrupt: Vec<CorruptBlob>,
    /// Manifests whose bytes or references are wrong.
    pub incomplete: Vec<IncompleteManifest>,
    /// Files that no row knows. They cost space and do no harm.
    pub unknown_files: Vec<PathBuf>,
}

impl FsckReport {
    /// Whether nothing was lost or damaged.
    pub fn is_clean(&self) -> bool {
        self.database.is_empty()
            && self.missing.is_empty()
            && self.corrupt.is_empty()
            && self.incomplete.is_empty()
    }
}

/// One line per finding, and a last one that counts.
impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.database {
            writeln!(f, "database: {line}")?;
        }
        for digest in &self.missing {
            writeln!(
                f,
                "missing: {digest} has no file; push an image that holds it again"
            )?;
        }
        for CorruptBlob {
            digest,
            size,
            found_size,
            found,
        } in &self.corrupt
        {
            match found {
                Some(found) => writeln!(f, "corrupt: {digest} holds the bytes of {found}")?,
                None => writeln!(f, "corrupt: {digest} has {found_size} bytes instead of {size}")?,
            }
        }
        for IncompleteManifest { digest, missing } in &self.incomplete {
            if digest == missing {
                writeln!(f, "corrupt: the manifest {digest} holds other bytes")?;
            } else {
                writeln!(f, "incomplete: the manifest {digest} lacks {missing}")?;
            }
        }
        for path in &self.unknown_files {
            writeln!(f, "unknown file: {}", path.display())?;
        }
        if !self.corrupt.is_empty() {
            writeln!(
                f,
                "to mend what is corrupt: remove the images that hold it, collect with a grace of 0, bring them again"
            )?;
        }
        let verdict = if self.is_clean() {
            "nothing is lost"
        } else {
            "something is lost"
        };
        write!(
            f,
            "{} blobs with {} bytes looked at: {verdict}",
            self.blobs, self.bytes
        )
    }
}

/// A blob whose bytes are wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CorruptBlob {
    /// What it should be.
    pub digest: Digest,
    /// What size it should have.
    pub size: u64,
    /// What size it has.
    pub found_size: u64,
    /// What it is; `None` if the size was wrong already.
    pub found: Option<Digest>,
}

/// A manifest that points to a blob that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IncompleteManifest {
    /// The manifest.
    pub digest: Digest,
    /// What it lacks; its own digest if its own bytes are wrong.
    pub missing: Digest,
}

impl Store {
    /// Looks at everything.
    pub fn fsck(&self, options: &FsckOptions) -> Result<FsckReport> {
        let mut report = FsckReport::default();
        self.check_database(&mut report)?;
        self.check_blobs(options, &mut report)?;
        self.check_manifests(&mut report)?;
        self.check_files(options, &mut report)?;
        Ok(report)
    }

    fn check_database(&self, report: &mut FsckReport) -> Result<()> {
        let lines: Vec<String> = self
            .database()
            .read(|db| rows(db, "PRAGMA integrity_check", [], |row| row.get(0)))?;
        report.database = lines.into_iter().filter(|line| line != "ok").collect();
        Ok(())
    }

    fn check_blobs(&self, options: &FsckOptions, report: &mut FsckReport) -> Result<()> {
        let sql = "SELECT id, digest, size FROM blobs WHERE id > ?1 AND doomed IS NULL ORDER BY id LIMIT 256";
        let mut last = i64::MIN;
        loop {
            let batch: Vec<(i64, Digest, u64)> = self.database().read(|db| {
                rows(db, sql, [last], |row| {
                    Ok((row.get(0)?, parsed(row, 1)?, size(row, 2)?))
                })
            })?;
            let Some(&(end, ..)) = batch.last() else {
                return Ok(());
            };
            last = end;
            for (_, digest, size) in batch {
                self.check_blob(options, report, digest, size)?;
            }
        }
    }

    fn check_blob(
        &self,
        options: &FsckOptions,
        report: &mut FsckReport,
        digest: Digest,
        size: u64,
    ) -> Result<()> {
        report.blobs += 1;
        report.bytes += size;
        let file = match self.open_blob(&digest) {
            Ok(file) => file,
            Err(StoreError::NoSuchBlob { .. }) => {
                // It may have been collected since its row was read.
                let sql = "SELECT 1 FROM blobs WHERE digest = ?1 AND doomed IS NULL";
                if self.database().read(|db| exists(db, sql, [digest.as_str()]))? {
                    report.missing.push(digest);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let path = self.files().path(&digest);
        let found_size = file.metadata().map_err(StoreError::file("look at", &path))?.len();
        if found_size != size {
            report.corrupt.push(CorruptBlob {
                digest,
                size,
                found_size,
                found: None,
            });
            return Ok(());
        }
        if options.quick {
            return Ok(());
        }
        let hash = hash_file(&file, u64::MAX, digest.algorithm()).map_err(StoreError::file("read", &path))?;
        let found = hash.finish();
        if found != digest {
            report.corrupt.push(CorruptBlob {
                digest,
                size,
                found_size,
                found: Some(found),
            });
        }
        Ok(())
    }

    fn check_manifests(&self, report: &mut FsckReport) -> Result<()> {
        let sql = "SELECT id, digest, bytes FROM manifests WHERE id > ?1 ORDER BY id LIMIT 64";
        let mut last = i64::MIN;
        loop {
            let batch: Vec<(i64, Digest, Vec<u8>)> = self.database().read(|db| {
                rows(db, sql, [last], |row| {
                    Ok((row.get(0)?, parsed(row, 1)?, row.get(2)?))
                })
            })?;
            let Some((end, ..)) = batch.last() else {
                return Ok(());
            };
            last = *end;
            for (id, digest, bytes) in batch {
                self.check_manifest(report, id, digest, &bytes)?;
            }
        }
    }

    fn check_manifest(&self, report: &mut FsckReport, id: i64, digest: Digest, bytes: &[u8]) -> Result<()> {
        if Digest::of(digest.algorithm(), bytes) != digest {
            report.incomplete.push(IncompleteManifest {
                digest: digest.clone(),
                missing: digest,
            });
            return Ok(());
        }
        let Ok(write) = crate::ManifestWrite::new(None, bytes.to_vec()) else {
            return Ok(());
        };
        // One statement: a manifest that is deleted meanwhile lacks nothing.
        let sql = "SELECT 1 FROM manifests m WHERE m.id = ?1
            AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = ?2 AND b.doomed IS NULL)";
        for blob in write.references.blobs {
            if self.database().read(|db| exists(db, sql, (id, blob.as_str())))? {
                report.incomplete.push(IncompleteManifest {
                    digest: digest.clone(),
                    missing: blob,
                });
            }
        }
        Ok(())
    }

    fn check_files(&self, options: &FsckOptions, report: &mut FsckReport) -> Result<()> {
        self.files().visit(&mut |path, digest| {
            let Some(digest) = digest else {
                report.unknown_files.push(path.to_owned());
                return Ok(());
            };
            if self.knows_file(&digest)? {
                return Ok(());
            }
            report.unknown_files.push(path.to_owned());
            if options.remove_unknown_files {
                self.remove_unknown_file(&digest)?;
            }
            Ok(())
        })
    }
}
