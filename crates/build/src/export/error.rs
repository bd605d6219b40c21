//! Why an image could not be put together, kept, or written somewhere.

use std::path::PathBuf;

use shipway_oci::{Digest, EncodeError, ManifestError};
use shipway_store::{CommitError, PutCacheRecordError, PutManifestError, StoreError};

use crate::compression::CompressError;

/// Why an image could not be put together, kept, or written somewhere.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be written as JSON.
    #[error("cannot write the image's configuration")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// Its configuration or a layer cannot be kept.
    #[error("cannot keep a blob of the image")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// Its manifest is refused by our own parser.
    #[error("the image's manifest is not valid: it has too many layers")]
    Manifest {
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Its manifest cannot be kept.
    #[error("cannot keep the image's manifest")]
    Put {
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// What was asked for contradicts itself.
    #[error("{what}")]
    Conflict {
        /// What, and what to do.
        what: String,
    },
    /// The store failed.
    #[error("cannot use the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A layer cannot be read.
    #[error("cannot read the layer {layer}")]
    Layer {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A layer is not the one that the configuration promises.
    #[error("the layer {layer} holds {found}, but its image's configuration promises {expected}")]
    DiffId {
        /// Its blob.
        layer: Digest,
        /// What was promised.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// A layer cannot be compressed in another way.
    #[error("cannot compress the layer {layer}")]
    Compress {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: CompressError,
    },
    /// What a layer is in another compression cannot be remembered.
    #[error("cannot remember the compressed layer")]
    Remember {
        /// Why.
        #[source]
        source: PutCacheRecordError,
    },
    /// The packages of a layer could not be looked up.
    #[error("cannot look for packages in the layer {layer}")]
    Scan {
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The image has too many files.
    #[error("the image has more than {limit} files, the most that are written out")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A file of the image cannot be written out.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its path in the image.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
