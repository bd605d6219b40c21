//! Where a job's project directory comes from.
//!
//! A trait, because a local run takes the work tree as it is on disk and a run for a server clones a commit. Both
//! hand over one tar stream with paths relative to the project directory; who owns the files in the job and how they
//! get there is the runner's business, so a source works alike as root and as an ordinary user.

mod archive;
mod git;
mod history;
mod work_tree;

pub use git::GitError;
pub use work_tree::WorkTree;

use std::io::{self, Write};
use std::path::Path;
use thiserror::Error;

/// Removes the copies of histories in their place that no run uses, unless this is only a question, and says how many. Blocks.
///
/// # Errors
/// When the place cannot be read; one that is not there has none.
pub fn forget_histories(place: &Path, only_ask: bool) -> io::Result<u64> {
    history::Histories::new(place.to_owned()).clear(only_ask)
}

/// What was put into the project directory.
#[derive(Clone, Debug, Default)]
pub struct SourceReport {
    /// The commit that the directory is at.
    pub revision: String,
    /// How many files and links.
    pub files: u64,
    /// Whether the files are not exactly those of the commit.
    pub differs: bool,
    /// What the reader of the trace should know, a sentence each.
    pub notes: Vec<String>,
}

/// Why a project directory could not be filled.
#[derive(Debug, Error)]
pub enum SourceError {
    /// `git` said no.
    #[error("git could not say what belongs to the project")]
    Git {
        /// What it said.
        #[from]
        source: GitError,
    },
    /// A file of the project could not be read.
    #[error("cannot read {path} of the work tree")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file changed under our hands.
    #[error("{path} became shorter while it was copied: run again when nothing writes to the work tree")]
    Changed {
        /// Which file.
        path: String,
    },
    /// The stream broke.
    #[error("the project's files could not be handed over to the job")]
    HandOver {
        /// Why.
        source: io::Error,
    },
}

/// Something that can fill a project directory.
pub trait Sources: Send + Sync {
    /// Writes the project as a tar archive. Blocks; may be called for several jobs at once.
    ///
    /// # Errors
    /// When the project cannot be read; the archive is then incomplete and must not be used.
    fn write(&self, into: &mut dyn Write) -> Result<SourceReport, SourceError>;
}
