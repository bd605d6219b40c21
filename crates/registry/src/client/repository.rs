//! A repository that is read piece by piece: for who needs a manifest now and some of its blobs later, if at all.
//!
//! Apart from a pull, which brings an image whole or fails.

use std::sync::Arc;

use shipway_oci::{Descriptor, Digest, Reference};
use shipway_store::Store;

use super::Inner;
use super::download::download;
use super::error::ClientError;
use super::options::RegistryCredentials;
use super::progress::{BlobProgress, PullProgress};
use super::resolve::{Resolved, Source, SourceName, selector};
use crate::wire::ManifestReference;

/// A repository that can be read.
pub struct OpenRepository {
    inner: Arc<Inner>,
    reference: Reference,
    source: Source,
}

impl OpenRepository {
    pub(super) async fn open(
        inner: &Arc<Inner>,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, ClientError> {
        let source = Source::open(inner, &SourceName::Registry, reference, credentials).await?;
        Ok(Self {
            inner: Arc::clone(inner),
            reference: reference.clone(),
            source,
        })
    }

    /// The manifest that the reference names.
    ///
    /// # Errors
    /// When the registry does not have it, or sends other bytes than its digest says.
    pub async fn resolve(&self) -> Result<Resolved, ClientError> {
        self.source
            .manifest(&self.reference.repository, &selector(&self.reference))
            .await
    }

    /// Another manifest of the repository.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn manifest(&self, digest: &Digest) -> Result<Resolved, ClientError> {
        self.source
            .manifest(
                &self.reference.repository,
                &ManifestReference::Digest(digest.clone()),
            )
            .await
    }

    /// Takes note that the repository has these blobs, as a manifest that it accepted says: they are not sent to it again, and
    /// mounted from it by other repositories of the registry.
    pub fn has(&self, blobs: &[Descriptor]) {
        if let Source::Remote(session) = &self.source {
            for blob in blobs {
                self.inner.remember_origin(
                    &session.endpoint.registry,
                    &self.reference.repository,
                    &blob.digest,
                );
            }
        }
    }

    /// Brings a blob into a store, verified. One that is there already is shown by the registry, too: see `download`.
    ///
    /// # Errors
    /// When the registry does not have it, or sends other bytes.
    pub async fn bring(
        &self,
        blob: &Descriptor,
        into: &Store,
        progress: &dyn PullProgress,
    ) -> Result<(), ClientError> {
        let repository = &self.reference.repository;
        match &self.source {
            Source::Ours(ours) => {
                ours.bring_blob(repository, blob, into).await?;
                progress.blob(blob, BlobProgress::Present);
            }
            Source::Remote(session) => {
                download(session, repository, blob, into, progress).await?;
                self.inner
                    .remember_origin(&session.endpoint.registry, repository, &blob.digest);
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for OpenRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRepository")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}
