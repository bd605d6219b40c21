//! A job's password for the registry: good for its own project, for as long as the job may run.

use shipway_access::{Access, Secret};
use shipway_oci::RepositoryName;
use std::error::Error;
use std::time::Duration;

use crate::JobClaim;

/// What a token outlives its job's timeout by: preparing and cleaning up count too.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// A job token. It is worth nothing once this is dropped. If the process dies first, it stays in the store until the dead job is
/// found ([`crate::forget_dead_jobs`]) or its lifetime is over; who looks at [the marks](crate::JobMarks) takes it no more.
pub struct JobToken {
    access: Access,
    secret: Secret,
}

impl JobToken {
    /// A token for one job of a project, which is marked as running: a sweep revokes the tokens of all others.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub fn issue(
        access: &Access,
        project: &RepositoryName,
        claim: &JobClaim,
        timeout: Duration,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let secret = access.issue_job_token(project, claim.job(), timeout.saturating_add(MARGIN))?;
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
