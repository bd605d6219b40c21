//! Lists: tags, repositories, referrers. All come sorted and in pages that the store cuts by key.

use shipway_access::{Action, Principal};
use shipway_oci::{Digest, RepositoryName, Tag};
use shipway_store::{Referrers, ReferrersPage};

use super::Authority;
use crate::wire::{ErrorCode, RegistryError};

impl Authority {
    /// The tags of a repository after `last`.
    pub fn tags(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        last: Option<&Tag>,
        limit: usize,
    ) -> Result<Vec<Tag>, RegistryError> {
        self.check(principal, repository, Action::Pull)?;
        let tags = self
            .store
            .tags(repository, last, limit)
            .map_err(RegistryError::internal)?;
        if tags.is_empty()
            && !self
                .store
                .repository_exists(repository)
                .map_err(RegistryError::internal)?
        {
            return Err(RegistryError::with_message(
                ErrorCode::NameUnknown,
                format!("no repository `{repository}`"),
            ));
        }
        Ok(tags)
    }

    /// The repositories after `last`, for those who may see all of them.
    pub fn catalog(
        &self,
        principal: &Principal,
        last: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, RegistryError> {
        self.check_listing(principal)?;
        self.store
            .repositories(last, limit)
            .map_err(RegistryError::internal)
    }

    /// Refuses who may not see the names of all repositories.
    pub fn check_listing(&self, principal: &Principal) -> Result<(), RegistryError> {
        if self.access.may_list(principal) {
            return Ok(());
        }
        Err(match principal {
            Principal::Anonymous => RegistryError::with_message(
                ErrorCode::Unauthorized,
                "authentication required to list the repositories",
            ),
            known => RegistryError::with_message(
                ErrorCode::Denied,
                format!("{known} may not list the repositories"),
            ),
        })
    }

    /// The manifests that name this one as their subject. A manifest that is unknown, or yet to come, has none.
    pub fn referrers(
        &self,
        principal: &Principal,
        repository: &RepositoryName,
        subject: &Digest,
        page: ReferrersPage<'_>,
    ) -> Result<Referrers, RegistryError> {
        self.check(principal, repository, Action::Pull)?;
        self.store
            .referrers(repository, subject, page)
            .map_err(RegistryError::internal)
    }
}
