//! The records of the build cache as a whole: what there is, what it takes, and what goes first.
//!
//! Apart from the records one by one (`build_cache`), which builds ask for all the time and which must stay quick.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use shipway_oci::Digest;

use crate::database::{change, parsed, rows, size, time};
use crate::space::{SCOPE, Scope};
use crate::{Result, Store};

/// Rows per transaction, so that builds do not wait long for the writer's lock.
const BATCH: usize = 256;

/// A blob's row and its bytes, of a record that keeps one.
type KeptBlob = Option<(i64, u64)>;

/// A record of the build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its row: for [`Store::remove_cache_record`].
    pub id: i64,
    /// Whose it is.
    pub scope: Scope,
    /// Its key.
    pub key: Vec<u8>,
    /// What only the builder understands.
    pub record: Vec<u8>,
    /// When a build last asked for it, or kept it. To about a minute.
    pub used: SystemTime,
    /// The blobs that it keeps, and their bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Whether one of them is kept by something else, too: an image, or another record. It would stay.
    pub is_shared: bool,
}

impl Store {
    /// The records of a scope, the last used first, and no more than so many.
    pub fn cache_records(&self, scope: &Scope, most: usize) -> Result<Vec<Vec<u8>>> {
        let sql = "SELECT c.record FROM spaces s JOIN cache_records c ON c.space = s.id
            WHERE s.kind = ?1 AND s.name = ?2 ORDER BY c.touched DESC, c.id DESC LIMIT ?3";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.database()
            .read(|db| rows(db, sql, (SCOPE, scope.as_str(), most), |row| row.get(0)))
    }

    /// All records, the last used first.
    pub fn cache_entries(&self) -> Result<Vec<CacheEntry>> {
        let records = "SELECT c.id, s.name, c.key, c.record, c.touched FROM cache_records c
            JOIN spaces s ON s.id = c.space ORDER BY c.touched DESC, c.id DESC";
        let blobs = "SELECT k.record, b.digest, b.size,
            EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = b.digest AND r.kind = 0)
            OR EXISTS (SELECT 1 FROM cached_blobs o WHERE o.blob = b.id AND o.record <> k.record)
            FROM cached_blobs k JOIN blobs b ON b.id = k.blob";
        self.database().read(|db| {
            let mut entries: Vec<CacheEntry> = rows(db, records, [], |row| {
                Ok(CacheEntry {
                    id: row.get(0)?,
                    scope: parsed(row, 1)?,
                    key: row.get(2)?,
                    record: row.get(3)?,
                    used: time(row.get(4)?),
                    blobs: Vec::new(),
                    is_shared: false,
                })
            })?;
            let places: HashMap<i64, usize> = entries
                .iter()
                .enumerate()
                .map(|(place, entry)| (entry.id, place))
                .collect();
            let kept: Vec<(i64, Digest, u64, bool)> = rows(db, blobs, [], |row| {
                Ok((row.get(0)?, parsed(row, 1)?, size(row, 2)?, row.get(3)?))
            })?;
            for (record, digest, bytes, is_shared) in kept {
                // One that came between the two statements is for the next time.
                if let Some(entry) = places.get(&record).and_then(|place| entries.get_mut(*place)) {
                    entry.blobs.push((digest, bytes));
                    entry.is_shared |= is_shared;
                }
            }
            Ok(entries)
        })
    }

    /// Drops a record unless it was used since; whether it did. Its blobs go at the next collection.
    pub fn remove_cache_record(&self, entry: &CacheEntry) -> Result<bool> {
        let used = entry
            .used
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let sql = "DELETE FROM cache_records WHERE id = ?1 AND touched <= ?2";
        let removed = self
            .database()
            .write(|db| change(db, sql, (entry.id, crate::database::milliseconds(used))))?;
        Ok(removed == 1)
    }

    /// Drops the records that were used longest ago until the blobs of the rest have no more bytes than this, unless it is only asked;
    /// gives how many. A blob that several records keep counts once, and one that an image keeps as well counts too.
    pub fn shrink_cache(&self, most: u64, only_ask: bool) -> Result<u64> {
        let sql = "SELECT c.id, c.touched, b.id, b.size FROM cache_records c
            LEFT JOIN cached_blobs k ON k.record = c.id LEFT JOIN blobs b ON b.id = k.blob
            ORDER BY c.touched DESC, c.id DESC";
        let kept: Vec<(i64, i64, KeptBlob)> = self.database().read(|db| {
            rows(db, sql, [], |row| {
                let blob: Option<i64> = row.get(2)?;
                let blob = blob.map(|blob| Ok::<_, rusqlite::Error>((blob, size(row, 3)?)));
                Ok((row.get(0)?, row.get(1)?, blob.transpose()?))
            })
        })?;
        let (mut seen, mut total) = (HashSet::new(), 0_u64);
        // From the last used on: what fits stays, and from the first that does not on all goes.
        let mut going: Vec<(i64, i64)> = Vec::new();
        for (record, touched, blob) in kept {
            if let Some((blob, bytes)) = blob
                && seen.insert(blob)
            {
                total = total.saturating_add(bytes);
            }
            if total > most && going.last().is_none_or(|(last, _)| *last != record) {
                going.push((record, touched));
            }
        }
        if only_ask {
            return Ok(going.len() as u64);
        }
        let mut dropped = 0;
        let sql = "DELETE FROM cache_records WHERE id = ?1 AND touched <= ?2";
        for batch in going.chunks(BATCH) {
            dropped += self.database().write(|db| {
                batch.iter().try_fold(0, |sum, entry| {
                    Ok::<_, crate::StoreError>(sum + change(db, sql, *entry)?)
                })
            })?;
        }
        Ok(dropped as u64)
    }
}
