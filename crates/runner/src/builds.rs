//! The project's directory: `/builds/<project>`, shared by the job's container and its services.
//!
//! Apart because only the pod's keeper may touch the files: their owners are ids that exist in the pod alone.
//! Everything goes in and out as a tar stream through the keeper, so it works alike as root and as an ordinary user.
//! A job of the shell executor has its directory on the machine instead, and the same streams ([`machine`]).

mod machine;

use crate::outcome::{Doing, JobError};
use shipway_container::Pod;
use shipway_sandbox::{ApplyRequest, ArchiveRequest, ArchiveRoot, FileKind, Mount, MountSource, RootSpec};
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where jobs in containers find their project, as on every GitLab runner.
pub(crate) const BUILDS: &str = "/builds";
/// Everybody in the job may write: jobs run as any user.
const DIRECTORY_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o644;
const ROOT: (u32, u32) = (0, 0);

/// The builds volume of a pod.
#[derive(Clone)]
pub(crate) struct Builds {
    ground: Ground,
    /// The project's path below `/builds`.
    project: PathBuf,
}

#[derive(Clone)]
enum Ground {
    /// In a pod; the directory is relative to the keepers'.
    Pod { pod: Pod, directory: PathBuf },
    /// On the machine.
    Machine { directory: PathBuf },
}

impl Builds {
    /// Makes the volume with an empty project directory, and one for its secrets beside it.
    pub(crate) async fn create(pod: &Pod, project: &str) -> Result<Self, JobError> {
        let directory = pod.scratch("builds");
        let builds = Self {
            ground: Ground::Pod {
                pod: pod.clone(),
                directory: directory.clone(),
            },
            project: below(project),
        };
        let mut directories = vec![directory.clone()];
        for component in builds.project.components() {
            let last = directories.last().cloned().unwrap_or_default();
            directories.push(last.join(component));
        }
        directories.push(directory.join(with_suffix(&builds.project)));
        let keeper = pod.keeper().clone();
        blocking("making the project's directory", move || {
            for directory in &directories {
                keeper.make_directory(directory, DIRECTORY_MODE, ROOT)?;
            }
            Ok(())
        })
        .await?;
        Ok(builds)
    }

    /// A directory of the machine with an empty project directory in it. The caller removes it.
    pub(crate) async fn create_on_machine(directory: PathBuf, project: &str) -> Result<Self, JobError> {
        let project = below(project);
        let (made, private) = (directory.join(&project), directory.join(with_suffix(&project)));
        blocking("making the project's directory", move || {
            machine::make(&made)?;
            Ok(machine::make(&private)?)
        })
        .await?;
        Ok(Self {
            ground: Ground::Machine { directory },
            project,
        })
    }

    /// `CI_PROJECT_DIR`.
    pub(crate) fn project_directory(&self) -> String {
        match &self.ground {
            Ground::Pod { .. } => format!("{BUILDS}/{}", self.project.display()),
            Ground::Machine { directory } => directory.join(&self.project).display().to_string(),
        }
    }

    /// What containers mount.
    pub(crate) fn mount(&self) -> Option<Mount> {
        let Ground::Pod { directory, .. } = &self.ground else {
            return None;
        };
        Some(Mount {
            target: BUILDS.into(),
            source: MountSource::Keeper(directory.clone()),
            read_only: false,
        })
    }

    /// Extracts a tar into the project's directory.
    pub(crate) async fn extract(&self, stream: OwnedFd) -> Result<(), JobError> {
        const DOING: &str = "putting files into the project's directory";
        match &self.ground {
            Ground::Pod { pod, directory } => {
                let keeper = pod.keeper().clone();
                let target = Path::new("/").join(&self.project);
                let request = ApplyRequest::new(stream, ArchiveRoot::Directory(directory.clone()), target);
                blocking(DOING, move || Ok(keeper.apply(request)?)).await?;
                Ok(())
            }
            Ground::Machine { directory } => {
                let project = directory.join(&self.project);
                blocking(DOING, move || Ok(machine::extract(stream, &project)?)).await
            }
        }
    }

    /// Writes these paths of the project, all of them existing, as a tar with names relative to the project.
    pub(crate) async fn archive(&self, paths: &[String], output: OwnedFd) -> Result<(), JobError> {
        const DOING: &str = "reading the project's directory";
        match &self.ground {
            Ground::Pod { pod, directory } => {
                let keeper = pod.keeper().clone();
                let project = Path::new("/").join(&self.project);
                let paths = paths.iter().map(|path| project.join(path)).collect();
                let root = ArchiveRoot::Directory(directory.clone());
                let request = ArchiveRequest {
                    relative_to: project,
                    ..ArchiveRequest::new(root, paths, output)
                };
                blocking(DOING, move || Ok(keeper.archive(request)?)).await?;
                Ok(())
            }
            Ground::Machine { directory } => {
                let (project, paths) = (directory.join(&self.project), paths.to_vec());
                blocking(DOING, move || Ok(machine::archive(&project, &paths, output)?)).await
            }
        }
    }

    /// What is at each of these paths of the project.
    pub(crate) async fn kinds(&self, paths: &[String]) -> Result<Vec<Option<FileKind>>, JobError> {
        const DOING: &str = "looking into the project's directory";
        let (pod, directory) = match &self.ground {
            Ground::Pod { pod, directory } => (pod, directory),
            Ground::Machine { directory } => {
                let (project, paths) = (directory.join(&self.project), paths.to_vec());
                return blocking(DOING, move || Ok(machine::kinds(&project, &paths))).await;
            }
        };
        let keeper = pod.keeper().clone();
        let root = RootSpec {
            layers: vec![directory.clone()],
            upper: None,
        };
        let paths: Vec<PathBuf> = paths
            .iter()
            .map(|path| Path::new("/").join(&self.project).join(path))
            .collect();
        let found = blocking(DOING, move || Ok(keeper.stat(&root, &paths)?)).await?;
        Ok(found
            .into_iter()
            .map(|status| status.map(|status| status.kind))
            .collect())
    }
}

/// A project's path, with nothing in it that leads upwards.
fn below(project: &str) -> PathBuf {
    project
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect()
}

fn with_suffix(project: &Path) -> PathBuf {
    let mut name = project.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Makes a directory of the pod that holds these files, to be mounted.
pub(crate) async fn directory_of(pod: &Pod, name: &str, files: &[(&str, &str)]) -> Result<PathBuf, JobError> {
    let directory = pod.scratch(name);
    let (keeper, made) = (pod.keeper().clone(), directory.clone());
    let files: Vec<(PathBuf, Vec<u8>)> = files
        .iter()
        .map(|(name, content)| (directory.join(name), content.as_bytes().to_vec()))
        .collect();
    blocking(&format!("making the directory {name}"), move || {
        keeper.make_directory(&made, DIRECTORY_MODE, ROOT)?;
        for (file, content) in &files {
            keeper.write_file(file, content, FILE_MODE, ROOT)?;
        }
        Ok(())
    })
    .await?;
    Ok(directory)
}

/// A pipe whose write end is a file.
pub(crate) fn pipe() -> Result<(OwnedFd, File), JobError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("making a pipe")?;
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
