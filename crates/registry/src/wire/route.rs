//! The paths of the protocol, read by hand.
//!
//! A repository's name has any number of segments, and `blobs`, `manifests`, `tags` or `uploads` may be among them, so
//! the path is read from its right end. That is unambiguous: what follows the name has a fixed shape.

use percent_encoding::percent_decode_str;
use shipway_oci::{Digest, DigestError, NameError, RepositoryName, Tag};
use shipway_store::UploadId;

use super::{ErrorCode, RegistryError};

/// Where tokens come from. Under `/v2/`, so that a proxy that passes the registry on passes this on too; no
/// repository's path is that short.
pub const TOKEN_PATH: &str = "/v2/token";

/// Longer than any name, digest and fixed part together.
const LONGEST_PATH: usize = 2048;

/// What a path is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/`, which is no path of the protocol: what people open to see what this is.
    Front,
    /// `/v2/`: is this a registry, am I logged in?
    Ping,
    /// The token endpoint.
    Token,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/tags/list`.
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<tag or digest>`.
    Manifest(RepositoryName, ManifestReference),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`: where uploads begin.
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`.
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(RepositoryName, Digest),
}

/// What names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestReference {
    /// A name that may move.
    Tag(Tag),
    /// A name that cannot.
    Digest(Digest),
}

/// Why a path is none of ours.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No path of the protocol.
    #[error("no such path in the distribution API")]
    NoRoute,
    /// The name in it is malformed.
    #[error("the path holds no valid repository name")]
    Name {
        /// Why.
        #[source]
        source: NameError,
    },
    /// The digest in it is malformed.
    #[error("the path holds no valid digest")]
    Digest {
        /// Why.
        #[source]
        source: DigestError,
    },
    /// The tag in it is malformed.
    #[error("the path holds no valid tag")]
    Tag {
        /// Why.
        #[source]
        source: NameError,
    },
    /// The id of an upload in it is not one of ours.
    #[error("the path holds no upload of ours")]
    Upload,
}

impl RouteError {
    /// The answer. To ask for what has an impossible name is to ask for what is not there; to write it is a mistake.
    pub fn answer(&self, writing: bool) -> RegistryError {
        match self {
            Self::NoRoute => RegistryError::with_message(ErrorCode::Unsupported, self.to_string())
                .with_status(http::StatusCode::NOT_FOUND),
            Self::Name { source } => RegistryError::with_message(ErrorCode::NameInvalid, source.to_string()),
            Self::Digest { source } => {
                RegistryError::with_message(ErrorCode::DigestInvalid, source.to_string())
            }
            Self::Tag { source } if writing => {
                RegistryError::with_message(ErrorCode::TagInvalid, source.to_string())
            }
            Self::Tag { .. } => RegistryError::new(ErrorCode::ManifestUnknown),
            Self::Upload => RegistryError::new(ErrorCode::BlobUploadUnknown),
        }
    }
}

impl Route {
    /// Reads the path of a URL.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        if path.len() > LONGEST_PATH {
            return Err(RouteError::NoRoute);
        }
        let path = &*percent_decode_str(path).decode_utf8_lossy();
        match path {
            "" | "/" => return Ok(Self::Front),
            "/v2" | "/v2/" => return Ok(Self::Ping),
            TOKEN_PATH | "/v2/token/" => return Ok(Self::Token),
            "/v2/_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let path = path.strip_prefix("/v2/").ok_or(RouteError::NoRoute)?;

        if let Some(name) = path
            .strip_suffix("/blobs/uploads/")
            .or_else(|| path.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads(repository(name)?));
        }
        let (front, last) = path.rsplit_once('/').ok_or(RouteError::NoRoute)?;
        if let Some(name) = front.strip_suffix("/blobs/uploads") {
            let id = last.parse().map_err(|_| RouteError::Upload)?;
            return Ok(Self::Upload(repository(name)?, id));
        }
        let (name, kind) = front.rsplit_once('/').ok_or(RouteError::NoRoute)?;
        match kind {
            "tags" if last == "list" => Ok(Self::Tags(repository(name)?)),
            "manifests" => Ok(Self::Manifest(repository(name)?, ManifestReference::parse(last)?)),
            "blobs" => Ok(Self::Blob(repository(name)?, digest(last)?)),
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            _ => Err(RouteError::NoRoute),
        }
    }
}

impl ManifestReference {
    /// A colon makes it a digest: tags have none.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.contains(':') {
            digest(text).map(Self::Digest)
        } else {
            text.parse()
                .map(Self::Tag)
                .map_err(|source| RouteError::Tag { source })
        }
    }
}

impl std::fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

fn repository(text: &str) -> Result<RepositoryName, RouteError> {
    text.parse().map_err(|source| RouteError::Name { source })
}

fn digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|source| RouteError::Digest { source })
}

#[cfg(test)]
mod tests;
