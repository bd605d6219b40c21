//! Making a runner known to a GitLab and asking whether it still is, and its section of `config.toml`.
//!
//! The halves are apart: [`GitLab`] verifies or makes a runner and gives the token to keep, [`ConfigurationFile`] writes
//! it down. A token that is not written down is lost, so the file is opened, parsed and made ready to be replaced before
//! GitLab is asked, and changed only after GitLab has accepted the runner.

mod file;
mod gitlab;
mod section;

pub use file::{ConfigurationFile, WriteError};
pub use gitlab::{GitLab, RegistrationError};
pub use section::{DockerSection, NewExecutor, NewRunner};

use serde::Serialize;
use shipway_access::Secret;

/// What the tokens of runners begin with that were made in GitLab's pages.
const MADE_IN_PAGES: &str = "glrt-";

/// Which jobs of protected branches and tags a runner takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// All jobs.
    NotProtected,
    /// Those of protected branches and tags only.
    RefProtected,
}

/// What a runner tells about itself where it is registered by a registration token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Description {
    /// For people.
    pub description: String,
    /// Which jobs it takes, separated by commas.
    pub tag_list: String,
    /// Whether it takes jobs without tags too.
    pub run_untagged: bool,
    /// Whether it stays with its project.
    pub locked: bool,
    /// Where it does not say, GitLab decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_level: Option<AccessLevel>,
    /// Seconds a job may take at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_timeout: Option<u64>,
    /// Whether it waits for somebody to let it work.
    pub paused: bool,
    /// For administrators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintenance_note: String,
}

/// What GitLab knows a runner by.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its number; older GitLabs do not tell it of a runner that is only verified.
    pub id: Option<u64>,
    /// What it shows from now on.
    pub token: Secret,
}

/// Whether a token is that of a runner that GitLab's pages have made: everything but its name is set there.
pub fn is_made_in_pages(token: &Secret) -> bool {
    token.expose().starts_with(MADE_IN_PAGES)
}
