//! Why an archive of images was not loaded.

use std::io;

use shipway_oci::{ConfigError, Digest, EncodeError, ManifestError};
use shipway_store::{CommitError, PutManifestError, StoreError};

use super::documents::{DOCKER_MANIFEST, OCI_INDEX};
use super::tar::TarError;
use crate::image::LoadImageError;

/// An archive was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stream cannot be read or decompressed.
    #[error("cannot read the archive")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no tar.
    #[error("the archive is no usable tar")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// It exceeds a limit.
    #[error("the archive has more than {limit} {what}, the most that is accepted")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: usize,
    },
    /// It is no archive of images.
    #[error("the archive holds no image: it has neither `{DOCKER_MANIFEST}` nor `{OCI_INDEX}`")]
    NoImages,
    /// A document cannot be understood.
    #[error("`{document}` of the archive cannot be understood")]
    Document {
        /// Its name.
        document: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document that lists manifests cannot be understood.
    #[error("`{document}` of the archive cannot be understood")]
    Manifest {
        /// Its name or digest.
        document: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A configuration cannot be understood.
    #[error("the configuration `{path}` of the archive cannot be understood")]
    Config {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// A document names a file that is not there.
    #[error("`{document}` names `{path}`, which is not in the archive")]
    Missing {
        /// Who names it.
        document: String,
        /// What is missing.
        path: String,
    },
    /// A layer is not the one that the configuration promises.
    #[error("the layer `{path}` has the digest {found}, but its image's configuration promises {expected}")]
    DiffId {
        /// Its path.
        path: String,
        /// What was promised.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// Configuration and list of layers disagree.
    #[error("the image `{config}` has {layers} layers, but its configuration names {diff_ids}")]
    LayerCount {
        /// Path of the configuration.
        config: String,
        /// Layers listed.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// A file of the archive cannot be kept, or is not what its name says.
    #[error("cannot keep `{path}` of the archive")]
    Commit {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: CommitError,
    },
    /// The store failed.
    #[error("cannot keep the archive's images in the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An image cannot be named.
    #[error("cannot keep image {manifest} of the archive")]
    Name {
        /// Its manifest.
        manifest: Digest,
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// A manifest cannot be written.
    #[error("cannot write a manifest for an image of the archive")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// An image of the archive cannot be used.
    #[error("an image of the archive cannot be used")]
    Use {
        /// Why.
        #[source]
        source: LoadImageError,
    },
}
