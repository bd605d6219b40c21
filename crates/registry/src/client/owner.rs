//! The right of whoever may open the store behind a registry of ours: they could write into it without asking.
//!
//! It is a token like a job's, so that the same checks are made: good for just one repository, made when a registry has
//! turned out to be ours, and worth nothing once the login that it was made for is over. What a killed process leaves
//! ends with its lifetime.

use std::time::Duration;

use shipway_access::{Access, AccessError, Credentials, JOB_TOKEN_USER, NO_JOB, Secret};
use shipway_oci::RepositoryName;

/// How long one pull or push may take at most.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A token for one repository, revoked when it is dropped.
pub(super) struct OwnerToken {
    access: Access,
    secret: Secret,
}

impl OwnerToken {
    /// A new one. Writes: belongs on a blocking thread.
    pub(super) fn issue(access: &Access, repository: &RepositoryName) -> Result<Self, AccessError> {
        Ok(Self {
            access: access.clone(),
            secret: access.issue_job_token(repository, NO_JOB, LIFETIME)?,
        })
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            username: JOB_TOKEN_USER.to_owned(),
            password: self.secret.clone(),
        }
    }
}

impl Drop for OwnerToken {
    fn drop(&mut self) {
        if let Err(error) = self.access.revoke_job_token(&self.secret) {
            tracing::warn!(%error, "a token for the own registry could not be revoked; it ends with its lifetime");
        }
    }
}
