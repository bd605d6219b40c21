//! The build cache: records whose content only the builder understands, and which keep blobs alive.

use rusqlite::Transaction;
use shipway_oci::Digest;
use std::time::Duration;

use crate::blob::LEASE_STEP;
use crate::database::{change, milliseconds, now, row, size};
use crate::space::{SCOPE, Scope, Space};
use crate::{Result, Store, StoreError};

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutCacheRecordError {
    /// It shall keep a blob that is not in the store.
    #[error("the cache record names the blob {digest}, which is not in the store")]
    MissingBlob {
        /// The blob.
        digest: Digest,
    },
    /// The disk or the database failed.
    #[error("cannot keep the cache record")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
}

impl From<rusqlite::Error> for PutCacheRecordError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store {
            source: source.into(),
        }
    }
}

impl Store {
    /// A record of a scope's cache. Its blobs are in the store.
    pub fn cache_record(&self, scope: &Scope, key: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT c.record, c.touched, c.id FROM spaces s JOIN cache_records c ON c.space = s.id AND c.key = ?3
            WHERE s.kind = ?1 AND s.name = ?2";
        let found = self.database().read(|db| {
            row(db, sql, (SCOPE, scope.as_str(), key), |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
        })?;
        let Some((record, touched, id)) = found else {
            return Ok(None);
        };
        if touched <= now() - LEASE_STEP {
            let sql = "UPDATE cache_records SET touched = ?2 WHERE id = ?1";
            self.database().write_quick(|db| change(db, sql, (id, now())))?;
        }
        Ok(Some(record))
    }

    /// Puts a record, in place of an older one under its key, and keeps its blobs for as long as it is there.
    pub fn put_cache_record(
        &self,
        scope: &Scope,
        key: &[u8; 32],
        record: &[u8],
        blobs: &[Digest],
    ) -> Result<(), PutCacheRecordError> {
        self.database().write(|db| {
            let space = Space::from(scope).ensure(db)?;
            change(db, "DELETE FROM cache_records WHERE space = ?1 AND key = ?2", (space, key))?;
            let sql = "INSERT INTO cache_records (space, key, record, touched) VALUES (?1, ?2, ?3, ?4) RETURNING id";
            let id: i64 = db.prepare_cached(sql)?.query_row((space, key, record, now()), |row| row.get(0))?;
            blobs.iter().try_for_each(|digest| keep(db, id, digest))
        })
    }

    /// Drops records that nobody asked for in this time, unless this is only a question; gives how many. Their blobs go at the next
    /// collection.
    pub fn prune_cache(&self, idle: Duration, only_ask: bool) -> Result<u64> {
        let cutoff = now().saturating_sub(milliseconds(idle));
        if only_ask {
            let sql = "SELECT count(*) FROM cache_records WHERE touched <= ?1";
            let count = self
                .database()
                .read(|db| db.prepare_cached(sql)?.query_row([cutoff], |row| size(row, 0)));
            return Ok(count?);
        }
        let sql = "DELETE FROM cache_records WHERE touched <= ?1";
        let dropped = self.database().write(|db| change(db, sql, [cutoff]))?;
        Ok(dropped as u64)
    }
}

fn keep(db: &Transaction<'_>, record: i64, digest: &Digest) -> Result<(), PutCacheRecordError> {
    let sql = "SELECT id FROM blobs WHERE digest = ?1 AND doomed IS NULL";
    let Some(blob) = row(db, sql, [digest.as_str()], |row| row.get::<_, i64>(0))? else {
        return Err(PutCacheRecordError::MissingBlob {
            digest: digest.clone(),
        });
    };
    let sql = "INSERT INTO cached_blobs (record, blob) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    change(db, sql, (record, blob))?;
    Ok(())
}
