//! How much there is.

use crate::database::size;
use crate::space::REPOSITORY;
use crate::{Result, Store};

/// How much is in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bytes of all blobs, each counted once.
    pub blob_bytes: u64,
    /// How many blobs there are.
    pub blobs: u64,
    /// Repositories of the registry that hold a manifest.
    pub repositories: u64,
    /// Different manifests.
    pub manifests: u64,
    /// Uploads under way or left.
    pub uploads: u64,
    /// Records of the build cache.
    pub cache_records: u64,
}

impl Store {
    /// Counts what is there.
    pub fn usage(&self) -> Result<Usage> {
        let sql = "SELECT
            (SELECT coalesce(sum(size), 0) FROM blobs WHERE doomed IS NULL),
            (SELECT count(*) FROM blobs WHERE doomed IS NULL),
            (SELECT count(DISTINCT h.space) FROM held_manifests h JOIN spaces s ON s.id = h.space WHERE s.kind = ?1),
            (SELECT count(*) FROM manifests),
            (SELECT count(*) FROM uploads),
            (SELECT count(*) FROM cache_records)";
        Ok(self.database().read(|db| {
            db.prepare_cached(sql)?.query_row([REPOSITORY], |row| {
                Ok(Usage {
                    blob_bytes: size(row, 0)?,
                    blobs: size(row, 1)?,
                    repositories: size(row, 2)?,
                    manifests: size(row, 3)?,
                    uploads: size(row, 4)?,
                    cache_records: size(row, 5)?,
                })
            })
        })?)
    }
}
