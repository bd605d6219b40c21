//! What the steps of a build gave, for exports of the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use shipway_oci::Digest;

use super::commit::NewLayer;
use crate::cache::{CacheSteps, KnownLayer, MountKey, UsedMount};
use crate::error::StepError;
use crate::plan::CacheKey;

/// The steps so far: found or carried out.
#[derive(Default)]
pub(super) struct Recorded {
    steps: Mutex<BTreeMap<CacheKey, Option<NewLayer>>>,
    mounts: Mutex<BTreeMap<MountKey, UsedMount>>,
    distrust: AtomicBool,
}

impl Recorded {
    pub(super) fn add(&self, key: CacheKey, layer: Option<NewLayer>) {
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, layer);
    }

    /// A step asks for a cache mount, or has it.
    pub(super) fn mount(&self, key: MountKey, mount: UsedMount) {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if mount.is_mounted || !mounts.contains_key(&key) {
            mounts.insert(key, mount);
        }
    }

    /// An import's mount is not what was claimed.
    pub(super) fn distrust(&self) {
        self.distrust.store(true, Ordering::Relaxed);
    }

    /// What each gave, by its diffID.
    pub(super) fn diff_ids(&self) -> BTreeMap<CacheKey, Option<Digest>> {
        let recorded = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let each = recorded.iter();
        each.map(|(key, layer)| (*key, layer.as_ref().map(|layer| layer.diff_id.clone())))
            .collect()
    }

    /// All of them, with what the image is made of. Waits for what is still being written.
    pub(super) async fn steps(&self, result: &[Digest]) -> Result<CacheSteps, StepError> {
        let recorded = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut steps = CacheSteps {
            steps: BTreeMap::new(),
            result: result.iter().cloned().collect::<BTreeSet<_>>(),
            mounts: self.mounts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            distrust: self.distrust.load(Ordering::Relaxed),
        };
        for (key, layer) in recorded {
            let layer = match layer {
                Some(layer) => Some(KnownLayer {
                    blob: layer.blob.known().await?,
                    diff_id: layer.diff_id,
                }),
                None => None,
            };
            steps.steps.insert(key, layer);
        }
        Ok(steps)
    }
}
