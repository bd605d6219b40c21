//! The one who decides, over the store that knows people and jobs.

use std::fmt;
use std::sync::Arc;

use shipway_oci::RepositoryName;
use shipway_store::{Store, StoreError};

use crate::identity;
use crate::login::Logins;
use crate::rights::{self, Strangers};
use crate::token::Signer;
use crate::witness::{JobWitness, LookUpError};
use crate::{Action, Principal};

/// Decides who may do what. Clones share what they remember.
#[derive(Clone)]
pub struct Access {
    pub(crate) store: Store,
    pub(crate) signer: Arc<Signer>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) identity: [u8; 32],
    pub(crate) witness: Option<Arc<dyn JobWitness>>,
    strangers: Strangers,
}

/// Access could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The store failed.
    #[error("cannot look up who may do what")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
    /// A password could not be hashed.
    #[error("cannot hash the password: {reason}")]
    Hash {
        /// The hash function's own words.
        reason: String,
    },
    /// A token could not be written.
    #[error("cannot write the token")]
    Encode {
        /// The encoder's own words.
        #[source]
        source: serde_json::Error,
    },
}

impl Access {
    /// Decides for a store. Who is not known may do nothing; that a job has a token is enough to know it, until there is
    /// [a witness](Self::with_witness).
    pub fn new(store: Store) -> Result<Self, AccessError> {
        let secret = store.secret("access tokens")?;
        let signer = Signer::new(secret, store.id());
        Ok(Self {
            store,
            signer: Arc::new(signer),
            logins: Arc::new(Logins::new()),
            identity: identity::key(&secret),
            witness: None,
            strangers: Strangers::Refused,
        })
    }

    /// The same, but who is not known may pull from everywhere.
    #[must_use]
    pub fn with_anonymous_pull(self) -> Self {
        Self {
            strangers: Strangers::MayPull,
            ..self
        }
    }

    /// The same, but the token of a job whose process is dead is worth nothing.
    #[must_use]
    pub fn with_witness(self, witness: Arc<dyn JobWitness>) -> Self {
        Self {
            witness: Some(witness),
            ..self
        }
    }

    /// Somebody who was known a while ago, with the rights of now; `None` when the user was removed, the job's token
    /// is no longer valid or its process is dead. A short read.
    pub fn current(&self, principal: &Principal) -> Result<Option<Principal>, LookUpError> {
        Ok(match principal {
            Principal::Anonymous => Some(Principal::Anonymous),
            Principal::Job { project, job } => {
                let is_known = self.store.job_has_token(project.as_str(), *job)? && self.may_live(*job)?;
                is_known.then(|| principal.clone())
            }
            Principal::User { name, .. } => self.store.user(name.as_str())?.map(|user| Principal::User {
                name: name.clone(),
                administrator: user.administrator,
            }),
        })
    }

    /// Whether somebody may do something in a repository.
    pub fn allows(&self, principal: &Principal, repository: &RepositoryName, action: Action) -> bool {
        rights::allows(self.strangers, principal, repository, action)
    }

    /// Whether somebody may see the names of all repositories.
    pub fn may_list(&self, principal: &Principal) -> bool {
        rights::may_list(self.strangers, principal)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("strangers", &self.strangers)
            .finish_non_exhaustive()
    }
}
