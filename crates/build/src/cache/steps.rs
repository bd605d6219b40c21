//! What a build went through: what an export is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shipway_oci::{Descriptor, Digest};

use super::import::Elsewhere;
use super::mounts::{MountKey, OfferedMount};
use crate::plan::CacheKey;

/// The steps of a build, or of several, and what each gave. Opaque; made by a build and given to [`Builder::export_cache`].
///
/// Two are equal when their steps gave the same; where the bytes are does not count.
///
/// [`Builder::export_cache`]: crate::Builder::export_cache
#[derive(Debug, Clone, Default)]
pub struct CacheSteps {
    pub(crate) steps: BTreeMap<CacheKey, Option<KnownLayer>>,
    /// The diffIDs of the images that were built.
    pub(crate) result: BTreeSet<Digest>,
    /// The cache mounts that steps asked for.
    pub(crate) mounts: BTreeMap<MountKey, UsedMount>,
    /// Whether an import's mount turned out to be something else than was claimed.
    pub(crate) distrust: bool,
}

/// A cache mount that a step asked for.
#[derive(Debug, Clone)]
pub(crate) struct UsedMount {
    /// Its id.
    pub(crate) id: String,
    /// Its directory: the one that the last step had.
    pub(crate) directory: String,
    /// Whether a step had it: one that is known mounts nothing.
    pub(crate) is_mounted: bool,
    /// What an import has of it.
    pub(crate) offered: Option<Arc<OfferedMount>>,
}

/// A layer that a step gave.
#[derive(Debug, Clone)]
pub(crate) struct KnownLayer {
    pub(crate) diff_id: Digest,
    pub(crate) blob: KnownBlob,
}

/// Where its bytes are.
#[derive(Debug, Clone)]
pub(crate) enum KnownBlob {
    Here(Box<Descriptor>),
    Elsewhere(Arc<Elsewhere>),
}

impl CacheSteps {
    /// The steps of both: of a build for another platform, say.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self.result.extend(other.result);
        self.distrust |= other.distrust;
        for (key, mount) in other.mounts {
            match self.mounts.get_mut(&key) {
                Some(known) if known.is_mounted && !mount.is_mounted => {}
                _ => {
                    self.mounts.insert(key, mount);
                }
            }
        }
        self
    }
}

impl KnownBlob {
    /// What it is, if anybody has it.
    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        match self {
            Self::Here(blob) => Some(blob),
            Self::Elsewhere(elsewhere) => elsewhere.blob.as_ref(),
        }
    }
}

impl PartialEq for CacheSteps {
    fn eq(&self, other: &Self) -> bool {
        let gave = |steps: &Self| -> Vec<(CacheKey, Option<Digest>)> {
            let each = steps.steps.iter();
            each.map(|(key, layer)| (*key, layer.as_ref().map(|layer| layer.diff_id.clone())))
                .collect()
        };
        gave(self) == gave(other) && self.result == other.result
    }
}

impl Eq for CacheSteps {}
