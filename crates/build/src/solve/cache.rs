//! Results of earlier builds.

use serde::{Deserialize, Serialize};
use shipway_oci::{Descriptor, Digest, media_type};
use shipway_store::{Scope, Store};

use super::behind::LayerBlob;
use super::commit::NewLayer;
use crate::error::StepError;
use crate::export::descriptor;
use crate::plan::CacheKey;

/// What is kept of a step that changed files. Configuration is not: it follows from the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Nothing when the step changed no file.
    layer: Option<RecordedLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedLayer {
    diff_id: Digest,
    digest: Digest,
    size: u64,
}

/// The results of one scope.
#[derive(Clone)]
pub(super) struct Cache {
    pub(super) store: Store,
    pub(super) scope: Scope,
    /// Whether results are looked up; they are kept in any case.
    pub(super) read: bool,
}

impl Cache {
    /// What a step with this key gave. A record whose layer is gone, or that another version wrote, is none. Blocks.
    pub(super) fn find(&self, key: &CacheKey) -> Result<Option<Option<NewLayer>>, StepError> {
        if !self.read {
            return Ok(None);
        }
        let failed = |source| StepError::Store { source };
        let Some(bytes) = self
            .store
            .cache_record(&self.scope, key.as_bytes())
            .map_err(failed)?
        else {
            return Ok(None);
        };
        let Ok(Record { layer }) = serde_json::from_slice::<Record>(&bytes) else {
            return Ok(None);
        };
        let Some(layer) = layer else { return Ok(Some(None)) };
        if self.store.blob(&layer.digest).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let descriptor = descriptor(media_type::OCI_LAYER_GZIP, layer.digest, layer.size);
        Ok(Some(Some(NewLayer {
            diff_id: layer.diff_id,
            blob: LayerBlob::There(Box::new(descriptor)),
        })))
    }

    /// Keeps what a step gave: a layer's diffID and blob, or that it changed nothing. Blocks.
    pub(super) fn keep(
        &self,
        key: &CacheKey,
        layer: Option<(&Digest, &Descriptor)>,
    ) -> Result<(), StepError> {
        let record = Record {
            layer: layer.map(|(diff_id, blob)| RecordedLayer {
                diff_id: diff_id.clone(),
                digest: blob.digest.clone(),
                size: blob.size,
            }),
        };
        let bytes =
            serde_json::to_vec(&record).map_err(|error| StepError::Stream { source: error.into() })?;
        let blobs: Vec<Digest> = layer.iter().map(|(_, blob)| blob.digest.clone()).collect();
        self.store
            .put_cache_record(&self.scope, key.as_bytes(), &bytes, &blobs)
            .map_err(|source| StepError::Remember { source })
    }
}
