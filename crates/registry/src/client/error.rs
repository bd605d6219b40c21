//! What may go wrong with somebody's registry, sorted by what a caller can do about it.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;

use shipway_oci::{Digest, DigestError, ManifestError, Platform, RegistryName, VerifyError};

use crate::wire::RegistryError;

/// Why an image did not move.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer: the name does not resolve, nobody listens, TLS fails, or the connection is cut again and again. What was
    /// imported under the name may stand in.
    #[error("`{host}` cannot be reached")]
    Unreachable {
        /// Who was asked, with the port where it is not the usual one.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The egress policy forbids to connect.
    #[error("connections to `{host}` ({address}) are not permitted here: allow it in the egress settings")]
    Forbidden {
        /// The host asked for, as above.
        host: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Not logged in, or without the right. The registry's own words are inside.
    #[error("`{registry}` refuses access: {error}")]
    Denied {
        /// The registry.
        registry: RegistryName,
        /// What it said.
        error: Box<RegistryError>,
    },
    /// The registry does not have it.
    #[error("`{registry}` does not have {what}: {error}")]
    NotFound {
        /// The registry.
        registry: RegistryName,
        /// What was asked for.
        what: String,
        /// What it said.
        error: Box<RegistryError>,
    },
    /// The registry limits how often one may ask.
    #[error("`{registry}` limits how often it may be asked: {error}")]
    RateLimited {
        /// The registry.
        registry: RegistryName,
        /// How long it wants us to wait, if it said so.
        retry_after: Option<Duration>,
        /// What it said.
        error: Box<RegistryError>,
    },
    /// Another refusal.
    #[error("`{registry}` answered {what} with {}: {error}", error.status)]
    Refused {
        /// The registry.
        registry: RegistryName,
        /// What was asked for.
        what: String,
        /// What it said.
        error: Box<RegistryError>,
    },
    /// An answer that makes no sense.
    #[error("`{registry}` does not keep to the protocol: {problem}")]
    Protocol {
        /// The registry.
        registry: RegistryName,
        /// What is wrong.
        problem: String,
    },
    /// A manifest that cannot be read.
    #[error("the manifest of {what} from `{registry}` cannot be used")]
    Manifest {
        /// The registry.
        registry: RegistryName,
        /// Which one.
        what: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Bytes that are not the promised ones.
    #[error("`{registry}` sent other content than it promised")]
    Damaged {
        /// The registry.
        registry: RegistryName,
        /// How they differ.
        #[source]
        source: VerifyError,
    },
    /// A digest in an answer that is none.
    #[error("`{registry}` sent a malformed digest")]
    Digest {
        /// The registry.
        registry: RegistryName,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// The index has no image for the platform.
    #[error("{what} has no image for {wanted}, only for {}", offered.join(", "))]
    NoPlatform {
        /// Which image.
        what: String,
        /// The platform wanted.
        wanted: Box<Platform>,
        /// The platforms offered.
        offered: Vec<String>,
    },
    /// Our own store lacks what is to be pushed.
    #[error("{digest} is not in the local store: pull or build the image again")]
    Missing {
        /// What is missing.
        digest: Digest,
    },
    /// Our own store failed.
    #[error("the local store failed")]
    Store {
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The client's own setup cannot work.
    #[error("the registry client cannot be set up: {problem}")]
    Setup {
        /// What is wrong.
        problem: String,
        /// Why.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl ClientError {
    /// From an answer of a registry, ours or somebody's.
    pub(super) fn refused(
        registry: &RegistryName,
        what: &str,
        error: RegistryError,
        retry_after: Option<Duration>,
    ) -> Self {
        let (registry, error) = (registry.clone(), Box::new(error));
        match error.status.as_u16() {
            401 | 403 => Self::Denied { registry, error },
            404 => Self::NotFound {
                registry,
                what: what.to_owned(),
                error,
            },
            429 => Self::RateLimited {
                registry,
                retry_after,
                error,
            },
            _ => Self::Refused {
                registry,
                what: what.to_owned(),
                error,
            },
        }
    }

    pub(super) fn protocol(registry: &RegistryName, problem: impl Into<String>) -> Self {
        Self::Protocol {
            registry: registry.clone(),
            problem: problem.into(),
        }
    }

    pub(super) fn store(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Store {
            source: source.into(),
        }
    }

    /// Whether no registry was reached at all, so that an imported image may stand in.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether a registry refused what it was sent for what it is, and not for who sent it.
    pub fn is_about_content(&self) -> bool {
        self.registry_error()
            .is_some_and(|error| matches!(error.status.as_u16(), 400 | 404 | 415 | 422))
    }

    /// The registry's own words, if it said any.
    pub fn registry_error(&self) -> Option<&RegistryError> {
        match self {
            Self::Denied { error, .. }
            | Self::NotFound { error, .. }
            | Self::RateLimited { error, .. }
            | Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}
