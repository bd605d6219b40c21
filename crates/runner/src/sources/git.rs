//! The `git` program, as far as a work tree has to be read.
//!
//! The program and not a library: what belongs to a work tree depends on attributes, sparse checkouts, submodules
//! and configuration that only git itself reads the way the user sees them.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use thiserror::Error;

/// Why git did not answer.
#[derive(Debug, Error)]
pub enum GitError {
    /// Not started.
    #[error("cannot start git: install it, or put it on PATH")]
    Start {
        /// Why.
        source: io::Error,
    },
    /// Ended with a failure.
    #[error("git {arguments} failed: {message}")]
    Failed {
        /// What was asked.
        arguments: String,
        /// What git printed.
        message: String,
    },
}

/// Runs git in a directory and returns what it prints.
pub(super) fn git<I, S>(directory: &Path, arguments: I) -> Result<Vec<u8>, GitError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::null());
    // A question on the terminal would wait for ever behind the live view; a lock file would disturb the user's editor.
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0");
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(inherited);
    }
    let output = command.output().map_err(|source| GitError::Start { source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(GitError::Failed {
        arguments: arguments.join(" "),
        message,
    })
}
