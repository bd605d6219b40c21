//! Blobs as a repository shows them: look, read, mount, remove.

use std::fs::File;

use shipway_access::{Action, Principal};
use shipway_oci::{Digest, RepositoryName};
use shipway_store::BlobInfo;

use super::Authority;
use crate::wire::{ErrorCode, RegistryError};

/// How many repositories are looked at when a mount names none.
const MOST_MOUNT_SOURCES: usize = 64;

impl Authority {
    /// A blob that this repository holds. The store extends the blob's lease in the same statement, so that a client
    /// which was told "it is here" can rely on it for its manifest.
    pub fn blob(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo, RegistryError> {
        self.check(principal, repository, Action::Pull)?;
        self.held_blob(repository, digest)?
            .ok_or_else(|| unknown_blob(repository, digest))
    }

    /// A blob's bytes.
    pub fn open_blob(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(BlobInfo, File), RegistryError> {
        let info = self.blob(principal, repository, digest)?;
        let file = self.store.open_blob(digest).map_err(RegistryError::internal)?;
        Ok((info, file))
    }

    /// Makes a blob of another repository readable through this one, if the principal may read it there.
    ///
    /// Without `from`, any repository will do that holds the blob, that the principal may pull from, and that
    /// `brought` admits (a token may stand for less than its owner's rights). `None` means that the client has to
    /// upload the bytes: it is not told whether the blob exists somewhere.
    pub fn mount(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
        brought: &dyn Fn(&RepositoryName) -> bool,
    ) -> Result<Option<BlobInfo>, RegistryError> {
        self.check(principal, repository, Action::Push)?;
        if let Some(info) = self.held_blob(repository, digest)? {
            return Ok(Some(info));
        }
        let may_read =
            |source: &RepositoryName| brought(source) && self.allows(principal, source, Action::Pull);
        let sources = match from {
            Some(source) => vec![source.clone()],
            None => self
                .store
                .blob_repositories(digest, MOST_MOUNT_SOURCES)
                .map_err(RegistryError::internal)?,
        };
        for source in sources.iter().filter(|source| may_read(source)) {
            if self.held_blob(source, digest)?.is_some() {
                return self
                    .store
                    .link_blob(repository, digest)
                    .map_err(RegistryError::internal);
            }
        }
        Ok(None)
    }

    /// Makes blobs of this store readable through the repository, with one sync for all.
    ///
    /// For callers in this process that hold the blobs by other means (an image of theirs that they push): no client
    /// can reach this, because over the network the proof of having a blob is to send it.
    pub(crate) fn adopt_blobs(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<(), RegistryError> {
        self.check(principal, repository, Action::Push)?;
        let missing = self
            .store
            .link_blobs(repository, digests)
            .map_err(RegistryError::internal)?;
        missing
            .first()
            .map_or(Ok(()), |digest| Err(unknown_blob(repository, digest)))
    }

    /// Makes a blob unreadable through this repository.
    pub fn delete_blob(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.check(principal, repository, Action::Delete)?;
        match self
            .store
            .unlink_blob(repository, digest)
            .map_err(RegistryError::internal)?
        {
            true => Ok(()),
            false => Err(unknown_blob(repository, digest)),
        }
    }

    fn held_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>, RegistryError> {
        self.store
            .repository_blob(repository, digest)
            .map_err(RegistryError::internal)
    }
}

fn unknown_blob(repository: &RepositoryName, digest: &Digest) -> RegistryError {
    RegistryError::with_message(
        ErrorCode::BlobUnknown,
        format!("`{repository}` has no blob {digest}"),
    )
    .with_detail(serde_json::json!({ "digest": digest }))
}
