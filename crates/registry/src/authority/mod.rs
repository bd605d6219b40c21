//! What a registry means, without saying how anybody reaches it.
//!
//! Each operation takes who asks, checks that they may, and does it in one step of the store. The HTTP server and the
//! in-process client call the very same functions, so there is one place where rights are decided and one shape in
//! which they are refused. All of it is synchronous: a caller on an async runtime moves it to a blocking thread, except
//! for the reads that are documented as short.
//!
//! Knowing a digest is no permission: a blob is reached through a repository that holds it, never by its name alone.

mod blobs;
mod listings;
mod manifests;
mod observer;
mod tokens;
mod uploads;

use std::sync::Arc;

use shipway_access::{Access, Action, Principal};
use shipway_oci::RepositoryName;
use shipway_store::{Store, StoreId};

pub use manifests::{ManifestPut, PutManifestRequest};
pub use observer::{Push, PushObserver};

use crate::wire::{ErrorCode, RegistryError};

/// A registry: a store and the rights over it.
#[derive(Clone)]
pub struct Authority {
    store: Store,
    access: Access,
    observer: Option<Arc<dyn PushObserver>>,
}

impl Authority {
    /// Over a store and its rights.
    pub fn new(store: Store, access: Access) -> Self {
        Self {
            store,
            access,
            observer: None,
        }
    }

    /// The same, but those who did not log in may pull.
    #[must_use]
    pub fn with_anonymous_pull(self) -> Self {
        Self {
            access: self.access.with_anonymous_pull(),
            ..self
        }
    }

    /// The same, but each tag that is pushed is told to an observer.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn PushObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The rights.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Which store this is: how a client finds out that no byte has to move.
    pub fn id(&self) -> &StoreId {
        self.store.id()
    }

    /// Whether this principal may do that.
    pub fn allows(&self, principal: &Principal, repository: &RepositoryName, action: Action) -> bool {
        self.access.allows(principal, repository, action)
    }

    /// Refuses what this principal may not do.
    ///
    /// Somebody unknown is asked who they are (401); somebody known is refused (403).
    pub fn check(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        action: Action,
    ) -> Result<(), RegistryError> {
        if self.allows(principal, repository, action) {
            return Ok(());
        }
        Err(match principal {
            Principal::Anonymous => RegistryError::with_message(
                ErrorCode::Unauthorized,
                format!("authentication required to {} `{repository}`", verb(action)),
            ),
            known => RegistryError::with_message(
                ErrorCode::Denied,
                format!("{known} may not {} `{repository}`", verb(action)),
            ),
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("store", self.store.id())
            .finish_non_exhaustive()
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Pull => "pull from",
        Action::Push => "push to",
        Action::Delete => "delete from",
    }
}
