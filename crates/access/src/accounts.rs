//! Making people and jobs known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use shipway_oci::RepositoryName;
use shipway_store::{JobTokenRecord, UserRecord};

use crate::access::{Access, AccessError};
use crate::password::hash;
use crate::{Secret, UserName};

/// No job's token lives longer, whatever its pipeline says: a job that was killed cannot give it back.
const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The user name under which a job's token is a password.
pub const JOB_TOKEN_USER: &str = "gitlab-ci-token";

/// What became of a user who was to be added, as the store has it: others may add users at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// There was no such user.
    New {
        /// Whether everything is allowed.
        administrator: bool,
    },
    /// There was one, who has the new password.
    Known {
        /// Whether everything is allowed that was not before.
        promoted: bool,
    },
}

impl Access {
    /// Adds a user, or gives one that there is a new password. The first user is an administrator whatever is asked; nobody stops
    /// being one by this.
    pub fn add_user(
        &self,
        name: &UserName,
        password: &Secret,
        administrator: bool,
    ) -> Result<Added, AccessError> {
        let password_hash = hash(password)?;
        let user = UserRecord {
            name: name.as_str().to_owned(),
            password_hash,
            administrator,
        };
        if let Some(added) = self.store.add_user(&user)? {
            return Ok(Added::New {
                administrator: added.administrator,
            });
        }
        let was_administrator = self
            .store
            .user(name.as_str())?
            .is_some_and(|kept| kept.administrator);
        self.store.put_user(&UserRecord {
            administrator: administrator || was_administrator,
            ..user
        })?;
        Ok(Added::Known {
            promoted: administrator && !was_administrator,
        })
    }

    /// A new token for a job, valid for a time, at most 30 days, or until it is revoked. Only its hash is kept.
    pub fn issue_job_token(
        &self,
        project: &RepositoryName,
        job: u64,
        lifetime: Duration,
    ) -> Result<Secret, AccessError> {
        let random: [u8; 32] = rand::random();
        let token = Secret::from(format!("shipway-job-{}", URL_SAFE_NO_PAD.encode(random)));
        let expires = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_add(lifetime.min(LONGEST_LIFETIME));
        let record = JobTokenRecord {
            project: project.as_str().to_owned(),
            job,
            expires_unix: expires.as_secs(),
        };
        self.store.put_job_token(&hash_job_token(&token), &record)?;
        Ok(token)
    }

    /// Makes a job's token worthless; says whether it was worth anything.
    pub fn revoke_job_token(&self, token: &Secret) -> Result<bool, AccessError> {
        Ok(self.store.delete_job_token(&hash_job_token(token))?)
    }
}

/// The token has 256 random bits, so a plain hash keeps it as well as a slow one.
pub(crate) fn hash_job_token(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use shipway_store::Store;

    use super::*;

    #[test]
    fn no_token_lives_as_long_as_a_pipeline_may_say() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let access = Access::new(store.clone()).unwrap();
        let project = "group/app".parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for lifetime in [Duration::from_secs(9 * 365 * 86400), Duration::MAX] {
            let token = access.issue_job_token(&project, 7, lifetime).unwrap();
            let record = store.job_token(&hash_job_token(&token)).unwrap().unwrap();
            assert!(record.expires_unix - now.as_secs() <= LONGEST_LIFETIME.as_secs() + 60);
        }
        let short = access
            .issue_job_token(&project, 7, Duration::from_secs(600))
            .unwrap();
        let record = store.job_token(&hash_job_token(&short)).unwrap().unwrap();
        assert!(record.expires_unix - now.as_secs() <= 660);
    }
}
