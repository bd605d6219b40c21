//! Volumes that outlive their pod: what one leaves in them, the next with the same key finds.
//!
//! Such a volume lies in `kept` of the keepers' directory of its class of ids, and a file of its name in `kept-volumes` of the
//! data directory is locked while a pod has it. Of pods that ask for one key at once each gets a volume of its own, the first that nobody
//! has. A new one is made in the pod's directory and moved when it is whole; who is killed before leaves nothing but the
//! leftovers of a pod.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use shipway_oci::Digest;
use shipway_sandbox::Keeper;

use super::volume::{Volume, VolumeError};
use super::{Pod, PodInner};
use crate::lock::LayersLock;
use crate::runtime::{PruneLayersError, Runtime};

/// Where they lie, in the keepers' directory.
const PLACE: &str = "kept";
/// More pods at once have no volume of one key.
const MOST_AT_ONCE: usize = 1000;

impl Pod {
    /// Has the volume of that name be one that is kept under this key, whatever text. One that is new is filled like any
    /// other, by the container that names it first; where its image has nothing at that path, anybody may write to it.
    /// It is the pod's until its end.
    ///
    /// # Errors
    /// When it cannot be locked.
    pub async fn keep_volume(&self, name: &str, key: &str) -> Result<(), VolumeError> {
        let (pod, owned, key) = (self.clone(), name.to_owned(), key.to_owned());
        let taken = tokio::task::spawn_blocking(move || pod.take_kept(&key));
        let lock = |source| VolumeError::Lock {
            name: owned.clone(),
            source,
        };
        let path = taken
            .await
            .map_err(|_| VolumeError::Interrupted { name: owned.clone() })?
            .map_err(lock)?;
        if self.inner.runtime.keeper_directory().join(&path).is_dir() {
            let volume = Volume::at(path);
            self.inner.volumes.lock().await.insert(owned, volume);
        } else {
            self.inner.planned.lock().await.insert(owned, path);
        }
        Ok(())
    }

    /// The first volume of a key that nobody has, which is this pod's from now on.
    fn take_kept(&self, key: &str) -> io::Result<PathBuf> {
        let directory = self.inner.runtime.kept_volumes();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let digest = Digest::sha256(key.as_bytes());
        for number in 0..MOST_AT_ONCE {
            let name = format!("{}-{number}", digest.hex());
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(directory.join(&name))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    self.inner.hold(file)?;
                    return Ok(Path::new(PLACE).join(name));
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("too many pods have one"))
    }
}

impl PodInner {
    /// Holds a lock for as long as the pod lives.
    fn hold(&self, file: File) -> io::Result<()> {
        let mut locks = self
            .lock
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let locks = locks.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        locks.kept.push(file);
        Ok(())
    }
}

/// Moves a volume that is whole to where it is kept.
pub(super) fn settle(
    pod: &Pod,
    keeper: &Keeper,
    from: &Path,
    to: &Path,
) -> Result<(), shipway_sandbox::KeeperError> {
    let place = pod.inner.runtime.keeper_directory().join(PLACE);
    if !place.is_dir() {
        match keeper.make_directory(Path::new(PLACE), 0o700, (0, 0)) {
            // Another pod was first.
            Err(_) if place.is_dir() => {}
            made => made?,
        }
    }
    keeper.rename(from, to)
}

impl Runtime {
    /// Removes all volumes of this class of ids that are kept for later pods, and says how many there were.
    ///
    /// # Errors
    /// When a pod with these ids lives, of whatever process, or they cannot be removed.
    pub async fn prune_kept_volumes(&self) -> Result<usize, PruneLayersError> {
        let runtime = self.clone();
        let pruned = tokio::task::spawn_blocking(move || runtime.prune_kept_blocking());
        pruned.await.map_err(|_| PruneLayersError::Interrupted)?
    }

    fn prune_kept_blocking(&self) -> Result<usize, PruneLayersError> {
        let look = |source| PruneLayersError::Look { source };
        // Who has this lock is the only one that could have a volume.
        let lock = LayersLock::take(&self.layers_lock()).map_err(look)?;
        let _lock = lock.ok_or(PruneLayersError::InUse)?;
        if self.keeper_directory().join(PLACE).is_dir() {
            let keeper = self
                .launch_keeper("prune")
                .map_err(|source| PruneLayersError::Launch { source })?;
            let removed = keeper.remove_tree(Path::new(PLACE));
            keeper.close();
            removed.map_err(|source| PruneLayersError::Remove { source })?;
        }
        let mut count = 0;
        match std::fs::read_dir(self.kept_volumes()) {
            Ok(names) => {
                for name in names {
                    std::fs::remove_file(name.map_err(look)?.path()).map_err(look)?;
                    count += 1;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(look(source)),
        }
        Ok(count)
    }
}
