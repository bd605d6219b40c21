//! Files of a container, in and out, running or not: what `docker cp` and `docker export` do.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ApplyRequest, ArchiveRequest, ArchiveRoot, FileStatus, Keeper, KeeperError, Mount, MountSource, RootSpec,
};

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
    /// What is mounted there may not be written to.
    #[error("cannot write to {} of container {container}: {} is mounted read-only", path.display(), target.display())]
    ReadOnly {
        /// The container's id.
        container: ContainerId,
        /// The path.
        path: PathBuf,
        /// The mount point that it is at or below.
        target: PathBuf,
    },
    /// What is written there would be hidden by a mount as soon as the container runs.
    #[error(
        "cannot write to {} of container {container}: {} is mounted only while it runs: start it first",
        path.display(),
        target.display()
    )]
    NotMounted {
        /// The container's id.
        container: ContainerId,
        /// The path.
        path: PathBuf,
        /// The mount point that it is at or below.
        target: PathBuf,
    },
    /// The thread that did it ended early.
    #[error("the work on files of container {container} was interrupted")]
    Interrupted {
        /// Its id.
        container: ContainerId,
    },
}

/// Where a path of a container is found.
struct Place {
    root: ArchiveRoot,
    /// The path as seen from that root.
    path: PathBuf,
    /// Where the root is in the container.
    mounted_at: PathBuf,
}

impl Container {
    /// Writes a path, with all below it, as a tar to a pipe or file. Entry names are relative to `relative_to`, which is the
    /// path itself or its parent. A running container shows its mounts too, one that does not run its own file system and
    /// its volumes, each by its own path.
    ///
    /// # Errors
    /// When there is no such path, or the tar cannot be written.
    pub async fn archive(&self, path: &Path, relative_to: &Path, output: OwnedFd) -> Result<(), FilesError> {
        let place = self.place(path);
        let mut request = ArchiveRequest::new(place.root, vec![place.path], output);
        match relative_to.strip_prefix(&place.mounted_at) {
            Ok(inside) => request.relative_to = Path::new("/").join(inside),
            // The volume itself: it is named by its mount point.
            Err(_) => request.prefix = path.file_name().map(PathBuf::from).unwrap_or_default(),
        }
        self.on_files("read", path, move |keeper| keeper.archive(request).map(drop))
            .await
    }

    /// Writes its own file system, without anything that is mounted in it, as a tar to a pipe or file.
    ///
    /// # Errors
    /// When the tar cannot be written.
    pub async fn export(&self, output: OwnedFd) -> Result<(), FilesError> {
        let root = ArchiveRoot::Root(self.view());
        let request = ArchiveRequest::new(root, vec!["/".into()], output);
        self.on_files("read", Path::new("/"), move |keeper| {
            keeper.archive(request).map(drop)
        })
        .await
    }

    /// Extracts a tar from a pipe or file into a directory of it, which is made if it is missing.
    ///
    /// # Errors
    /// When the tar cannot be extracted. When the directory is in a read-only volume or, while the container does not run, in
    /// a mount that is no volume.
    pub async fn extract(&self, tar: OwnedFd, target: &Path) -> Result<(), FilesError> {
        let place = self.place(target);
        if !matches!(place.root, ArchiveRoot::Container(_)) {
            self.refuse_unwritable(target)?;
        }
        let mut request = ApplyRequest::new(tar, self.inner.spec.root.clone(), place.path);
        // The overlay of a running container may be mounted but once: its files are reached through itself.
        if !matches!(place.root, ArchiveRoot::Root(_)) {
            request.root = place.root;
        }
        self.on_files("write to", target, move |keeper| keeper.apply(request).map(drop))
            .await
    }

    /// What is at a path of it, mounts as for [`Container::archive`].
    ///
    /// # Errors
    /// When the keeper cannot look.
    pub async fn stat(&self, path: &Path) -> Result<Option<FileStatus>, FilesError> {
        let place = self.place(path);
        self.on_files("look at", path, move |keeper| {
            keeper
                .stat_in(place.root, &[place.path])
                .map(|statuses| statuses.into_iter().next().flatten())
        })
        .await
    }

    /// A path in the container while it runs, else in the volume or the file system that it belongs to. A link that leads from
    /// the file system into a volume is not seen to do so.
    fn place(&self, path: &Path) -> Place {
        let whole = |root| Place {
            root,
            path: path.to_owned(),
            mounted_at: "/".into(),
        };
        if let Some(running) = self.running_id() {
            return whole(ArchiveRoot::Container(running));
        }
        match self.mount_over(path) {
            Some((
                Mount {
                    target,
                    source: MountSource::Keeper(volume),
                    ..
                },
                below,
            )) => Place {
                root: ArchiveRoot::Directory(volume.clone()),
                path: Path::new("/").join(below),
                mounted_at: target.clone(),
            },
            _ => whole(ArchiveRoot::Root(self.view())),
        }
    }

    /// Whether a container that does not run can take files at a path: it has no mounts that would see to that.
    fn refuse_unwritable(&self, path: &Path) -> Result<(), FilesError> {
        let Some((mount, _)) = self.mount_over(path) else {
            return Ok(());
        };
        let (container, path, target) = (self.id().clone(), path.to_owned(), mount.target.clone());
        match &mount.source {
            _ if mount.read_only => Err(FilesError::ReadOnly {
                container,
                path,
                target,
            }),
            MountSource::Keeper(_) => Ok(()),
            MountSource::Host(_) | MountSource::Container { .. } | MountSource::Temporary { .. } => {
                Err(FilesError::NotMounted {
                    container,
                    path,
                    target,
                })
            }
        }
    }

    /// The innermost mount that a path is at or below, and the path from there on. Single files of the keepers' directory
    /// (`/etc/hosts`) do not count.
    fn mount_over<'a>(&'a self, path: &'a Path) -> Option<(&'a Mount, &'a Path)> {
        let keepers = self.pod.runtime().keeper_directory();
        let mounts = self.inner.spec.mounts.iter().filter_map(|mount| {
            let below = path.strip_prefix(&mount.target).ok()?;
            match &mount.source {
                MountSource::Keeper(volume) if !keepers.join(volume).is_dir() => None,
                _ => Some((mount, below)),
            }
        });
        mounts.max_by_key(|(mount, _)| mount.target.components().count())
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
