//! Results of earlier builds: of the scope's own, and of the caches that a build was told to look into.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use shipway_oci::{Descriptor, Digest, media_type};
use shipway_store::{Scope, Store};

use super::behind::LayerBlob;
use super::commit::NewLayer;
use super::turn::UnderWay;
use crate::cache::Imports;
use crate::error::StepError;
use crate::plan::{CacheKey, Inputs};

/// What is kept of a step that changed files. Configuration is not: it follows from the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Nothing when the step changed no file.
    layer: Option<RecordedLayer>,
    /// What the step depended on, without the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Inputs>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedLayer {
    diff_id: Digest,
    digest: Digest,
    size: u64,
    /// Records of before there was a choice have none.
    #[serde(default = "gzip")]
    media_type: String,
}

fn gzip() -> String {
    media_type::OCI_LAYER_GZIP.to_owned()
}

/// What the step of a record depended on; nothing of one that another version wrote.
pub(super) fn inputs(record: &[u8]) -> Option<Inputs> {
    serde_json::from_slice::<Record>(record).ok()?.inputs
}

/// What kind of step a record of the build cache is of: `run`, `copy` or `workdir`; nothing for one of another version.
pub fn recorded_step(record: &[u8]) -> Option<String> {
    inputs(record).map(|inputs| inputs.step().to_owned())
}

/// The results of one scope.
#[derive(Clone)]
pub(super) struct Cache {
    pub(super) store: Store,
    pub(super) scope: Scope,
    /// Which results are looked up; they are kept in any case.
    pub(super) lookup: Lookup,
    /// What is looked into behind the scope.
    pub(super) imports: Arc<Imports>,
    /// What is being carried out and will be kept.
    pub(super) under_way: UnderWay,
    /// The inputs of earlier steps, read when the first one is not known.
    pub(super) earlier: Arc<OnceLock<Vec<Inputs>>>,
}

/// Which results a build looks up.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    /// All of the scope.
    All,
    /// What this very build has made: its platforms share it.
    Own(Arc<Mutex<HashSet<CacheKey>>>),
}

impl Cache {
    /// Whether results of others than this build are looked up.
    pub(super) fn reads(&self) -> bool {
        matches!(self.lookup, Lookup::All)
    }

    /// What a step with this key gave, here or by the word of an import. A record whose layer is gone, or that another version wrote, is none. Blocks.
    pub(super) fn find(&self, key: &CacheKey) -> Result<Option<Option<NewLayer>>, StepError> {
        if let Lookup::Own(own) = &self.lookup
            && !own.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
        {
            return Ok(None);
        }
        Ok(match self.kept(key)? {
            Some(kept) => Some(kept),
            None => self.imports.find(key).map(|layer| {
                layer.map(|layer| NewLayer {
                    diff_id: layer.diff_id.clone(),
                    blob: LayerBlob::Elsewhere(layer, self.store.clone()),
                })
            }),
        })
    }

    /// What the scope itself has kept.
    fn kept(&self, key: &CacheKey) -> Result<Option<Option<NewLayer>>, StepError> {
        let failed = |source| StepError::Store { source };
        let Some(bytes) = self
            .store
            .cache_record(&self.scope, key.as_bytes())
            .map_err(failed)?
        else {
            return Ok(None);
        };
        let Ok(Record { layer, .. }) = serde_json::from_slice::<Record>(&bytes) else {
            return Ok(None);
        };
        let Some(layer) = layer else { return Ok(Some(None)) };
        if self.store.blob(&layer.digest).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let descriptor = Descriptor::new(&layer.media_type, layer.digest, layer.size);
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
        // The turn ends when this does: who waits for it then finds the record.
        let (inputs, _turn) = self
            .under_way
            .end(key)
            .map_or((None, None), |(inputs, turn)| (Some(inputs), turn));
        let record = Record {
            inputs,
            layer: layer.map(|(diff_id, blob)| RecordedLayer {
                diff_id: diff_id.clone(),
                digest: blob.digest.clone(),
                size: blob.size,
                media_type: blob.media_type.clone(),
            }),
        };
        let bytes =
            serde_json::to_vec(&record).map_err(|error| StepError::Stream { source: error.into() })?;
        let blobs: Vec<Digest> = layer.iter().map(|(_, blob)| blob.digest.clone()).collect();
        self.store
            .put_cache_record(&self.scope, key.as_bytes(), &bytes, &blobs)
            .map_err(|source| StepError::Remember { source })?;
        if let Lookup::Own(own) = &self.lookup {
            own.lock().unwrap_or_else(PoisonError::into_inner).insert(*key);
        }
        Ok(())
    }
}
