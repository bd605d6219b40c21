//! Why a step was not known: its inputs beside those of the nearest earlier result.
//!
//! Nearest is the record of the scope with the fewest differences among those that did the same or started from the same. What this
//! very build keeps is not looked at: the records are read once, before the first step that is missed.

use std::fmt;

use serde::Serialize;

use super::cache::Cache;
use crate::plan::{Change, InputKind, Inputs};

/// Earlier records that are looked at, the last used first.
const MOST_RECORDS: usize = 2000;
/// Differences that are told; of more there is the number.
const MOST_TOLD: usize = 5;

/// Why a step was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// What is not as it was the last time; empty when no earlier result of the step is kept.
    pub differences: Vec<Difference>,
}

/// One input that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub input: InputKind,
    /// Its name: a path, a variable's name, a mount's target; of what there is one only, none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What became of it.
    pub change: Change,
}

impl Cache {
    /// Why a step with these inputs is not known. Blocks.
    pub(super) fn why(&self, inputs: &Inputs) -> Miss {
        let earlier = self.earlier.get_or_init(|| {
            let kept = self.store.cache_records(&self.scope, MOST_RECORDS);
            let kept = kept.unwrap_or_else(|error| {
                tracing::debug!(%error, "earlier steps cannot be compared with");
                Vec::new()
            });
            kept.iter()
                .filter_map(|record| super::cache::inputs(record))
                .collect()
        });
        let akin = earlier.iter().filter(|earlier| inputs.is_akin(earlier));
        let nearest = akin.map(|earlier| inputs.differences(earlier));
        let differences = nearest.min_by_key(Vec::len).unwrap_or_default();
        // What follows from another is not told beside it.
        let base = differences.iter().any(|(kind, ..)| *kind == InputKind::Base);
        let differences = differences.into_iter();
        Miss {
            differences: differences
                .filter(|(kind, ..)| !(base && *kind == InputKind::State))
                .map(|(input, name, change)| Difference { input, name, change })
                .collect(),
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            return f.write_str("no earlier result of this step is kept");
        }
        for (number, difference) in self.differences.iter().take(MOST_TOLD).enumerate() {
            write!(f, "{}{difference}", if number == 0 { "" } else { ", " })?;
        }
        match self.differences.len().saturating_sub(MOST_TOLD) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.input {
            InputKind::Base => "the base",
            InputKind::Platform => "the platform",
            InputKind::Epoch => "SOURCE_DATE_EPOCH",
            InputKind::Command => "the instruction",
            InputKind::Script => "the heredoc",
            InputKind::Argument => "the build argument",
            InputKind::Variable => "the variable",
            InputKind::User => "the user",
            InputKind::Directory => "the working directory",
            InputKind::Network => "the network",
            InputKind::Mount => "the mount",
            InputKind::Destination => "the destination",
            InputKind::Owner => "--chown",
            InputKind::Mode => "--chmod",
            InputKind::File => "the file",
            InputKind::Source => "what is copied from another stage or image:",
            InputKind::Content => "the content of",
            InputKind::State => "an earlier step gave other files",
        };
        f.write_str(what)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match (self.input, self.change) {
            (InputKind::State, _) => Ok(()),
            (_, Change::Changed) => f.write_str(" changed"),
            (_, Change::Added) => f.write_str(" is new"),
            (_, Change::Removed) => f.write_str(" is gone"),
        }
    }
}
