//! Manifests of a space that nothing names any more: untagged ones of a repository, nameless images of a scope.
//!
//! A manifest is kept while a name points to it, an index that is kept lists it, or it says something about one that is kept (its
//! `subject`); while it is young: put, or deprived of its last name, less than a given time ago; and, in a scope, while it is lent
//! to a pod, whose containers stand on it.

use rusqlite::{Connection, Transaction};
use shipway_oci::Digest;

use crate::Result;
use crate::database::{Database, change, now, parsed, rows};

/// Manifests of one space that nothing names and that were put or lost their last name before `cutoff`, in milliseconds since
/// 1970.
#[derive(Clone, Copy)]
pub(crate) struct Unnamed {
    pub(crate) space: i64,
    pub(crate) cutoff: i64,
}

/// Manifests of the space ?1 that are not kept, oldest first, and since when they have no name.
///
/// A range and not a pattern finds the scopes of lent images: SQLite's LIKE knows no index.
const UNNAMED: &str = "WITH RECURSIVE lent (manifest) AS (
        SELECT l.manifest FROM spaces s CROSS JOIN held_manifests l ON l.space = s.id
            WHERE s.kind = 1 AND s.name >= 'lent/' AND s.name < 'lent0'
                AND (SELECT kind FROM spaces WHERE id = ?1) = 1
    ), kept (manifest) AS (
        SELECT h.manifest FROM held_manifests h WHERE h.space = ?1 AND (h.held >= ?2 OR h.manifest IN lent
            OR EXISTS (SELECT 1 FROM names n WHERE n.space = h.space AND n.manifest = h.manifest))
        UNION
        SELECT h.manifest FROM kept k JOIN manifest_references r ON r.manifest = k.manifest AND r.kind = 1
            JOIN manifests m ON m.digest = r.digest JOIN held_manifests h ON h.space = ?1 AND h.manifest = m.id
        UNION
        SELECT h.manifest FROM kept k JOIN manifests m ON m.id = k.manifest
            JOIN held_manifests h ON h.space = ?1 AND h.subject = m.digest
    )
    SELECT m.digest FROM held_manifests h JOIN manifests m ON m.id = h.manifest
    WHERE h.space = ?1 AND h.manifest NOT IN kept ORDER BY m.id";

/// Finds them, and takes them away unless this is only a question.
pub(crate) fn expire(database: &Database, which: Unnamed, only_ask: bool) -> Result<Vec<Digest>> {
    // Most spaces have none: the writer's lock is only for those that do.
    let digests = database.read(|db| find(db, which))?;
    if only_ask || digests.is_empty() {
        return Ok(digests);
    }
    database.write(|db| release(db, which))
}

fn find(db: &Connection, Unnamed { space, cutoff }: Unnamed) -> Result<Vec<Digest>> {
    rows(db, UNNAMED, (space, cutoff), |row| parsed(row, 0))
}

fn release(db: &Transaction<'_>, which: Unnamed) -> Result<Vec<Digest>> {
    let digests = find(db, which)?;
    for digest in &digests {
        let held = "DELETE FROM held_manifests
            WHERE space = ?1 AND manifest = (SELECT id FROM manifests WHERE digest = ?2)";
        change(db, held, (which.space, digest.as_str()))?;
        let bytes = "DELETE FROM manifests WHERE digest = ?1
            AND NOT EXISTS (SELECT 1 FROM held_manifests h WHERE h.manifest = manifests.id)";
        change(db, bytes, [digest.as_str()])?;
    }
    Ok(digests)
}

/// A name is about to point elsewhere or to go: the time of what it named begins now.
pub(crate) fn name_leaves(db: &Connection, space: i64, name: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE held_manifests SET held = ?3 WHERE space = ?1
        AND manifest = (SELECT manifest FROM names WHERE space = ?1 AND name = ?2)";
    change(db, sql, (space, name, now()))?;
    Ok(())
}
