//! A job's password for the registry: good for its own project, for as long as the job may run.

use shipway_access::{Access, Secret};
use shipway_oci::RepositoryName;
use std::error::Error;
use std::time::Duration;

/// What a token outlives its job's timeout by: preparing and cleaning up count too.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// A job token. It is worth nothing once this is dropped, or, if the process dies first, when the dead job is found
/// ([`crate::forget_dead_jobs`]), at the latest after its lifetime.
pub struct JobToken {
    access: Access,
    secret: Secret,
}

impl JobToken {
    /// A token for one job of a project.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub fn issue(
        access: &Access,
        project: &RepositoryName,
        job: u64,
        timeout: Duration,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let secret = access.issue_job_token(project, job, timeout.saturating_add(MARGIN))?;
        Ok(Self {
            access: access.clone(),
            secret,
        })
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl Drop for JobToken {
    fn drop(&mut self) {
        if let Err(error) = self.access.revoke_job_token(&self.secret) {
            tracing::warn!(error = %error, "a job token could not be revoked; it ends with its lifetime");
        }
    }
}
