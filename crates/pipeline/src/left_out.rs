//! Jobs of the files that are not in the pipeline, and what keeps each of them out.
//!
//! Apart from the pipeline, which holds only what runs: who asks for a job by its name and does not find it is told why,
//! and where to look. No error: that a job is for other refs or events is what its author wants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::JobName;

/// What keeps a job out of a pipeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The first of its rules that holds says `when: never`.
    Never,
    /// None of its rules holds.
    NoRule,
    /// Its `only` does not let it in.
    Only,
    /// Its `except` keeps it out.
    Except,
    /// It says nothing, and the pipeline is neither a branch's nor a tag's.
    Unasked,
}

/// A job of the files that is not in the pipeline.
#[derive(Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: JobName,
    /// The name in the file, which its copies share.
    pub group: String,
    /// What keeps it out.
    pub by: Exclusion,
    /// The file of the keyword that does, as the caller named it; of the job itself where no keyword does.
    pub file: String,
    /// Line of that keyword or, with [`Exclusion::Never`], of that rule; counted from 1.
    pub line: u32,
}

impl fmt::Display for LeftOut {
    /// One sentence without a full stop, which does not name the job.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, .. } = self;
        match self.by {
            Exclusion::Never => write!(
                formatter,
                "the first of its rules that holds, at {file}:{line}, says `when: never`"
            ),
            Exclusion::NoRule => write!(formatter, "none of its `rules`, at {file}:{line}, holds"),
            Exclusion::Only => write!(formatter, "its `only`, at {file}:{line}, does not let it in"),
            Exclusion::Except => write!(formatter, "its `except`, at {file}:{line}, keeps it out"),
            Exclusion::Unasked => write!(
                formatter,
                "without `rules`, `only` or `except`, at {file}:{line}, it is for branches and tags"
            ),
        }
    }
}
