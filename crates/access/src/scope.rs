//! Scopes: what a client asks a token for. `repository:group/app:pull,push`.
//!
//! The name may hold a colon (`repository:registry.example.com:5000/group/app:pull`), so only the first and the last
//! colon separate. A host in front of the name is dropped: rights are asked for the repository *here*, so naming another
//! host gains nothing. The names of all repositories have a scope of their own, `registry:catalog:*`. Kinds and actions that are not ours are passed over, as the protocol wants it: to be granted less
//! than one asked for is no error.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use shipway_oci::{RegistryName, RepositoryName};

use crate::Action;

/// Scopes of one request that are looked at; more than any client sends.
const MOST_SCOPES: usize = 100;
/// A longer one is none.
const LONGEST_SCOPE: usize = 1024;
const CATALOG: &str = "registry:catalog:*";

/// Something that a token may be good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccessScope {
    /// Actions in one repository.
    Repository {
        /// Where.
        repository: RepositoryName,
        /// What.
        actions: BTreeSet<Action>,
    },
    /// The names of all repositories.
    Catalog,
}

/// A text that asks for nothing that we have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no scope of ours: expected `repository:NAME:ACTION,…`, for example `repository:group/app:pull,push`, or \
     `registry:catalog:*`"
)]
pub struct AccessScopeError;

impl AccessScope {
    /// Actions in one repository.
    pub fn new(repository: RepositoryName, actions: impl IntoIterator<Item = Action>) -> Self {
        Self::Repository {
            repository,
            actions: actions.into_iter().collect(),
        }
    }

    /// Reads scopes separated by spaces, as some clients send them. What is none is passed over.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.split_ascii_whitespace()
            .take(MOST_SCOPES)
            .filter_map(|scope| scope.parse().ok())
            .collect()
    }
}

impl FromStr for AccessScope {
    type Err = AccessScopeError;

    fn from_str(text: &str) -> Result<Self, AccessScopeError> {
        if text.len() > LONGEST_SCOPE {
            return Err(AccessScopeError);
        }
        if text == CATALOG {
            return Ok(Self::Catalog);
        }
        let (kind, rest) = text.split_once(':').ok_or(AccessScopeError)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(AccessScopeError)?;
        // `repository(plugin)` is a class that docker once had.
        if kind.split('(').next() != Some("repository") {
            return Err(AccessScopeError);
        }
        let repository = repository_in(name).ok_or(AccessScopeError)?;
        let actions = actions.split(',').flat_map(|action| match action {
            "pull" => &[Action::Pull][..],
            "push" => &[Action::Push],
            "delete" => &[Action::Delete],
            "*" => &Action::ALL,
            _ => &[],
        });
        Ok(Self::new(repository, actions.copied()))
    }
}

/// The repository's name, with or without a host and port in front of it.
fn repository_in(name: &str) -> Option<RepositoryName> {
    if let Ok(repository) = name.parse() {
        return Some(repository);
    }
    let (host, path) = name.split_once('/')?;
    // Without a colon it would be a path, and a path with that fault is refused.
    host.parse::<RegistryName>().ok().filter(|_| host.contains(':'))?;
    path.parse().ok()
}

impl fmt::Display for AccessScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Repository { repository, actions } = self else {
            return f.write_str(CATALOG);
        };
        write!(f, "repository:{repository}:")?;
        for (index, action) in actions.iter().enumerate() {
            write!(f, "{}{action}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
