//! Spaces: what names live in. A repository of the registry is one, a scope of local images and build cache is another.
//!
//! Both hold manifests and name them in the same way, so that there is one set of tables and one collection.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, Transaction};
use shipway_oci::RepositoryName;

use crate::database::row;

/// A set of local image names and build cache records that see nothing of other sets: `user`, `job/17`, `project/a/b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Box<str>);

const JOB: &str = "job/";
const LENT: &str = "lent/";
const PROJECT: &str = "project/";
const PULLED: &str = "pulled/";

/// A text that cannot name a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope's name has 1 to 512 bytes and no control characters, this one has {length} bytes")]
pub struct ScopeError {
    /// Its length.
    pub length: usize,
}

impl Scope {
    /// The images and the cache of the store's user, outside of any job.
    pub fn user() -> Self {
        Self("user".into())
    }

    /// Images that were put here on purpose under a name from outside.
    pub fn imported() -> Self {
        Self("imported".into())
    }

    /// The images of one job.
    pub fn job(job: u64) -> Self {
        Self(format!("{JOB}{job}").into())
    }

    /// The images of whatever scope that the containers of one pod stand on: they are kept for it while it lives.
    ///
    /// # Errors
    /// When a scope cannot be named after the pod.
    pub fn lent(pod: &str) -> Result<Self, ScopeError> {
        format!("{LENT}{pod}").parse()
    }

    /// What jobs of a project build from one to the next, names and cache.
    ///
    /// # Errors
    /// When the path is none that a scope can be named after.
    pub fn project(project: &str) -> Result<Self, ScopeError> {
        format!("{PROJECT}{project}").parse()
    }

    /// What jobs of a project brought here from registries: names are no other project's, bytes are everybody's.
    ///
    /// # Errors
    /// When the path is none that a scope can be named after.
    pub fn pulled(project: &str) -> Result<Self, ScopeError> {
        format!("{PULLED}{project}").parse()
    }

    /// The project whose jobs brought these images here; nothing for any other scope.
    pub fn pulled_for(&self) -> Option<&str> {
        self.0.strip_prefix(PULLED)
    }

    /// The project whose jobs build these images; nothing for any other scope.
    pub fn built_for(&self) -> Option<&str> {
        self.0.strip_prefix(PROJECT)
    }

    /// Whether it lasts: what is of a job goes with the job, what is lent with the pod.
    pub fn is_lasting(&self) -> bool {
        !self.0.starts_with(JOB) && !self.0.starts_with(LENT)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
            return Err(ScopeError { length: text.len() });
        }
        Ok(Self(text.into()))
    }
}

/// The kind and name of a space.
#[derive(Clone, Copy)]
pub(crate) struct Space<'a> {
    pub(crate) kind: i64,
    pub(crate) name: &'a str,
}

/// The kind of a repository's space.
pub(crate) const REPOSITORY: i64 = 0;
/// The kind of a scope's space.
pub(crate) const SCOPE: i64 = 1;

impl<'a> From<&'a RepositoryName> for Space<'a> {
    fn from(name: &'a RepositoryName) -> Self {
        Self {
            kind: REPOSITORY,
            name: name.as_str(),
        }
    }
}

impl<'a> From<&'a Scope> for Space<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self {
            kind: SCOPE,
            name: scope.as_str(),
        }
    }
}

impl Space<'_> {
    /// Its row, if it has one.
    pub(crate) fn find(self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        row(
            connection,
            "SELECT id FROM spaces WHERE kind = ?1 AND name = ?2",
            (self.kind, self.name),
            |row| row.get(0),
        )
    }

    /// Its row, made if need be.
    pub(crate) fn ensure(self, transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
        if let Some(id) = self.find(transaction)? {
            return Ok(id);
        }
        let sql = "INSERT INTO spaces (kind, name) VALUES (?1, ?2) RETURNING id";
        transaction
            .prepare_cached(sql)?
            .query_row((self.kind, self.name), |row| row.get(0))
    }
}
