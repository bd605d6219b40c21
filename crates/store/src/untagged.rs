//! Untagged manifests: what nothing in a repository names any more, taken away on request.
//!
//! A manifest is kept while a tag points to it, an index that is kept lists it, or it says something about one that is kept (its
//! `subject`); and while it is young: pushed, or deprived of its last tag, less than a given time ago. That is decided and done in one
//! transaction for each repository, so that a push beside it either finds a manifest and holds it, or is told that it is
//! missing and pushes it again. Blobs go by [`Store::collect`].

use std::time::Duration;

use rusqlite::{Connection, Transaction};
use shipway_oci::{Digest, RepositoryName};

use crate::database::{change, milliseconds, now, parsed, rows};
use crate::space::REPOSITORY;
use crate::{Result, Store};

/// Repositories that are looked up at once.
const BATCH: usize = 64;

/// An untagged manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntaggedManifest {
    /// Where it is, or was.
    pub repository: RepositoryName,
    /// Which it is.
    pub digest: Digest,
}

/// Manifests of the space ?1 that a tag, an index, a subject or their age (from ?2 on) keeps.
const KEPT: &str = "WITH RECURSIVE kept (manifest) AS (
        SELECT h.manifest FROM held_manifests h WHERE h.space = ?1 AND (h.held >= ?2
            OR EXISTS (SELECT 1 FROM names n WHERE n.space = h.space AND n.manifest = h.manifest))
        UNION
        SELECT h.manifest FROM kept k JOIN manifest_references r ON r.manifest = k.manifest AND r.kind = 1
            JOIN manifests m ON m.digest = r.digest JOIN held_manifests h ON h.space = ?1 AND h.manifest = m.id
        UNION
        SELECT h.manifest FROM kept k JOIN manifests m ON m.id = k.manifest
            JOIN held_manifests h ON h.space = ?1 AND h.subject = m.digest
    )";

impl Store {
    /// Finds the untagged manifests of all repositories that are older than a time, and takes them away unless this is
    /// only a question.
    pub fn expire_untagged(&self, older_than: Duration, only_ask: bool) -> Result<Vec<UntaggedManifest>> {
        let cutoff = now().saturating_sub(milliseconds(older_than));
        let next = format!(
            "SELECT id, name FROM spaces WHERE kind = {REPOSITORY} AND id > ?1 ORDER BY id LIMIT {BATCH}"
        );
        let mut found = Vec::new();
        let mut last = i64::MIN;
        loop {
            let batch: Vec<(i64, RepositoryName)> = self
                .database()
                .read(|db| rows(db, &next, [last], |row| Ok((row.get(0)?, parsed(row, 1)?))))?;
            let Some((end, _)) = batch.last() else {
                return Ok(found);
            };
            last = *end;
            for (space, repository) in batch {
                // Most have none: the writer's lock is only for those that do.
                let mut digests = self.database().read(|db| untagged(db, space, cutoff))?;
                if !only_ask && !digests.is_empty() {
                    digests = self.database().write(|db| release_untagged(db, space, cutoff))?;
                }
                found.extend(digests.into_iter().map(|digest| UntaggedManifest {
                    repository: repository.clone(),
                    digest,
                }));
            }
        }
    }
}

fn untagged(db: &Connection, space: i64, cutoff: i64) -> Result<Vec<Digest>> {
    let sql = format!(
        "{KEPT} SELECT m.digest FROM held_manifests h JOIN manifests m ON m.id = h.manifest
        WHERE h.space = ?1 AND h.manifest NOT IN kept ORDER BY m.id"
    );
    rows(db, &sql, (space, cutoff), |row| parsed(row, 0))
}

fn release_untagged(db: &Transaction<'_>, space: i64, cutoff: i64) -> Result<Vec<Digest>> {
    let digests = untagged(db, space, cutoff)?;
    for digest in &digests {
        let held = "DELETE FROM held_manifests
            WHERE space = ?1 AND manifest = (SELECT id FROM manifests WHERE digest = ?2)";
        change(db, held, (space, digest.as_str()))?;
        let bytes = "DELETE FROM manifests WHERE digest = ?1
            AND NOT EXISTS (SELECT 1 FROM held_manifests h WHERE h.manifest = manifests.id)";
        change(db, bytes, [digest.as_str()])?;
    }
    Ok(digests)
}

/// A tag of a repository is about to point elsewhere or to go: the time of what it named begins now.
pub(crate) fn tag_leaves(db: &Connection, space: i64, tag: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE held_manifests SET held = ?3 WHERE space = ?1
        AND manifest = (SELECT manifest FROM names WHERE space = ?1 AND name = ?2)";
    change(db, sql, (space, tag, now()))?;
    Ok(())
}
