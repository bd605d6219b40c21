//! Manifests: what gives blobs a meaning and a name.

use bytes::Bytes;
use shipway_access::{Action, Principal};
use shipway_oci::{Digest, Manifest, RepositoryName, Tag, with_causes};
use shipway_store::{ManifestSelector, ManifestWrite, PutManifestError, StoredManifest};

use super::{Authority, Push};
use crate::wire::{ErrorCode, ManifestReference, RegistryError};

/// A manifest to be stored.
#[derive(Debug, Clone)]
pub struct PutManifestRequest {
    /// Its bytes, kept as they are.
    pub bytes: Bytes,
    /// The type that the client gave.
    pub media_type: Option<String>,
    /// The tag it shall get, or the digest it is said to have.
    pub reference: ManifestReference,
    /// Further tags.
    pub tags: Vec<Tag>,
}

/// A manifest that was stored.
#[derive(Debug, Clone)]
pub struct ManifestPut {
    /// Its digest.
    pub digest: Digest,
    /// The manifest that it says something about.
    pub subject: Option<Digest>,
}

impl Authority {
    /// A manifest, by tag or digest. A short read: may be called on an async thread.
    pub fn manifest(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<StoredManifest, RegistryError> {
        self.check(principal, repository, Action::Pull)?;
        let selector = match reference {
            ManifestReference::Tag(tag) => ManifestSelector::Tag(tag.clone()),
            ManifestReference::Digest(digest) => ManifestSelector::Digest(digest.clone()),
        };
        let manifest = self
            .store
            .manifest(repository, &selector)
            .map_err(RegistryError::internal)?;
        manifest.ok_or_else(|| unknown_manifest(repository, reference))
    }

    /// Stores a manifest and moves its tags, in one transaction. Whoever pushes is looked up again: the manifest may have come slowly,
    /// and what it names slower still.
    pub fn put_manifest(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        request: PutManifestRequest,
    ) -> Result<ManifestPut, RegistryError> {
        self.check_pusher(principal, repository)?;
        let manifest = Manifest::parse(request.media_type.as_deref(), &request.bytes)
            .map_err(|error| RegistryError::with_message(ErrorCode::ManifestInvalid, with_causes(&error)))?;
        let mut tags = request.tags;
        let digest = match request.reference {
            ManifestReference::Tag(tag) => {
                tags.insert(0, tag);
                Digest::sha256(&request.bytes)
            }
            ManifestReference::Digest(expected) => {
                let found = Digest::of(expected.algorithm(), &request.bytes);
                if found != expected {
                    return Err(RegistryError::with_message(
                        ErrorCode::DigestInvalid,
                        format!("the manifest has the digest {found}, not {expected}"),
                    ));
                }
                expected
            }
        };
        // An index may list images that were never copied here: mirrors of one platform do.
        let references = manifest.references().sparse();
        let subject = references.subject.clone();
        let write = ManifestWrite {
            media_type: manifest.media_type().to_owned(),
            bytes: request.bytes.into(),
            digest: digest.clone(),
            references,
            tags,
        };
        match self.store.put_manifest(repository, &write) {
            Ok(()) => {
                self.tell(principal, repository, &write);
                Ok(ManifestPut { digest, subject })
            }
            Err(PutManifestError::MissingBlob { digest, .. }) => Err(RegistryError::with_message(
                ErrorCode::ManifestBlobUnknown,
                format!("the manifest refers to {digest}, which `{repository}` does not have: push it first"),
            )
            .with_detail(serde_json::json!({ "digest": digest }))),
            Err(other) => Err(RegistryError::internal(other)),
        }
    }

    fn tell(&self, principal: &Principal, repository: &RepositoryName, write: &ManifestWrite) {
        let Some(observer) = &self.observer else {
            return;
        };
        for tag in &write.tags {
            observer.pushed(&Push {
                principal: principal.clone(),
                repository: repository.clone(),
                tag: tag.clone(),
                digest: write.digest.clone(),
                media_type: write.media_type.clone(),
            });
        }
    }

    /// Removes a tag, and only it; or a manifest by its digest, with all its tags.
    pub fn delete_manifest(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<(), RegistryError> {
        self.check(principal, repository, Action::Delete)?;
        let removed = match reference {
            ManifestReference::Tag(tag) => self.store.delete_tag(repository, tag),
            ManifestReference::Digest(digest) => self.store.delete_manifest(repository, digest),
        };
        match removed.map_err(RegistryError::internal)? {
            true => Ok(()),
            false => Err(unknown_manifest(repository, reference)),
        }
    }
}

fn unknown_manifest(repository: &RepositoryName, reference: &ManifestReference) -> RegistryError {
    RegistryError::with_message(
        ErrorCode::ManifestUnknown,
        format!("`{repository}` has no manifest `{reference}`"),
    )
}
