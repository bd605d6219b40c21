//! The project's directory: `/builds/<project>` of a job in containers, a directory of the machine for the shell executor.
//!
//! Apart because files go in and out in one way wherever they are: as tar streams. Who reads and writes the files is
//! the affair of the two kinds ([`pod`], [`machine`]).

mod asked;
mod machine;
mod pod;

pub(crate) use machine::MachineBuilds;
pub(crate) use pod::{PodBuilds, directory_of};

use crate::outcome::{Doing, JobError};
use crate::selection::Selection;
use shipway_sandbox::{FileKind, Mount};
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where jobs in containers find their project, as on every GitLab runner.
pub(crate) const BUILDS: &str = "/builds";

/// A project's directory.
#[derive(Clone)]
pub(crate) enum Builds {
    /// In a volume of a pod.
    Pod(PodBuilds),
    /// On the machine.
    Machine(MachineBuilds),
}

impl Builds {
    /// `CI_PROJECT_DIR`.
    pub(crate) fn project_directory(&self) -> String {
        match self {
            Self::Pod(builds) => builds.project_directory(),
            Self::Machine(builds) => builds.project_directory(),
        }
    }

    /// What containers mount.
    pub(crate) fn mount(&self) -> Option<Mount> {
        match self {
            Self::Pod(builds) => Some(builds.mount()),
            Self::Machine(_) => None,
        }
    }

    /// Extracts a tar into the project's directory.
    pub(crate) async fn extract(&self, stream: OwnedFd) -> Result<(), JobError> {
        match self {
            Self::Pod(builds) => builds.extract(stream).await,
            Self::Machine(builds) => builds.extract(stream).await,
        }
    }

    /// Writes what lies at and below these paths of the project, all of them existing, as a tar with names relative to
    /// the project: at least what the selection takes in. What of that no archive can hold (sockets and the like) is
    /// left out and returned, as far as it is known.
    pub(crate) async fn archive(
        &self,
        paths: &[String],
        selection: &Selection,
        output: OwnedFd,
    ) -> Result<Vec<String>, JobError> {
        match self {
            Self::Pod(builds) => builds
                .archive(paths, selection, output)
                .await
                .map(|()| Vec::new()),
            Self::Machine(builds) => builds.archive(paths, selection, output).await,
        }
    }

    /// What is at each of these paths of the project.
    pub(crate) async fn kinds(&self, paths: &[String]) -> Result<Vec<Option<FileKind>>, JobError> {
        match self {
            Self::Pod(builds) => builds.kinds(paths).await,
            Self::Machine(builds) => builds.kinds(paths).await,
        }
    }
}

/// A project's path, with nothing in it that leads upwards.
fn below(project: &str) -> PathBuf {
    project
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect()
}

/// Where the job's secrets are, beside the project.
fn with_suffix(project: &Path) -> PathBuf {
    let mut name = project.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// As much as any user may have of a pipe's room.
const PIPE_BYTES: usize = 1024 * 1024;

/// A pipe whose write end is a file.
pub(crate) fn pipe() -> Result<(OwnedFd, File), JobError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("making a pipe")?;
    // Its two ends wait for each other less often. A user who has used up all room for pipes gets a smaller one.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
    Ok((read, File::from(write)))
}

/// Runs a call that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    call: impl FnOnce() -> Result<T, Box<dyn Error + Send + Sync>> + Send + 'static,
) -> Result<T, JobError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done.doing(doing),
        Err(panicked) => Err(panicked).doing(doing),
    }
}
