//! The document of an exported cache: which step, by its key, gave which layer.
//!
//! It is the configuration of an artifact, whose layers are those of the manifest beside it, or stands under [`INLINE_KEY`] in
//! the configuration of an image, whose layers are the image's. A layer that the manifest does not have is *known* and no more: it
//! is enough for a step that is passed over, and not for one whose files are needed.
//!
//! A reader takes nothing on trust: sizes and counts are bounded, keys are distinct, indices lie inside, and a document of another
//! version is told apart from a broken one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shipway_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MAX_CONFIG_BYTES, MAX_MANIFEST_ENTRIES, media_type,
};

use super::mounts::{
    INDEX_TYPE, MOST_INDEX_BYTES, MOST_MOUNT_BYTES, MOST_MOUNTS, MOST_PACK_BYTES, MOST_PACKS, MountClaim,
    MountKey, PACK_TYPE,
};
use crate::plan::CacheKey;

/// The type of the configuration of a cache that is an artifact of its own.
pub(crate) const CONFIG_TYPE: &str = "application/vnd.shipway.cache.config.v1+json";
/// Where an image's configuration has its cache.
pub(crate) const INLINE_KEY: &str = "vnd.shipway.cache.v1";
/// The version of the format; a reader of another one takes nothing.
const VERSION: u32 = 1;
/// The most steps of a document: more than a thousand Dockerfiles have.
pub(crate) const MOST_STEPS: usize = 20_000;
/// BuildKit's caches, which people have under the same names: told apart, so that nobody wonders.
const BUILDKIT_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
const BUILDKIT_INLINE: &str = "moby.buildkit.cache.v0";

/// Why bytes are no cache of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It is no JSON, or a field has the wrong type or is missing.
    #[error("it cannot be read")]
    Json {
        /// The parser's own words.
        #[source]
        source: serde_json::Error,
    },
    /// It is too large.
    #[error("its document has {size} bytes, at most {MAX_CONFIG_BYTES} are read")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// It was written by another version.
    #[error("it has version {found}, and this is version {VERSION}: build once with --cache-to to renew it")]
    Version {
        /// What it says.
        found: u32,
    },
    /// It contradicts itself.
    #[error("it contradicts itself: {what}")]
    Contradiction {
        /// How.
        what: &'static str,
    },
    /// It is somebody else's.
    #[error("it is BuildKit's cache, which only BuildKit can use: name another reference for ours")]
    BuildKit,
    /// It is an image without a cache, or something else altogether.
    #[error("there is no cache in it: build it with --cache-to type=inline, or import another reference")]
    None,
}

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    version: u32,
    /// The layers that steps gave.
    pub(crate) layers: Vec<DocumentLayer>,
    /// What each step gave, by its key: the index of its layer, or nothing where it changed no file.
    pub(crate) steps: BTreeMap<String, Option<usize>>,
    /// The cache mounts that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<DocumentMount>,
}

/// A cache mount. Its blobs are among the layers of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DocumentMount {
    /// What it is known by: see [`MountKey`].
    key: String,
    /// What its author calls it.
    id: String,
    /// The blob that says of which chunks it is made.
    index: Digest,
    /// The blobs with the chunks; the index names them by their places here.
    packs: Vec<Digest>,
    /// The bytes of its tar.
    size: u64,
    /// When it was written, in days since 1970.
    day: u32,
}

impl From<&MountClaim> for DocumentMount {
    fn from(claim: &MountClaim) -> Self {
        Self {
            key: claim.key.to_string(),
            id: claim.id.clone(),
            index: claim.index.digest.clone(),
            packs: claim.packs.iter().map(|pack| pack.digest.clone()).collect(),
            size: claim.size,
            day: claim.day,
        }
    }
}

/// A layer that a step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DocumentLayer {
    /// What it unpacks to.
    pub(crate) diff_id: Digest,
    /// Its blob among the layers of the manifest; of an image's own cache the one at the diffID's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
}

/// What a document says of a step, with the blob of its layer if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Option<Descriptor>,
}

/// The steps that a cache knows.
pub(crate) type Claims = BTreeMap<CacheKey, Option<Claim>>;

/// What a cache says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) steps: Claims,
    pub(crate) mounts: Vec<MountClaim>,
}

impl Document {
    /// One of these steps.
    pub(crate) fn new<'a>(steps: impl IntoIterator<Item = (&'a CacheKey, Option<DocumentLayer>)>) -> Self {
        let mut document = Self {
            version: VERSION,
            layers: Vec::new(),
            steps: BTreeMap::new(),
            mounts: Vec::new(),
        };
        let mut places = BTreeMap::new();
        for (key, layer) in steps {
            let place = layer.map(|layer| {
                *places.entry(layer.diff_id.clone()).or_insert_with(|| {
                    document.layers.push(layer);
                    document.layers.len() - 1
                })
            });
            document.steps.insert(key.to_string(), place);
        }
        document
    }

    /// Reads the configuration of an artifact or of an image, whose manifest is beside it.
    pub(crate) fn read(manifest: &ImageManifest, config: &[u8]) -> Result<Contents, DocumentError> {
        let json = |source| DocumentError::Json { source };
        match manifest.config.media_type.as_str() {
            CONFIG_TYPE => {
                let document: Self = versioned(serde_json::from_slice(config).map_err(json)?)?;
                document.contents(&manifest.layers, None)
            }
            media_type::OCI_CONFIG | media_type::DOCKER_CONFIG => {
                let image: ImageConfig = serde_json::from_slice(config).map_err(json)?;
                let Some(inline) = image.other.get(INLINE_KEY) else {
                    let foreign = image.other.contains_key(BUILDKIT_INLINE);
                    return Err(if foreign {
                        DocumentError::BuildKit
                    } else {
                        DocumentError::None
                    });
                };
                let document: Self = versioned(inline.clone())?;
                document.contents(&manifest.layers, Some(&image.rootfs.diff_ids))
            }
            BUILDKIT_CONFIG => Err(DocumentError::BuildKit),
            _ => Err(DocumentError::None),
        }
    }

    /// What it says, checked.
    fn contents(&self, blobs: &[Descriptor], diff_ids: Option<&[Digest]>) -> Result<Contents, DocumentError> {
        Ok(Contents {
            steps: self.claims(blobs, diff_ids)?,
            mounts: self.mounts(blobs)?,
        })
    }

    fn mounts(&self, blobs: &[Descriptor]) -> Result<Vec<MountClaim>, DocumentError> {
        let wrong = |what| DocumentError::Contradiction { what };
        if self.mounts.len() > MOST_MOUNTS {
            return Err(wrong("it has too many cache mounts"));
        }
        let by_digest: BTreeMap<&Digest, &Descriptor> =
            blobs.iter().map(|blob| (&blob.digest, blob)).collect();
        // Where else the bytes might be had, and what else is said of them, is nothing that a cache decides.
        let find = |digest: &Digest, of: &str, most: u64| match by_digest.get(digest) {
            Some(blob) if blob.size <= most => Ok(Descriptor::new(of, blob.digest.clone(), blob.size)),
            Some(_) => Err(wrong("a part of a cache mount is too large")),
            None => Err(wrong(
                "it names a part of a cache mount that its manifest does not",
            )),
        };
        let mut keys = BTreeSet::new();
        let mounts = self.mounts.iter().map(|mount| {
            let key: MountKey = mount
                .key
                .parse()
                .map_err(|()| wrong("the key of a cache mount is none"))?;
            if !keys.insert(key.clone()) {
                return Err(wrong("it has a cache mount twice"));
            }
            if mount.size > MOST_MOUNT_BYTES || mount.packs.len() > MOST_PACKS {
                return Err(wrong("a cache mount is too large"));
            }
            let packs = mount
                .packs
                .iter()
                .map(|pack| find(pack, PACK_TYPE, MOST_PACK_BYTES));
            Ok(MountClaim {
                key,
                id: mount.id.clone(),
                index: find(&mount.index, INDEX_TYPE, MOST_INDEX_BYTES)?,
                packs: packs.collect::<Result<_, _>>()?,
                size: mount.size,
                day: mount.day,
            })
        });
        mounts.collect()
    }

    fn claims(&self, blobs: &[Descriptor], diff_ids: Option<&[Digest]>) -> Result<Claims, DocumentError> {
        let wrong = |what| DocumentError::Contradiction { what };
        if self.steps.len() > MOST_STEPS || self.layers.len() > MAX_MANIFEST_ENTRIES {
            return Err(wrong("it has too many steps"));
        }
        let by_digest: BTreeMap<&Digest, &Descriptor> =
            blobs.iter().map(|blob| (&blob.digest, blob)).collect();
        let by_diff_id: BTreeMap<&Digest, &Descriptor> = match diff_ids {
            Some(diff_ids) if diff_ids.len() != blobs.len() => {
                return Err(wrong("the image has another number of layers than diffIDs"));
            }
            Some(diff_ids) => diff_ids.iter().zip(blobs).collect(),
            None => BTreeMap::new(),
        };
        let layers = self.layers.iter().map(|layer| {
            let blob = match &layer.digest {
                Some(digest) => {
                    let missing = || wrong("it names a layer that its manifest does not");
                    Some(*by_digest.get(digest).ok_or_else(missing)?)
                }
                None => by_diff_id.get(&layer.diff_id).copied(),
            };
            if blob.is_some_and(|blob| media_type::layer_compression(&blob.media_type).is_none()) {
                return Err(wrong("it names something as a layer that is none"));
            }
            Ok(Claim {
                diff_id: layer.diff_id.clone(),
                // Where else the bytes might be had, and what else is said of them, is nothing that a cache decides.
                blob: blob.map(|blob| Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size)),
            })
        });
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let mut claims = Claims::new();
        for (key, layer) in &self.steps {
            let key = key.parse().map_err(|()| wrong("a key is none"))?;
            let claim = match layer {
                Some(index) => {
                    let claim = layers
                        .get(*index)
                        .ok_or_else(|| wrong("a step gives a layer that is not listed"))?;
                    Some(claim.clone())
                }
                None => None,
            };
            claims.insert(key, claim);
        }
        Ok(claims)
    }
}

/// The version comes first: what a later one says otherwise must not look broken.
fn versioned(value: serde_json::Value) -> Result<Document, DocumentError> {
    let found = value.get("version").and_then(serde_json::Value::as_u64);
    match found.and_then(|found| u32::try_from(found).ok()) {
        Some(VERSION) => serde_json::from_value(value).map_err(|source| DocumentError::Json { source }),
        Some(found) => Err(DocumentError::Version { found }),
        None => Err(DocumentError::None),
    }
}

#[cfg(test)]
mod tests;
