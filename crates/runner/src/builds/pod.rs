//! A project's directory in a volume of a pod.
//!
//! Only the pod's keeper may touch the files: their owners are ids that exist in the pod alone. Everything goes in and
//! out through the keeper, so it works alike as root and as an ordinary user. A call that is under way when the pod is
//! closed fails with its keeper.

use super::{BUILDS, below, blocking, with_suffix};
use crate::outcome::JobError;
use crate::selection::Selection;
use shipway_container::Pod;
use shipway_sandbox::{
    ApplyRequest, ArchiveRequest, ArchiveRoot, FileKind, LinkedFiles, Mount, MountSource, RootSpec,
};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Everybody in the job may write: jobs run as any user.
const DIRECTORY_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o644;
const ROOT: (u32, u32) = (0, 0);

/// The builds volume of a pod.
#[derive(Clone)]
pub(crate) struct PodBuilds {
    pod: Pod,
    /// The volume, relative to the keepers' directory.
    directory: PathBuf,
    /// The project's path below `/builds`.
    project: PathBuf,
}

impl PodBuilds {
    /// Makes the volume with an empty project directory, and one for its secrets beside it.
    pub(crate) async fn create(pod: &Pod, project: &str) -> Result<Self, JobError> {
        let directory = pod.scratch("builds");
        let project = below(project);
        let mut directories = vec![directory.clone()];
        for component in project.components() {
            let last = directories.last().cloned().unwrap_or_default();
            directories.push(last.join(component));
        }
        directories.push(directory.join(with_suffix(&project)));
        let keeper = pod.keeper();
        blocking("making the project's directory", move || {
            for directory in &directories {
                keeper.make_directory(directory, DIRECTORY_MODE, ROOT)?;
            }
            Ok(())
        })
        .await?;
        Ok(Self {
            pod: pod.clone(),
            directory,
            project,
        })
    }

    pub(super) fn project_directory(&self) -> String {
        format!("{BUILDS}/{}", self.project.display())
    }

    pub(super) fn mount(&self) -> Mount {
        Mount {
            target: BUILDS.into(),
            source: MountSource::Keeper(self.directory.clone()),
            read_only: false,
        }
    }

    pub(super) async fn extract(&self, stream: OwnedFd) -> Result<(), JobError> {
        let keeper = self.pod.keeper();
        let target = Path::new("/").join(&self.project);
        let request = ApplyRequest::new(stream, ArchiveRoot::Directory(self.directory.clone()), target);
        blocking("putting files into the project's directory", move || {
            Ok(keeper.apply(request)?)
        })
        .await?;
        Ok(())
    }

    pub(super) async fn archive(
        &self,
        paths: &[String],
        selection: &Selection,
        output: OwnedFd,
    ) -> Result<(), JobError> {
        let keeper = self.pod.keeper();
        let project = Path::new("/").join(&self.project);
        let paths = paths.iter().map(|path| project.join(path)).collect();
        let root = ArchiveRoot::Directory(self.directory.clone());
        let request = ArchiveRequest {
            relative_to: project,
            // The name that a file would be archived under may be one of those that are left out.
            linked: if selection.takes_in_whole_roots() {
                LinkedFiles::Once
            } else {
                LinkedFiles::EachTime
            },
            ..ArchiveRequest::new(root, paths, output)
        };
        blocking("reading the project's directory", move || {
            Ok(keeper.archive(request)?)
        })
        .await?;
        Ok(())
    }

    pub(super) async fn kinds(&self, paths: &[String]) -> Result<Vec<Option<FileKind>>, JobError> {
        let keeper = self.pod.keeper();
        let root = RootSpec {
            layers: vec![self.directory.clone()],
            upper: None,
        };
        let paths: Vec<PathBuf> = paths
            .iter()
            .map(|path| Path::new("/").join(&self.project).join(path))
            .collect();
        let found = blocking("looking into the project's directory", move || {
            Ok(keeper.stat(&root, &paths)?)
        })
        .await?;
        Ok(found
            .into_iter()
            .map(|status| status.map(|status| status.kind))
            .collect())
    }
}

/// Makes a directory of the pod that holds these files, to be mounted.
pub(crate) async fn directory_of(pod: &Pod, name: &str, files: &[(&str, &str)]) -> Result<PathBuf, JobError> {
    let directory = pod.scratch(name);
    let (keeper, made) = (pod.keeper(), directory.clone());
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
