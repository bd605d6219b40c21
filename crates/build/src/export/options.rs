//! How an image is laid down: its compression, its media types, its annotations.

use shipway_oci::media_type;

use super::annotation::Annotations;
use crate::compression::Compression;

/// Whose names an image's documents and layers have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's.
    Docker,
}

/// What an output asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// How layers that a build makes are compressed.
    pub compression: Compression,
    /// Whether layers that are there already, in another compression, are compressed so, too.
    pub force_compression: bool,
    /// Whose media types it has.
    pub media_types: MediaTypes,
    /// What is written beside.
    pub annotations: Annotations,
}

impl MediaTypes {
    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_MANIFEST,
            Self::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_INDEX,
            Self::Docker => media_type::DOCKER_MANIFEST_LIST,
        }
    }

    pub(super) fn config(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_CONFIG,
            Self::Docker => media_type::DOCKER_CONFIG,
        }
    }

    /// The name of a layer's type; the bytes of a layer are the same under both. What is no layer of ours stays.
    pub(super) fn layer(self, layer: &str) -> &str {
        const PAIRS: [(&str, &str); 3] = [
            (media_type::OCI_LAYER_TAR, media_type::DOCKER_LAYER_TAR),
            (media_type::OCI_LAYER_GZIP, media_type::DOCKER_LAYER_GZIP),
            (media_type::OCI_LAYER_ZSTD, media_type::DOCKER_LAYER_ZSTD),
        ];
        let pair = PAIRS
            .iter()
            .find(|(oci, docker)| layer == *oci || layer == *docker);
        match (pair, self) {
            (None, _) => layer,
            (Some((oci, _)), Self::Oci) => oci,
            (Some((_, docker)), Self::Docker) => docker,
        }
    }
}
