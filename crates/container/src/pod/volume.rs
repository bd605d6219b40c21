//! Directories of a pod that containers share, and that outlive them.
//!
//! A volume that a container is the first to name gets what the container's image has at that path, attributes
//! included, as docker does it: images rely on it for the owner of their data directory. A volume that its caller made
//! with [`Pod::volume`] is the caller's to fill, and stays as it is. One that outlives the pod (`kept`) is filled once.

use std::path::{Path, PathBuf};

use shipway_sandbox::{ApplyRequest, ArchiveRequest, ArchiveRoot, FileKind, Keeper, KeeperError, RootSpec};

use super::{Pod, kept};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    path: PathBuf,
}

impl Volume {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its directory, relative to the keepers' directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A volume cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Its directory cannot be made or removed.
    #[error("cannot prepare volume {name}")]
    Directory {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// One that is kept cannot be locked.
    #[error("cannot lock the kept volume {name}")]
    Lock {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image's content cannot be copied into it.
    #[error("cannot fill volume {name} with what the image has at {}", path.display())]
    Fill {
        /// Its name.
        name: String,
        /// The path in the image.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The thread that did it ended early.
    #[error("preparing volume {name} was interrupted")]
    Interrupted {
        /// Its name.
        name: String,
    },
}

/// What a new volume gets: the content of a path of a root.
#[derive(Debug, Clone)]
pub(crate) struct Filling {
    pub(crate) root: RootSpec,
    pub(crate) path: PathBuf,
}

impl Pod {
    /// The volume of that name; a new one is empty, of that mode, and root's.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub async fn volume(&self, name: &str, mode: u32) -> Result<Volume, VolumeError> {
        self.volume_with(name, move |keeper, path, name| {
            keeper
                .make_directory(path, mode, (0, 0))
                .map_err(|source| VolumeError::Directory {
                    name: name.to_owned(),
                    source,
                })
        })
        .await
    }

    /// The volume of that name; a new one is filled.
    pub(crate) async fn filled_volume(&self, name: &str, filling: Filling) -> Result<Volume, VolumeError> {
        let is_kept = self.inner.planned.lock().await.contains_key(name);
        // Jobs run as any user.
        let empty = if is_kept { 0o777 } else { 0o755 };
        self.volume_with(name, move |keeper, path, name| {
            fill(keeper, path, name, &filling, empty)
        })
        .await
    }

    async fn volume_with(
        &self,
        name: &str,
        make: impl FnOnce(&Keeper, &Path, &str) -> Result<(), VolumeError> + Send + 'static,
    ) -> Result<Volume, VolumeError> {
        // Held while the volume is made: whoever else names it must see it whole.
        let mut volumes = self.inner.volumes.lock().await;
        if let Some(volume) = volumes.get(name) {
            return Ok(volume.clone());
        }
        let path = self
            .directory()
            .join("volumes")
            .join(uuid::Uuid::new_v4().simple().to_string());
        let planned = self.inner.planned.lock().await.get(name).cloned();
        let (pod, owned) = (self.clone(), name.to_owned());
        let made = tokio::task::spawn_blocking(move || {
            let keeper = &pod.inner.keeper();
            make(keeper, &path, &owned)?;
            let Some(kept) = planned else { return Ok(path) };
            kept::settle(&pod, keeper, &path, &kept)
                .map_err(|source| VolumeError::Directory { name: owned, source })?;
            Ok(kept)
        });
        let volume = Volume::at(made.await.map_err(|_| VolumeError::Interrupted {
            name: name.to_owned(),
        })??);
        volumes.insert(name.to_owned(), volume.clone());
        Ok(volume)
    }

    /// The names of its volumes, sorted.
    pub async fn volumes(&self) -> Vec<String> {
        self.inner.volumes.lock().await.keys().cloned().collect()
    }

    /// Removes a volume with all in it; false when there is none. The caller knows that no container uses it.
    ///
    /// # Errors
    /// When its directory cannot be removed.
    pub async fn remove_volume(&self, name: &str) -> Result<bool, VolumeError> {
        let Some(volume) = self.inner.volumes.lock().await.remove(name) else {
            return Ok(false);
        };
        let keeper = self.inner.keeper();
        let removed = tokio::task::spawn_blocking(move || keeper.remove_tree(&volume.path));
        removed
            .await
            .map_err(|_| VolumeError::Interrupted {
                name: name.to_owned(),
            })?
            .map_err(|source| VolumeError::Directory {
                name: name.to_owned(),
                source,
            })?;
        Ok(true)
    }
}

fn fill(
    keeper: &Keeper,
    path: &Path,
    name: &str,
    filling: &Filling,
    mode_of_empty: u32,
) -> Result<(), VolumeError> {
    let directory = |source| VolumeError::Directory {
        name: name.to_owned(),
        source,
    };
    let failed = |source| VolumeError::Fill {
        name: name.to_owned(),
        path: filling.path.clone(),
        source,
    };
    let status = keeper
        .stat(&filling.root, std::slice::from_ref(&filling.path))
        .map_err(failed)?;
    let Some(Some(status)) = status.first().filter(|status| is_directory(status.as_ref())) else {
        return keeper
            .make_directory(path, mode_of_empty, (0, 0))
            .map_err(directory);
    };
    keeper
        .make_directory(path, status.mode, (status.uid, status.gid))
        .map_err(directory)?;
    if let Err(source) = copy(keeper, path, filling) {
        if let Err(error) = keeper.remove_tree(path) {
            tracing::warn!(%error, "a half-filled volume stays until the pod is removed");
        }
        return Err(failed(source));
    }
    Ok(())
}

fn is_directory(status: Option<&shipway_sandbox::FileStatus>) -> bool {
    status.is_some_and(|status| status.kind == FileKind::Directory)
}

/// From one worker of the keeper to another, through a pipe that neither side of ours touches.
fn copy(keeper: &Keeper, path: &Path, filling: &Filling) -> Result<(), KeeperError> {
    let (stream, output) = keeper.pipe()?;
    let mut archive = ArchiveRequest::new(
        ArchiveRoot::Root(filling.root.clone()),
        vec![filling.path.clone()],
        output,
    );
    archive.relative_to.clone_from(&filling.path);
    let mut apply = ApplyRequest::new(
        stream,
        RootSpec {
            layers: Vec::new(),
            upper: None,
        },
        "/".into(),
    );
    apply.root = ArchiveRoot::Directory(path.to_owned());
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| keeper.archive(archive));
        let applied = keeper.apply(apply);
        let archived = reading.join().unwrap_or(Err(KeeperError::Gone));
        archived.and(applied).map(drop)
    })
}
