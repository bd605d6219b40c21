//! From a name to a manifest's bytes, and where they may come from: mirrors, the registry itself, ourselves.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use shipway_oci::{
    Digest, MAX_MANIFEST_BYTES, Reference, RegistryName, RepositoryName, VerifyError, media_type, with_causes,
};

use super::Inner;
use super::endpoint::Location;
use super::error::ClientError;
use super::options::RegistryCredentials;
use super::ours::Ours;
use super::session::Session;
use crate::wire::{DOCKER_CONTENT_DIGEST, ManifestReference, Query};

/// What a name stands for at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes, verified.
    pub bytes: Bytes,
}

/// A repository that can be read.
pub(super) enum Source {
    Ours(Ours),
    Remote(Session),
}

impl Inner {
    /// The mirrors of a registry, in the order to ask.
    pub(super) fn mirrors_of(&self, registry: &RegistryName) -> impl Iterator<Item = &RegistryName> {
        let mirrors = self.options.mirrors.iter();
        mirrors
            .filter(move |mirror| mirror.of == *registry)
            .map(|mirror| &mirror.at)
    }

    /// A mirror gave no image, and the next source is asked. That it lacks one or wants a password is what mirrors do; of
    /// anything else people are told once, for nobody would look for a mirror that has long been useless.
    pub(super) fn pass_over(&self, mirror: &RegistryName, error: &ClientError) {
        tracing::debug!(%mirror, error = with_causes(error), "a mirror was passed over");
        if matches!(error, ClientError::NotFound { .. } | ClientError::Denied { .. }) {
            return;
        }
        let mut told = self
            .useless_mirrors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.insert(mirror.clone()) {
            (self.options.warn)(&format!(
                "the mirror {mirror} is passed over: {}",
                with_causes(error)
            ));
        }
    }
}

/// A source before it is opened; each is opened only when its turn comes.
pub(super) enum SourceName {
    Mirror(RegistryName),
    Registry,
}

impl Source {
    pub(super) async fn open(
        inner: &Arc<Inner>,
        name: &SourceName,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, ClientError> {
        let scopes = vec![format!("repository:{}:pull", reference.repository)];
        // Credentials are for the registry, not for whoever mirrors it.
        let (at, credentials) = match name {
            SourceName::Mirror(at) => (at, None),
            SourceName::Registry => (&reference.registry, credentials),
        };
        match inner.locate(at).await? {
            Location::Ours(authority) => {
                let ours = Ours::enter(at, authority, Some(&reference.repository), credentials).await?;
                Ok(Self::Ours(ours))
            }
            Location::Remote(mut endpoint) => {
                if let SourceName::Mirror(_) = name {
                    endpoint.namespace = Some(reference.registry.clone());
                }
                Ok(Self::Remote(Session::new(inner, endpoint, scopes, credentials)))
            }
        }
    }

    pub(super) async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<Resolved, ClientError> {
        let what = format!("the image `{repository}` `{reference}`");
        match self {
            Self::Ours(ours) => ours.manifest(repository, reference, &what).await,
            Self::Remote(session) => remote_manifest(session, repository, reference, &what).await,
        }
    }
}

/// What a reference asks a registry for: its digest decides where it has one.
pub(super) fn selector(reference: &Reference) -> ManifestReference {
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => ManifestReference::Digest(digest.clone()),
        (None, Some(tag)) => ManifestReference::Tag(tag.clone()),
        (None, None) => ManifestReference::Tag(shipway_oci::Tag::latest()),
    }
}

async fn remote_manifest(
    session: &Session,
    repository: &RepositoryName,
    reference: &ManifestReference,
    what: &str,
) -> Result<Resolved, ClientError> {
    let registry = &session.endpoint.registry;
    let url = session
        .endpoint
        .url(&format!("{repository}/manifests/{reference}"), Query::default());
    let accept = media_type::MANIFESTS.join(", ");
    let accept = HeaderValue::try_from(accept).unwrap_or(HeaderValue::from_static("*/*"));
    let request = session.endpoint.request(Method::GET, url).header(ACCEPT, accept);
    let response = session.send(request).await?;
    if !response.status().is_success() {
        return Err(session.refusal(what, response).await);
    }
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let said = header(DOCKER_CONTENT_DIGEST)
        .map(str::parse::<Digest>)
        .transpose();
    let said = said.map_err(|source| ClientError::Digest {
        registry: registry.clone(),
        source,
    })?;
    let kind = header(CONTENT_TYPE)
        .map(media_type::essence)
        .unwrap_or_default()
        .to_owned();
    let bytes = session.body(response, MAX_MANIFEST_BYTES).await?;
    let expected = match reference {
        ManifestReference::Digest(digest) => Some(digest.clone()),
        ManifestReference::Tag(_) => said,
    };
    let algorithm = expected
        .as_ref()
        .map_or(shipway_oci::Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, &bytes);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        let source = VerifyError::WrongDigest {
            expected,
            found: digest,
        };
        return Err(ClientError::Damaged {
            registry: registry.clone(),
            source,
        });
    }
    Ok(Resolved {
        digest,
        media_type: kind,
        bytes,
    })
}
