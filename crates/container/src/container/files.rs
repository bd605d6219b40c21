//! Files of a container, in and out, running or not: what `docker cp` and `docker export` do.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use shipway_sandbox::{ApplyRequest, ArchiveRequest, ArchiveRoot, FileStatus, Keeper, KeeperError, RootSpec};

use super::Container;
use crate::ids::ContainerId;

/// Files did not come in or out.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The keeper failed.
    #[error("cannot {action} {} of container {container}", path.display())]
    Keeper {
        /// The container's id.
        container: ContainerId,
        /// What was asked.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The thread that did it ended early.
    #[error("the work on files of container {container} was interrupted")]
    Interrupted {
        /// Its id.
        container: ContainerId,
    },
}

impl Container {
    /// Writes a path, with all below it, as a tar to a pipe or file. Entry names are relative to `relative_to`. A
    /// running container shows its mounts too, one that has ended only its own file system.
    ///
    /// # Errors
    /// When there is no such path, or the tar cannot be written.
    pub async fn archive(&self, path: &Path, relative_to: &Path, output: OwnedFd) -> Result<(), FilesError> {
        let root = match self.running_id() {
            Some(running) => ArchiveRoot::Container(running),
            None => ArchiveRoot::Root(self.view()),
        };
        let mut request = ArchiveRequest::new(root, vec![path.to_owned()], output);
        request.relative_to = relative_to.to_owned();
        self.on_files("read", path, move |keeper| keeper.archive(request).map(drop))
            .await
    }

    /// Extracts a tar from a pipe or file into a directory of it, which is made if it is missing.
    ///
    /// # Errors
    /// When the tar cannot be extracted.
    pub async fn extract(&self, tar: OwnedFd, target: &Path) -> Result<(), FilesError> {
        let mut request = ApplyRequest::new(tar, self.inner.spec.root.clone(), target.to_owned());
        // The overlay of a running container may be mounted but once: its files are reached through itself.
        if let Some(running) = self.running_id() {
            request.root = ArchiveRoot::Container(running);
        }
        self.on_files("write to", target, move |keeper| keeper.apply(request).map(drop))
            .await
    }

    /// What is at a path of its own file system.
    ///
    /// # Errors
    /// When the keeper cannot look.
    pub async fn stat(&self, path: &Path) -> Result<Option<FileStatus>, FilesError> {
        let (root, wanted) = (self.view(), path.to_owned());
        self.on_files("look at", path, move |keeper| {
            keeper
                .stat(&root, &[wanted])
                .map(|statuses| statuses.into_iter().next().flatten())
        })
        .await
    }

    /// Its file system as it was left: the layers with its changes on top, read-only.
    fn view(&self) -> RootSpec {
        let mut layers = self.inner.spec.root.layers.clone();
        let changes = self.inner.upper.join("fs");
        if self.pod.runtime().keeper_directory().join(&changes).is_dir() {
            layers.push(changes);
        }
        RootSpec { layers, upper: None }
    }

    async fn on_files<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &Path,
        work: impl FnOnce(&Keeper) -> Result<T, KeeperError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let keeper = self.pod.keeper();
        let container = || self.id().clone();
        let done = tokio::task::spawn_blocking(move || work(&keeper)).await;
        done.map_err(|_| FilesError::Interrupted {
            container: container(),
        })?
        .map_err(|source| FilesError::Keeper {
            container: container(),
            action,
            path: path.to_owned(),
            source,
        })
    }
}
