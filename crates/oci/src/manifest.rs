//! Manifests: what a registry serves under a name. One image (or artifact), or an index of several.
//!
//! Which of the two it is decides what it can reach, so it must not depend on who looks: the `mediaType` inside, the
//! type it was sent with, and its shape have to agree, and a document with both `layers` and `manifests` is refused
//! (it would be an image to one reader and an index to another).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::abridged;
use crate::json::{encode, null_is_default};
use crate::{Descriptor, Digest, EncodeError, Platform, media_type};

/// The largest manifest that is read: what the specification asks registries to take, and what others take at most.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The most layers of an image or images of an index.
pub const MAX_MANIFEST_ENTRIES: usize = 10_000;

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There are too many bytes.
    #[error("the manifest has {size} bytes, at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// There are too many entries.
    #[error("the manifest lists {count} entries, at most {MAX_MANIFEST_ENTRIES} are allowed")]
    TooManyEntries {
        /// How many.
        count: usize,
    },
    /// It is no JSON, or a field has the wrong type or is missing.
    #[error("the manifest cannot be read")]
    Json {
        /// The parser's own words, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// `schemaVersion` is not 2.
    #[error(
        "the manifest has schema version {found}, only 2 is supported: push it again with a newer client"
    )]
    SchemaVersion {
        /// What it says.
        found: u64,
    },
    /// The type is none of ours.
    #[error("`{media_type}` is no manifest type that is supported: use an OCI or a docker schema 2 manifest")]
    UnsupportedType {
        /// The type, shortened.
        media_type: String,
    },
    /// The type inside is not the one that it came with.
    #[error("the manifest calls itself `{inside}` but was sent as `{outside}`")]
    TypeMismatch {
        /// `mediaType`.
        inside: String,
        /// The type it was sent or served with.
        outside: String,
    },
    /// The shape does not fit the type, or fits both types.
    #[error(
        "the manifest could be read as an image and as an index: it needs either `manifests` or `config` and `layers`"
    )]
    Ambiguous,
}

/// A manifest of either kind.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time is held, and matching through a box helps nobody"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image or artifact.
    Image(ImageManifest),
    /// Several.
    Index(ImageIndex),
}

/// The manifest of one image or artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u64,
    /// The type of this document; OCI allows to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An index of manifests, mostly one image per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u64,
    /// The type of this document; OCI allows to leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a manifest points to, each digest once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Blobs that must be there: configuration and layers.
    pub blobs: Vec<Digest>,
    /// Blobs that may be elsewhere: layers of a type that is not to be distributed.
    pub optional_blobs: Vec<Digest>,
    /// Manifests that must be there.
    pub manifests: Vec<Digest>,
    /// Manifests that may be missing; see [`References::sparse`].
    pub optional_manifests: Vec<Digest>,
    /// The manifest that this one says something about; it need not exist.
    pub subject: Option<Digest>,
    /// Under which type the referrers list of the subject shows it: `artifactType`, else the configuration's type.
    pub artifact_type: Option<String>,
    /// The annotations that the referrers list of the subject shows; empty if there is no subject.
    pub annotations: BTreeMap<String, String>,
}

impl References {
    /// The same, but an index may list manifests that are not there.
    pub fn sparse(mut self) -> Self {
        self.optional_manifests.append(&mut self.manifests);
        self
    }
}

/// The few fields that say what a document is.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<u64>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads a manifest that came with a type (the `Content-Type` or a descriptor's), or without one.
    pub fn parse(media_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { size: bytes.len() });
        }
        let outside = media_type
            .map(media_type::essence)
            .filter(|outside| !outside.is_empty());
        if let Some(outside) = outside {
            check_supported(outside)?;
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(|source| ManifestError::Json { source })?;
        match shape.schema_version {
            Some(2) | None => {}
            Some(found) => return Err(ManifestError::SchemaVersion { found }),
        }
        if let Some(inside) = &shape.media_type {
            check_supported(inside)?;
            if let Some(outside) = outside
                && outside != inside
            {
                return Err(ManifestError::TypeMismatch {
                    inside: abridged(inside),
                    outside: abridged(outside),
                });
            }
        }
        let looks_like_image = shape.layers.is_some() || shape.config.is_some();
        let looks_like_index = shape.manifests.is_some();
        let is_index = match shape.media_type.as_deref().or(outside) {
            Some(declared) => media_type::is_index(declared),
            None => looks_like_index,
        };
        if (is_index && looks_like_image) || (!is_index && looks_like_index) {
            return Err(ManifestError::Ambiguous);
        }
        let manifest = if is_index {
            serde_json::from_slice(bytes).map(Self::Index)
        } else {
            serde_json::from_slice(bytes).map(Self::Image)
        }
        .map_err(|source| ManifestError::Json { source })?;
        let count = match &manifest {
            Self::Image(image) => image.layers.len(),
            Self::Index(index) => index.manifests.len(),
        };
        if count > MAX_MANIFEST_ENTRIES {
            return Err(ManifestError::TooManyEntries { count });
        }
        Ok(manifest)
    }

    /// The type of this document: what it says itself, else OCI's.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Image(image) => image.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// All that this manifest points to.
    pub fn references(&self) -> References {
        let mut references = References {
            subject: self.subject().map(|d| d.digest.clone()),
            ..References::default()
        };
        let annotations = match self {
            Self::Image(image) => {
                let (optional, needed): (Vec<_>, Vec<_>) =
                    image.layers.iter().partition(|layer| layer.is_nondistributable());
                references.blobs = distinct(std::iter::once(&image.config).chain(needed));
                references.optional_blobs = distinct(optional.into_iter());
                references.artifact_type = image
                    .artifact_type
                    .clone()
                    .or_else(|| Some(image.config.media_type.clone()));
                &image.annotations
            }
            Self::Index(index) => {
                references.manifests = distinct(index.manifests.iter());
                references.artifact_type = index.artifact_type.clone();
                &index.annotations
            }
        };
        if references.subject.is_some() {
            references.annotations = annotations.clone();
        }
        references
    }

    /// As JSON, in a fixed order of fields.
    pub fn to_json(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Image(image) => encode("image manifest", image),
            Self::Index(index) => encode("image index", index),
        }
    }
}

impl ImageManifest {
    /// An OCI image.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            other: Map::new(),
        }
    }
}

impl ImageIndex {
    /// An OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            other: Map::new(),
        }
    }

    /// The entry that fits a platform best, the first of equals. Entries that name no platform come last.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let rank = |entry: &&Descriptor| match &entry.platform {
            Some(offered) => platform.rank(offered),
            None => Some(u32::MAX),
        };
        self.manifests
            .iter()
            .filter_map(|entry| Some((rank(&entry)?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
    }
}

fn check_supported(media_type: &str) -> Result<(), ManifestError> {
    if media_type::is_index(media_type) || media_type::is_image_manifest(media_type) {
        Ok(())
    } else {
        Err(ManifestError::UnsupportedType {
            media_type: abridged(media_type),
        })
    }
}

fn distinct<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    descriptors
        .map(|d| &d.digest)
        .filter(|digest| seen.insert(*digest))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
