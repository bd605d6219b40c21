//! Collection: taking away what nothing needs any more, while everything goes on.
//!
//! A blob's life, in its row:
//!
//! ```text
//! (no row) ── upload ──▶ alive ── collection, nothing needs it, no lease ──▶ doomed ── collection ──▶ (no row, no file)
//!                          ▲                                                   │
//!                          └────────────── upload, or a check by its owner ────┘
//! ```
//!
//! "Nothing needs it" and "doomed" are one conditional statement, and a file goes in the same transaction in
//! which its row is seen doomed and deleted. So whoever was told that a blob exists finds it within the grace, and a manifest that
//! was accepted finds its blobs for ever. If the process dies between the file and the commit, a doomed row without a
//! file is left, which exists for nobody. If an upload dies between its file's name and its row, a collection removes the file
//! once it is older than any upload that could still be on its way to its row.
//!
//! A collection holds the writer's lock for a few dozen rows at a time. Two collections may run at once.

use std::time::{Duration, UNIX_EPOCH};

use rusqlite::{Connection, Row};
use shipway_oci::Digest;

use crate::blob::LEASE_STEP;
use crate::database::{change, exists, milliseconds, now, parsed, row, rows, size};
use crate::space::SCOPE;
use crate::{Result, Store};

/// Rows per transaction: long enough to be worth a sync, short enough that nobody notices the wait.
const BATCH: usize = 64;

/// What to collect.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// How long a blob is left alone after it was uploaded or asked for; what was used under a [`crate::Hold`] stays in any case.
    ///
    /// Whoever pushes has this long (less a minute) between the first blob and the manifest. With zero, blobs of pushes under way may
    /// be taken: their manifest is then refused, nothing that was accepted suffers.
    pub grace: Duration,
    /// Only count.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(24 * 60 * 60),
            dry_run: false,
        }
    }
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Blobs that went, or would go.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl CollectReport {
    /// What of this is not in another.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            blobs: self.blobs.saturating_sub(other.blobs),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// A blob `b` that nothing needs: no lease after ?1, no manifest, no cache record, no link that is fresh.
const NEEDED_BY_NOTHING: &str = "b.doomed IS NULL AND b.touched < ?1
    AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = b.digest AND r.kind = 0)
    AND NOT EXISTS (SELECT 1 FROM cached_blobs c WHERE c.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM linked_blobs l WHERE l.blob = b.id AND l.touched >= ?1)";

impl Store {
    /// Takes away blobs that nothing needs, and what else is left over.
    pub fn collect(&self, options: &CollectOptions) -> Result<CollectReport> {
        let cutoff = self.cutoff(options.grace)?;
        if options.dry_run {
            return self.count_collectable(cutoff);
        }
        self.drop_stale_links(cutoff)?;
        self.doom(cutoff)?;
        let report = self.remove_doomed()?;
        self.sweep_uploads()?;
        self.sweep_job_tokens()?;
        self.drop_empty_spaces()?;
        self.files().sweep_incoming()?;
        self.sweep_unknown_files()?;
        Ok(report)
    }

    /// Takes away blobs that were not whole when whoever wrote them died: what a collection would take as well, for those who start
    /// work and collect nothing.
    ///
    /// # Errors
    /// When they cannot be listed or removed.
    pub fn sweep_abandoned(&self) -> Result<()> {
        self.files().sweep_incoming()
    }

    /// The process is about to end, whatever its threads do: what they have begun is removed, and nothing more is begun.
    pub fn give_up_unfinished(&self) {
        self.files().give_up();
    }

    /// What was used since then stays: the grace, and work that began before it and is not done.
    fn cutoff(&self, grace: Duration) -> Result<i64> {
        let cutoff = now().saturating_sub(milliseconds(grace));
        let Some(oldest) = self.files().oldest_hold()? else {
            return Ok(cutoff);
        };
        let oldest = oldest.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(cutoff.min(milliseconds(oldest).saturating_sub(LEASE_STEP)))
    }

    /// What a collection would take if the build cache and all images that jobs' pulls brought were forgotten before.
    pub fn collectable_without_caches(&self, grace: Duration) -> Result<CollectReport> {
        let sql = "SELECT count(*), coalesce(sum(b.size), 0) FROM blobs b WHERE b.doomed IS NULL AND b.touched < ?1
            AND NOT EXISTS (SELECT 1 FROM manifest_references r JOIN held_manifests h ON h.manifest = r.manifest
                JOIN spaces s ON s.id = h.space WHERE r.digest = b.digest AND r.kind = 0
                AND NOT (s.kind = ?2 AND s.name >= 'pulled/' AND s.name < 'pulled0'))
            AND NOT EXISTS (SELECT 1 FROM linked_blobs l WHERE l.blob = b.id AND l.touched >= ?1)";
        let cutoff = self.cutoff(grace)?;
        Ok(self
            .database()
            .read(|db| db.prepare_cached(sql)?.query_row((cutoff, SCOPE), report))?)
    }

    /// A crash between the naming of a blob's file and its row leaves a file that no row knows.
    fn sweep_unknown_files(&self) -> Result<()> {
        self.files().visit(&mut |path, digest| {
            let Some(digest) = digest else { return Ok(()) };
            if !self.knows_file(&digest)? && self.files().is_left_behind(path) {
                self.remove_unknown_file(&digest)?;
            }
            Ok(())
        })
    }

    /// Whether a row has this digest, doomed or not.
    pub(crate) fn knows_file(&self, digest: &Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM blobs WHERE digest = ?1";
        Ok(self.database().read(|db| exists(db, sql, [digest.as_str()]))?)
    }

    /// Removes the file of a digest that no row has.
    ///
    /// Under the writer's lock: an upload that has just named its file looks for it before its row.
    pub(crate) fn remove_unknown_file(&self, digest: &Digest) -> Result<()> {
        let sql = "SELECT 1 FROM blobs WHERE digest = ?1";
        self.database().write(|db| {
            if !exists(db, sql, [digest.as_str()])? {
                self.files().remove(digest)?;
            }
            Ok(())
        })
    }

    fn count_collectable(&self, cutoff: i64) -> Result<CollectReport> {
        let sql = format!("SELECT count(*), coalesce(sum(b.size), 0) FROM blobs b WHERE {NEEDED_BY_NOTHING}");
        Ok(self
            .database()
            .read(|db| db.prepare_cached(&sql)?.query_row([cutoff], report))?)
    }

    /// A repository keeps reading what its manifests name; other links end with their lease.
    fn drop_stale_links(&self, cutoff: i64) -> Result<()> {
        let stale = "l.touched < ?1 AND NOT EXISTS (
            SELECT 1 FROM blobs b JOIN manifest_references r ON r.digest = b.digest AND r.kind = 0
            JOIN held_manifests h ON h.manifest = r.manifest AND h.space = l.space WHERE b.id = l.blob)";
        let find = format!(
            "SELECT l.space, l.blob FROM linked_blobs l WHERE (l.space, l.blob) > (?2, ?3) AND {stale}
            ORDER BY l.space, l.blob LIMIT {BATCH}"
        );
        let delete = format!("DELETE FROM linked_blobs AS l WHERE l.space = ?2 AND l.blob = ?3 AND {stale}");
        let mut last = (i64::MIN, i64::MIN);
        loop {
            let batch: Vec<(i64, i64)> = self.database().read(|db| {
                rows(db, &find, (cutoff, last.0, last.1), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
            })?;
            let Some(&end) = batch.last() else { return Ok(()) };
            last = end;
            self.database().write(|db| -> Result<()> {
                for (space, blob) in &batch {
                    change(db, &delete, (cutoff, space, blob))?;
                }
                Ok(())
            })?;
        }
    }

    fn doom(&self, cutoff: i64) -> Result<()> {
        let find = format!(
            "SELECT b.id FROM blobs b WHERE b.id > ?2 AND {NEEDED_BY_NOTHING} ORDER BY b.id LIMIT {BATCH}"
        );
        let doom = format!("UPDATE blobs AS b SET doomed = ?3 WHERE b.id = ?2 AND {NEEDED_BY_NOTHING}");
        let mut last = i64::MIN;
        loop {
            let batch: Vec<i64> = self
                .database()
                .read(|db| rows(db, &find, (cutoff, last), |row| row.get(0)))?;
            let Some(&end) = batch.last() else { return Ok(()) };
            last = end;
            self.database().write(|db| -> Result<()> {
                for blob in &batch {
                    if change(db, &doom, (cutoff, blob, now()))? == 1 {
                        change(db, "DELETE FROM linked_blobs WHERE blob = ?1", [blob])?;
                    }
                }
                Ok(())
            })?;
        }
    }

    fn remove_doomed(&self) -> Result<CollectReport> {
        let sql = format!("SELECT id, digest, size FROM blobs WHERE doomed IS NOT NULL LIMIT {BATCH}");
        let mut report = CollectReport::default();
        loop {
            let batch = self.database().write(|db| -> Result<Vec<u64>> {
                let doomed: Vec<(i64, Digest, u64)> = rows(db, &sql, [], |row| {
                    Ok((row.get(0)?, parsed(row, 1)?, size(row, 2)?))
                })?;
                let mut sizes = Vec::with_capacity(doomed.len());
                for (blob, digest, size) in doomed {
                    self.files().remove(&digest)?;
                    change(db, "DELETE FROM blobs WHERE id = ?1", [blob])?;
                    sizes.push(size);
                }
                Ok(sizes)
            })?;
            if batch.is_empty() {
                return Ok(report);
            }
            report.blobs += batch.len() as u64;
            report.bytes += batch.iter().sum::<u64>();
        }
    }

    fn drop_empty_spaces(&self) -> Result<()> {
        let empty = "NOT EXISTS (SELECT 1 FROM held_manifests h WHERE h.space = s.id)
            AND NOT EXISTS (SELECT 1 FROM linked_blobs l WHERE l.space = s.id)
            AND NOT EXISTS (SELECT 1 FROM cache_records c WHERE c.space = s.id)";
        let any = format!("SELECT 1 FROM spaces s WHERE {empty}");
        let delete = format!("DELETE FROM spaces AS s WHERE {empty}");
        let is_some = |db: &Connection| -> Result<bool> { Ok(row(db, &any, [], |_| Ok(()))?.is_some()) };
        if self.database().read(is_some)? {
            self.database().write(|db| change(db, &delete, []))?;
        }
        Ok(())
    }
}

fn report(row: &Row<'_>) -> rusqlite::Result<CollectReport> {
    Ok(CollectReport {
        blobs: size(row, 0)?,
        bytes: size(row, 1)?,
    })
}
