//! Repositories of the registry: which blobs they may read, which tags they have.

use rusqlite::Connection;
use shipway_oci::{Digest, RepositoryName, Tag};

use crate::blob::LEASE_STEP;
use crate::database::{change, exists, now, parsed, row, rows, size};
use crate::space::{REPOSITORY, Space};
use crate::unnamed::name_leaves;
use crate::{BlobInfo, Result, Store};

/// Lets a space read a blob, or extends that it does.
pub(crate) fn link(db: &Connection, space: i64, blob: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO linked_blobs (space, blob, touched) VALUES (?1, ?2, ?3)
        ON CONFLICT (space, blob) DO UPDATE SET touched = excluded.touched";
    change(db, sql, (space, blob, now()))?;
    Ok(())
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Store {
    /// Lets a repository read a blob that exists; `None` if it does not.
    ///
    /// The caller has made sure that whoever asks may read the blob through another repository.
    pub fn link_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.database().write(|db| {
            let Some((blob, info)) = self.ensure_alive(db, digest)? else {
                return Ok(None);
            };
            link(db, Space::from(repository).ensure(db)?, blob)?;
            Ok(Some(info))
        })
    }

    /// As [`Store::link_blob`] for several, in one transaction: one sync for all. Gives those that do not exist.
    pub fn link_blobs(&self, repository: &RepositoryName, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.database().write(|db| {
            let mut missing = Vec::new();
            for digest in digests {
                match self.ensure_alive(db, digest)? {
                    Some((blob, _)) => link(db, Space::from(repository).ensure(db)?, blob)?,
                    None => missing.push(digest.clone()),
                }
            }
            Ok(missing)
        })
    }

    /// A blob, if this repository may read it. Its lease is extended: a collection leaves it and the link alone for its grace.
    pub fn repository_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let sql = "SELECT b.size, l.touched, l.space, b.id
            FROM spaces s JOIN blobs b ON b.digest = ?3 AND b.doomed IS NULL
            JOIN linked_blobs l ON l.space = s.id AND l.blob = b.id
            WHERE s.kind = ?1 AND s.name = ?2";
        let found = self.database().read(|db| {
            row(
                db,
                sql,
                (REPOSITORY, repository.as_str(), digest.as_str()),
                |row| {
                    Ok((
                        size(row, 0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, i64>(3)?,
                    ))
                },
            )
        })?;
        let Some((size, touched, space, blob)) = found else {
            return Ok(None);
        };
        let info = BlobInfo {
            digest: digest.clone(),
            size,
        };
        if touched > now() - LEASE_STEP {
            return Ok(Some(info));
        }
        // The link's lease is the blob's too: a blob is not doomed while one of its links is fresh.
        let sql = "UPDATE linked_blobs SET touched = ?3 WHERE space = ?1 AND blob = ?2";
        let kept = self
            .database()
            .write_quick(|db| -> Result<usize> { Ok(change(db, sql, (space, blob, now()))?) })?;
        Ok((kept == 1).then_some(info))
    }

    /// Takes a blob from a repository. Other repositories keep it.
    pub fn unlink_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.database().write(|db| {
            let Some(space) = Space::from(repository).find(db)? else { return Ok(false) };
            let sql = "DELETE FROM linked_blobs WHERE space = ?1 AND blob = (SELECT id FROM blobs WHERE digest = ?2)";
            Ok(change(db, sql, (space, digest.as_str()))? == 1)
        })
    }

    /// Repositories through which a blob can be read, for a mount that names none. Callers check the rights to each.
    pub fn blob_repositories(&self, digest: &Digest, at_most: usize) -> Result<Vec<RepositoryName>> {
        // CROSS fixes the order: without statistics SQLite would go through all repositories.
        let sql = "SELECT s.name FROM blobs b CROSS JOIN linked_blobs l ON l.blob = b.id
            CROSS JOIN spaces s ON s.id = l.space
            WHERE b.digest = ?1 AND b.doomed IS NULL AND s.kind = ?2 ORDER BY s.name LIMIT ?3";
        self.database().read(|db| {
            rows(db, sql, (digest.as_str(), REPOSITORY, limit(at_most)), |row| {
                parsed(row, 0)
            })
        })
    }

    /// The tags after `last`, sorted by their bytes.
    pub fn tags(&self, repository: &RepositoryName, last: Option<&Tag>, at_most: usize) -> Result<Vec<Tag>> {
        let sql = "SELECT n.name FROM spaces s JOIN names n ON n.space = s.id
            WHERE s.kind = ?1 AND s.name = ?2 AND n.name > ?3 ORDER BY n.name LIMIT ?4";
        let last = last.map_or("", Tag::as_str);
        self.database().read(|db| {
            rows(
                db,
                sql,
                (REPOSITORY, repository.as_str(), last, limit(at_most)),
                |row| parsed(row, 0),
            )
        })
    }

    /// Whether something was ever put into a repository, and it was not collected since.
    pub fn repository_exists(&self, repository: &RepositoryName) -> Result<bool> {
        let sql = "SELECT 1 FROM spaces WHERE kind = ?1 AND name = ?2";
        Ok(self
            .database()
            .read(|db| exists(db, sql, (REPOSITORY, repository.as_str())))?)
    }

    /// Takes a tag away. Its manifest stays, under its digest and its other tags.
    pub fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool> {
        self.database().write(|db| {
            let Some(space) = Space::from(repository).find(db)? else {
                return Ok(false);
            };
            name_leaves(db, space, tag.as_str())?;
            Ok(change(
                db,
                "DELETE FROM names WHERE space = ?1 AND name = ?2",
                (space, tag.as_str()),
            )? == 1)
        })
    }

    /// The repositories that hold a manifest, after `last`, sorted by their bytes.
    pub fn repositories(&self, last: Option<&RepositoryName>, at_most: usize) -> Result<Vec<RepositoryName>> {
        let sql = "SELECT s.name FROM spaces s WHERE s.kind = ?1 AND s.name > ?2
            AND EXISTS (SELECT 1 FROM held_manifests h WHERE h.space = s.id) ORDER BY s.name LIMIT ?3";
        let last = last.map_or("", RepositoryName::as_str);
        self.database()
            .read(|db| rows(db, sql, (REPOSITORY, last, limit(at_most)), |row| parsed(row, 0)))
    }
}
