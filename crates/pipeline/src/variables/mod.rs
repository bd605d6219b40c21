//! CI variables: what exists before a job (`predefined`), how names become host-name parts ([`slug`]), and the three
//! expanders, which differ on purpose because GitLab's do:
//!
//! - [`expand`]/[`expand_existing`]: one pass over a keyword's text on the server (`environment`, `tags`, …);
//! - [`sort_and_expand_all`]: variables in one another, before a job is handed out; leaves `$$` for the runner;
//! - [`expand_for_runner`]/[`expand_all_for_runner`]: the runner's pass over image, services, cache keys and paths.

mod expand;
pub(crate) mod predefined;
mod slug;
mod tier;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub(crate) use expand::topological;
pub use expand::{
    ExpandError, expand, expand_all_for_runner, expand_existing, expand_for_runner, sort_and_expand_all,
};
pub use slug::{environment_slug, slug};
use tier::environment_tier;

/// A variable as the runner API has it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value; for a file variable the content of the file.
    pub value: String,
    /// Whether services see it.
    pub public: bool,
    /// Whether the job gets a path to a file with the value.
    pub file: bool,
    /// Whether the value is hidden in traces.
    pub masked: bool,
    /// Whether the value is left as it is: `$` means nothing in it.
    pub raw: bool,
}

impl Variable {
    /// A variable of the configuration or predefined: visible to services, expanded.
    pub fn public(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            public: true,
            ..Self::default()
        }
    }

    /// A secret: hidden in traces, kept from services, not expanded.
    pub fn secret(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            masked: true,
            raw: true,
            ..Self::default()
        }
    }
}

/// The last variable of that name: later ones override earlier ones.
pub fn find<'a>(variables: &'a [Variable], key: &str) -> Option<&'a Variable> {
    variables.iter().rev().find(|variable| variable.key == key)
}

/// Names and values as expressions see them.
pub(crate) fn values(variables: &[Variable]) -> HashMap<String, String> {
    variables
        .iter()
        .map(|variable| (variable.key.clone(), variable.value.clone()))
        .collect()
}
