//! A registry of our own, reached without a network: the same login, the same checks, the same commits, and no byte moved
//! when both sides are one store.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use shipway_access::{Credentials, Principal};
use shipway_oci::{Descriptor, Digest, RegistryName, RepositoryName};
use shipway_store::{ManifestWrite, Store};

use super::error::ClientError;
use super::options::{Audience, RegistryCredentials};
use super::owner::OwnerToken;
use super::resolve::Resolved;
use crate::authority::{Authority, PutManifestRequest};
use crate::wire::{ManifestReference, RegistryError};

/// Somebody logged in to a registry of ours.
#[derive(Clone)]
pub(super) struct Ours {
    registry: RegistryName,
    authority: Authority,
    principal: Principal,
    /// Held: the principal is nobody without it.
    _token: Option<Arc<OwnerToken>>,
}

impl Ours {
    /// Logs in, for one repository if it is known. A wrong password fails here with the very error that the token endpoint
    /// would send.
    pub(super) async fn enter(
        registry: &RegistryName,
        authority: Authority,
        repository: Option<&RepositoryName>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, ClientError> {
        let refused = |error| ClientError::refused(registry, "a login", error, None);
        if credentials.is_some_and(|credentials| credentials.identity_token.is_some()) {
            return Err(refused(Authority::refuse_identity_token()));
        }
        let is_owner = credentials.is_some_and(|given| given.audience == Audience::Owner);
        let credentials = credentials.filter(|_| !is_owner).map(|given| Credentials {
            username: given.username.clone(),
            password: given.password.clone(),
        });
        let (checking, owned) = (authority.clone(), repository.filter(|_| is_owner).cloned());
        let (outcome, token) = blocking(move || {
            let token = owned.map(|repository| OwnerToken::issue(checking.access(), &repository));
            let token = token.transpose().map_err(ClientError::store)?;
            let shown = token.as_ref().map(OwnerToken::credentials).or(credentials);
            Ok((checking.authenticate(shown.as_ref()), token))
        })
        .await?;
        Ok(Self {
            registry: registry.clone(),
            authority,
            principal: outcome.map_err(refused)?,
            _token: token.map(Arc::new),
        })
    }

    pub(super) async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &ManifestReference,
        what: &str,
    ) -> Result<Resolved, ClientError> {
        let (wanted, repository) = (reference.clone(), repository.clone());
        let stored = self
            .run(what, move |authority, who| {
                authority.manifest(who, &repository, &wanted)
            })
            .await?;
        Ok(Resolved {
            digest: stored.digest,
            media_type: stored.media_type,
            bytes: stored.bytes.into(),
        })
    }

    /// Makes sure that a blob of the repository is in a store.
    pub(super) async fn bring_blob(
        &self,
        repository: &RepositoryName,
        blob: &Descriptor,
        into: &Store,
    ) -> Result<(), ClientError> {
        let (repository, digest, into) = (repository.clone(), blob.digest.clone(), into.clone());
        let one_store = self.is_over(&into);
        let what = format!("the blob {digest}");
        let copied = self.run(&what, move |authority, who| {
            if one_store {
                return authority.blob(who, &repository, &digest).map(|_| Ok(()));
            }
            let (_, file) = authority.open_blob(who, &repository, &digest)?;
            Ok(copy_into(file, &into, &digest))
        });
        copied.await?
    }

    /// Whether a store is the one behind this registry.
    pub(super) fn is_over(&self, store: &Store) -> bool {
        store.id() == self.authority.id()
    }

    /// Makes blobs of the shared store ones of the repository: no byte moves.
    pub(super) async fn adopt_blobs(
        &self,
        repository: &RepositoryName,
        blobs: &[Descriptor],
    ) -> Result<(), ClientError> {
        let repository = repository.clone();
        let digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest.clone()).collect();
        self.run("the blobs", move |authority, who| {
            authority.adopt_blobs(who, &repository, &digests)
        })
        .await
    }

    /// Copies a blob of another store into the repository. `true` if it was not there before.
    pub(super) async fn put_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: &Store,
    ) -> Result<bool, ClientError> {
        let (repository, digest, from) = (repository.clone(), digest.clone(), from.clone());
        let what = format!("the blob {digest}");
        let put = self.run(&what, move |authority, who| {
            if authority.blob(who, &repository, &digest).is_ok() {
                return Ok(Ok(false));
            }
            let Ok(mut file) = from.open_blob(&digest) else {
                return Ok(Err(ClientError::Missing { digest }));
            };
            let id = authority.begin_upload(who, &repository, digest.algorithm())?;
            let mut upload = authority.open_upload(who, &repository, &id)?;
            if let Err(error) = io::copy(&mut file, &mut upload) {
                drop(upload);
                // Nobody goes on with it; what cannot be cancelled either is given up by the store in time.
                let _ = authority.cancel_upload(who, &repository, &id);
                return Ok(Err(ClientError::store(error)));
            }
            authority
                .finish_upload(who, &repository, upload, &digest)
                .map(|_| Ok(true))
        });
        put.await?
    }

    pub(super) async fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let reference = ManifestReference::Digest(digest.clone());
        self.manifest(repository, &reference, "the manifest")
            .await
            .is_ok()
    }

    pub(super) async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &ManifestWrite,
        reference: &ManifestReference,
    ) -> Result<Digest, ClientError> {
        let repository = repository.clone();
        let request = PutManifestRequest {
            bytes: Bytes::from(manifest.bytes.clone()),
            media_type: Some(manifest.media_type.clone()),
            reference: reference.clone(),
            tags: Vec::new(),
        };
        let what = format!("the manifest `{reference}`");
        let put = self
            .run(&what, move |authority, who| {
                authority.put_manifest(who, &repository, request)
            })
            .await?;
        Ok(put.digest)
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&Authority, &Principal) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (authority, principal) = (self.authority.clone(), self.principal.clone());
        let outcome = blocking(move || Ok(work(&authority, &principal))).await?;
        outcome.map_err(|error| ClientError::refused(&self.registry, what, error, None))
    }
}

fn copy_into(mut file: File, into: &Store, digest: &Digest) -> Result<(), ClientError> {
    if into.blob(digest).map_err(ClientError::store)?.is_some() {
        return Ok(());
    }
    let mut writer = into
        .begin_blob_as(digest.algorithm())
        .map_err(ClientError::store)?;
    io::copy(&mut file, &mut writer).map_err(ClientError::store)?;
    writer.commit(Some(digest)).map_err(ClientError::store)?;
    Ok(())
}

/// Work for a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ClientError::store)
        .flatten()
}
