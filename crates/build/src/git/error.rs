//! Why a git repository cannot be used.

use std::path::PathBuf;

use shipway_registry::ClientError;

use super::limits;
use crate::context::ContextError;

/// A repository that cannot be fetched or used.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No way to the server.
    #[error("cannot reach the git server")]
    Connect {
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// No way to a server that does not speak HTTP.
    #[error("cannot speak to `{host}`")]
    Stream {
        /// Who.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// 401 or 403.
    #[error(
        "the server wants to know who asks (status {status}): give the secret GIT_AUTH_TOKEN, or GIT_AUTH_HEADER, with --secret; of a submodule on another server with .HOST behind the name"
    )]
    Login {
        /// The status.
        status: u16,
    },
    /// Another status that is no success.
    #[error("the server answered {status}: is this the address of a repository?")]
    Status {
        /// The status.
        status: u16,
    },
    /// What the server says is no git, or something that it refuses.
    #[error("the git server cannot be understood: {problem}")]
    Protocol {
        /// What is wrong.
        problem: String,
    },
    /// The secret with which to log in cannot be sent.
    #[error("the secret {name} holds what no header can")]
    Secret {
        /// Its name.
        name: String,
    },
    /// Nothing has this name.
    #[error("the repository has no branch, tag or commit `{reference}`")]
    NoReference {
        /// The name; `HEAD` for the default branch.
        reference: String,
    },
    /// Another commit than the author meant.
    #[error("`{reference}` is the commit {actual}, not {expected}")]
    Checksum {
        /// What was asked for.
        reference: String,
        /// What the author wrote.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// An abbreviated or missing commit where a whole one is needed.
    #[error("fetch-by-commit needs the whole id of a commit, as commit=… or as the reference")]
    WholeCommit,
    /// The folder is not there, or no folder.
    #[error("the repository has no folder `{folder}`")]
    NoFolder {
        /// The folder.
        folder: String,
    },
    /// More than anybody should have to take.
    #[error("the repository has more than {most} {what}, the most that a build takes")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        most: u64,
    },
    /// It took too long.
    #[error("the repository took longer than {} minutes", limits::TIME.as_secs() / 60)]
    TooSlow,
    /// An entry that must not be in a tree.
    #[error("the repository holds `{}`: {reason}", path.display())]
    Hostile {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An object is missing or damaged.
    #[error("the object {id} of the repository cannot be used: {problem}")]
    Object {
        /// Its id.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// A submodule cannot be fetched.
    #[error("cannot fetch the submodule {} from {url}", path.display())]
    Submodule {
        /// Where it lies.
        path: PathBuf,
        /// Its address, without what logs in.
        url: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// A submodule without a usable address.
    #[error("the submodule {}: {reason}", path.display())]
    SubmoduleAddress {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with the address.
        reason: String,
    },
    /// The files cannot be kept.
    #[error("cannot keep the files of the repository")]
    Keep {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The files are more than a context may hold.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The address is of a kind that is not reached from here.
    #[error("{what}")]
    Unsupported {
        /// What, and what to do.
        what: String,
    },
    /// The fetch was dropped, or a thread of ours ended early.
    #[error("the fetch was interrupted")]
    Interrupted,
}
