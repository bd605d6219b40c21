//! How bytes come in.
//!
//! An upload is a row and a file that survive a restart; it belongs to one repository. Nothing is acknowledged before
//! the store has synced it, and nothing that arrived is thrown away because a connection was cut.

use shipway_access::{Action, Principal};
use shipway_oci::{Algorithm, Digest, RepositoryName};
use shipway_store::{BeginUploadError, BlobInfo, CommitError, OpenUploadError, UploadId, UploadWriter};

use super::Authority;
use crate::wire::{ErrorCode, RegistryError};

impl Authority {
    /// Begins an upload. Its bytes are hashed as they come, by the algorithm that the digest at the end will have; if it
    /// has another one after all, they are read again.
    pub fn begin_upload(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<UploadId, RegistryError> {
        self.check_pusher(principal, repository)?;
        self.store
            .begin_upload_of(&principal.to_string(), repository, algorithm)
            .map_err(|error| match error {
                BeginUploadError::TooManyOfOwner { .. } | BeginUploadError::TooMany { .. } => {
                    RegistryError::with_message(ErrorCode::TooManyRequests, error.to_string())
                }
                BeginUploadError::Store { source } => RegistryError::internal(source),
            })
    }

    /// Goes on with an upload. One writer at a time.
    pub fn open_upload(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadWriter, RegistryError> {
        self.check_pusher(principal, repository)?;
        match self.store.open_upload(repository, id) {
            Ok(Some(upload)) => Ok(upload),
            Ok(None) => Err(RegistryError::new(ErrorCode::BlobUploadUnknown)),
            Err(busy @ OpenUploadError::Busy) => Err(RegistryError::with_message(
                ErrorCode::BlobUploadInvalid,
                busy.to_string(),
            )
            .with_status(http::StatusCode::CONFLICT)),
            Err(OpenUploadError::Store { source }) => Err(RegistryError::internal(source)),
        }
    }

    /// Where an upload stands.
    pub fn upload_offset(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<u64, RegistryError> {
        self.check_pusher(principal, repository)?;
        let offset = self
            .store
            .upload_offset(repository, id)
            .map_err(RegistryError::internal)?;
        offset.ok_or_else(|| RegistryError::new(ErrorCode::BlobUploadUnknown))
    }

    /// Ends an upload: its bytes become a blob of its repository, if they are the promised ones. The bytes may have taken
    /// hours, so whoever sent them is looked up again; refused, the upload stays where it is.
    pub fn finish_upload(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        upload: UploadWriter,
        digest: &Digest,
    ) -> Result<BlobInfo, RegistryError> {
        self.check_pusher(principal, repository)?;
        upload.commit(Some(digest)).map_err(|error| match error {
            CommitError::DigestMismatch { .. } => {
                RegistryError::with_message(ErrorCode::DigestInvalid, error.to_string())
            }
            CommitError::UploadGone => {
                RegistryError::with_message(ErrorCode::BlobUploadUnknown, error.to_string())
            }
            CommitError::Store { source } => RegistryError::internal(source),
        })
    }

    /// Forgets an upload.
    pub fn cancel_upload(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<(), RegistryError> {
        self.check_pusher(principal, repository)?;
        match self
            .store
            .cancel_upload(repository, id)
            .map_err(RegistryError::internal)?
        {
            true => Ok(()),
            false => Err(RegistryError::new(ErrorCode::BlobUploadUnknown)),
        }
    }

    /// Refuses who may not push, or is not known any more: an upload outlives the token that began it, but not the user
    /// or the job.
    pub(super) fn check_pusher(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
    ) -> Result<(), RegistryError> {
        let principal = self.still(principal)?;
        self.check(&principal, repository, Action::Push)
    }
}
