//! A cache mount that an import has: brought when a step mounts it, or named again by the next export.

use shipway_oci::Descriptor;

use super::super::origin::{OriginError, SharedOrigin};
use super::index::{self, ChunkPlace, IndexError, MOST_INDEX_BYTES};
use super::key::MountKey;
use crate::error::StepError;
use shipway_store::{Store, StoreError};

/// What a cache says of a mount, checked against its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountClaim {
    pub(crate) key: MountKey,
    /// What its author calls it.
    pub(crate) id: String,
    pub(crate) index: Descriptor,
    pub(crate) packs: Vec<Descriptor>,
    /// The bytes of its tar.
    pub(crate) size: u64,
    /// When it was written, in days since 1970.
    pub(crate) day: u32,
}

/// A mount of an import.
#[derive(Debug, Clone)]
pub(crate) struct OfferedMount {
    pub(crate) claim: MountClaim,
    /// The import, as people name it.
    pub(crate) cache: String,
    pub(in crate::cache) origin: SharedOrigin,
}

/// Why a mount was not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// A blob of it cannot be had.
    #[error("a part of it cannot be had")]
    Origin {
        /// Why.
        #[from]
        source: OriginError,
    },
    /// The store cannot be read.
    #[error("a part of it cannot be read")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Its index is none.
    #[error("its index cannot be used")]
    Index {
        /// Why.
        #[from]
        source: IndexError,
    },
    /// Its files cannot be written.
    #[error("its files cannot be written")]
    Files {
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// A thread of ours ended early.
    #[error("it was interrupted")]
    Interrupted,
}

/// Brings the index of a mount and reads it.
pub(super) async fn open_index(
    claim: &MountClaim,
    origin: &SharedOrigin,
    store: &Store,
) -> Result<Vec<ChunkPlace>, RestoreError> {
    origin.bring(&claim.index, store).await?;
    let (claim, store) = (claim.clone(), store.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = store
            .read_blob(&claim.index.digest, MOST_INDEX_BYTES)
            .map_err(|source| RestoreError::Store { source })?;
        Ok(index::decode(&bytes, &claim.packs, claim.size)?)
    });
    reading.await.map_err(|_| RestoreError::Interrupted)?
}
