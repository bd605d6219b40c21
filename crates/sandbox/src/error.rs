//! What the keeper answers when it cannot.
//!
//! One type crosses the control socket, so that an errno met in a forked worker three namespaces down arrives at
//! the caller as the same value, with the action that met it. Everything here is therefore plain data.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{ContainerId, ProcessId};

/// An errno that can be sent through a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemError(i32);

impl SystemError {
    /// The number as the kernel gave it.
    pub fn errno(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl std::error::Error for SystemError {}

impl From<rustix::io::Errno> for SystemError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<std::io::Error> for SystemError {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Why the keeper did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KeeperError {
    /// The keeper ended, by itself or killed: nothing it started lives any more.
    #[error("the keeper of this pod has ended, and with it everything that ran in the pod")]
    Gone,
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was being done, in words that follow "cannot".
        action: String,
        /// The kernel's answer.
        #[source]
        cause: SystemError,
    },
    /// The program of a process does not exist in its container (a shell's 127).
    #[error("{program}: not found in the container (searched: {searched})")]
    NotFound {
        /// The program as asked for.
        program: String,
        /// Where it was looked for.
        searched: String,
    },
    /// The program of a process exists, but cannot be executed (a shell's 126).
    #[error("{program}: cannot be executed in the container")]
    NotExecutable {
        /// The program as asked for.
        program: String,
        /// The kernel's answer.
        #[source]
        cause: SystemError,
    },
    /// A user that the container's `/etc/passwd` does not know.
    #[error("user {user}: no such user in the container's /etc/passwd")]
    UnknownUser {
        /// The user as asked for.
        user: String,
    },
    /// A group that the container's `/etc/group` does not know.
    #[error("group {group}: no such group in the container's /etc/group")]
    UnknownGroup {
        /// The group as asked for.
        group: String,
    },
    /// A user or group id that no process and no file may have.
    #[error("user {user}: the id {id} is not between 0 and 2147483647")]
    Id {
        /// The user as asked for, or what was to be owned.
        user: String,
        /// The id.
        id: String,
    },
    /// No such container in this pod, or it has ended.
    #[error("container {container}: not running in this pod")]
    UnknownContainer {
        /// The container asked for.
        container: ContainerId,
    },
    /// No such process in this pod.
    #[error("process {process}: not known in this pod")]
    UnknownProcess {
        /// The process asked for.
        process: ProcessId,
    },
    /// A path that the request may not name.
    #[error("{path}: {reason}", path = path.display())]
    Path {
        /// The path as asked for.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No program can be started in a root here (tier D).
    #[error(
        "no program can be started in an image here: this process may make no namespace and change no root; {remedy}"
    )]
    NoPrograms {
        /// The one setting that would change it, and the tier that it gives.
        remedy: String,
    },
    /// Nothing can be mounted in a user namespace here: there are no tiers A and B.
    #[error("nothing can be mounted in a user namespace here")]
    NoMounts {
        /// The kernel's answer to the first attempt.
        #[source]
        cause: SystemError,
    },
    /// An archive that breaks the format or a limit.
    #[error("archive entry {entry:?}: {reason}")]
    Archive {
        /// The entry's name, as far as it could be read.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A worker of the keeper ended before it answered: killed, or a defect.
    #[error("the keeper's worker ended before it answered ({how})")]
    Worker {
        /// How it ended.
        how: String,
    },
    /// The process that tells a step whose its files are has ended before the step.
    #[error(
        "the supervisor of this step's system calls has ended, and the step with it: nobody was left to keep the owners of its files"
    )]
    Unsupervised,
    /// A message that the other side cannot read: two versions of the binary, or a defect.
    #[error("unreadable message on the control socket: {reason}")]
    Message {
        /// What is wrong with it.
        reason: String,
    },
}

/// The result of everything that a keeper does.
pub(crate) type Result<T> = std::result::Result<T, KeeperError>;

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Names the action, in words that follow "cannot".
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<SystemError>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| KeeperError::System {
            action: action(),
            cause: cause.into(),
        })
    }
}
