//! Untagged manifests: what nothing in a repository names any more, taken away on request.
//!
//! What keeps a manifest is said in `unnamed`. It is decided and done in one transaction for each repository, so that a push beside
//! it either finds a manifest and holds it, or is told that it is missing and pushes it again. Blobs go by [`Store::collect`].

use std::time::Duration;

use shipway_oci::{Digest, RepositoryName};

use crate::database::{milliseconds, now, parsed, rows};
use crate::space::REPOSITORY;
use crate::unnamed::{self, Unnamed};
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
                let which = Unnamed { space, cutoff };
                let digests = unnamed::expire(self.database(), which, only_ask)?;
                found.extend(digests.into_iter().map(|digest| UntaggedManifest {
                    repository: repository.clone(),
                    digest,
                }));
            }
        }
    }
}
