//! The documents inside of image archives.

use serde::{Deserialize, Serialize};

/// `manifest.json` of a docker archive: one entry per image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerEntry {
    /// Path of the configuration in the archive.
    pub(super) config: String,
    /// Names.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) repo_tags: Vec<String>,
    /// Paths of the layers, bottom first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) layers: Vec<String>,
}

/// `oci-layout`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciLayout {
    pub(super) image_layout_version: String,
}

/// Names of files with a meaning.
pub(super) const DOCKER_MANIFEST: &str = "manifest.json";
pub(super) const OCI_INDEX: &str = "index.json";
pub(super) const OCI_LAYOUT: &str = "oci-layout";

/// Annotations of an index's entries that hold names: a whole one, and one that may be only a tag.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Go writes an empty list as null.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
