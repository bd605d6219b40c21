//! Volumes that outlive their pod: what one leaves in them, the next with the same key finds.
//!
//! Such a volume lies in `kept` of the keepers' directory of its class of ids, and a file of its name in `kept-volumes` of the
//! data directory is locked while a pod has it. Of pods that ask for one key at once each gets a volume of its own, the first that nobody
//! has. A new one is made in the pod's directory and moved when it is whole; who is killed before leaves nothing but the
//! leftovers of a pod.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use shipway_oci::Digest;
use shipway_sandbox::{Keeper, KeeperError, LaunchError};

use super::volume::{Volume, VolumeError};
use super::{Pod, PodInner};
use crate::ids::PodId;
use crate::lock::LifeLock;
use crate::runtime::Runtime;

/// Where they lie, in the keepers' directory.
const PLACE: &str = "kept";
/// More pods at once have no volume of one key.
const MOST_AT_ONCE: usize = 1000;

/// A volume that a pod has for as long as it lives.
#[derive(Debug)]
pub(super) struct HeldVolume {
    /// Where it is or will be, relative to the keepers' directory.
    path: PathBuf,
    _lock: LifeLock,
    fate: Fate,
}

/// What becomes of it when the pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

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
            if let Some(lock) = LifeLock::take_if_free(&directory.join(&name))? {
                let path = Path::new(PLACE).join(name);
                self.inner.hold(HeldVolume {
                    path: path.clone(),
                    _lock: lock,
                    fate: Fate::Stays,
                })?;
                return Ok(path);
            }
        }
        Err(io::Error::other("too many pods have one"))
    }
}

impl PodInner {
    /// Holds the lock of one for as long as the pod lives.
    fn hold(&self, volume: HeldVolume) -> io::Result<()> {
        let mut locks = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let locks = locks.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        locks.kept.push(volume);
        Ok(())
    }

    /// Where those that it has are or will be.
    pub(super) fn kept_volumes(&self) -> Vec<PathBuf> {
        let locks = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = locks.iter().flat_map(|locks| &locks.kept);
        kept.map(|volume| volume.path.clone()).collect()
    }

    /// Has those that it has end with it.
    pub(super) fn give_up_kept_volumes(&self) {
        let mut locks = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        for volume in locks.iter_mut().flat_map(|locks| &mut locks.kept) {
            volume.fate = Fate::Goes;
        }
    }
}

/// Moves volumes that go with their pod into its directory, in one step each: who is killed after it leaves no half of one where
/// the next pod looks.
pub(super) fn set_aside(keeper: &Keeper, directory: &Path, kept: &[HeldVolume]) {
    for volume in kept.iter().filter(|volume| volume.fate == Fate::Goes) {
        let aside = directory
            .join("scratch")
            .join(uuid::Uuid::new_v4().simple().to_string());
        if let Err(error) = keeper.rename(&volume.path, &aside) {
            // Perhaps it was never made.
            tracing::debug!(%error, volume = %volume.path.display(), "a kept volume stays");
        }
    }
}

/// Moves a volume that is whole to where it is kept.
pub(super) fn settle(pod: &Pod, keeper: &Keeper, from: &Path, to: &Path) -> Result<(), KeeperError> {
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

/// A volume that outlives its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVolume {
    name: String,
    /// What it takes of the disk; `u64::MAX` for one too deep to measure.
    pub bytes: u64,
    /// Whether it was removed.
    pub state: KeptState,
}

/// What becomes of a volume that outlives its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptState {
    /// The next pod of its key finds it.
    Kept,
    /// A living pod has it.
    InUse,
    /// It is gone.
    Removed,
}

/// Volumes that outlive their pods cannot be looked at, or removed.
#[derive(Debug, thiserror::Error)]
pub enum KeptVolumesError {
    /// Their locks cannot be used.
    #[error("cannot see which volumes of jobs are in use")]
    Look {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No keeper can be started, and only a keeper can look into them.
    #[error("cannot start a keeper for the volumes of jobs")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// The keeper failed.
    #[error("cannot measure or remove the volumes of jobs")]
    Keeper {
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The thread that did it ended early.
    #[error("looking at the volumes of jobs was interrupted")]
    Interrupted,
}

impl Runtime {
    /// The volumes of this class of ids that are kept for later pods.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub async fn kept(&self) -> Result<Vec<KeptVolume>, KeptVolumesError> {
        self.with_kept(|runtime, keeper| runtime.measure_kept(keeper))
            .await
    }

    /// Removes those of them that no living pod has, and gives all.
    ///
    /// # Errors
    /// When they cannot be removed. Some may be gone by then.
    pub async fn prune_kept(&self) -> Result<Vec<KeptVolume>, KeptVolumesError> {
        self.with_kept(|runtime, keeper| runtime.remove_free(keeper))
            .await
    }

    async fn with_kept(
        &self,
        work: impl FnOnce(&Self, &Keeper) -> Result<Vec<KeptVolume>, KeptVolumesError> + Send + 'static,
    ) -> Result<Vec<KeptVolume>, KeptVolumesError> {
        let runtime = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            if !runtime.keeper_directory().join(PLACE).is_dir() {
                return Ok(Vec::new());
            }
            let keeper = runtime
                .launch_keeper("volumes")
                .map_err(|source| KeptVolumesError::Launch { source })?;
            let done = work(&runtime, &keeper);
            keeper.close();
            done
        });
        done.await.map_err(|_| KeptVolumesError::Interrupted)?
    }

    fn measure_kept(&self, keeper: &Keeper) -> Result<Vec<KeptVolume>, KeptVolumesError> {
        let sizes = keeper
            .sizes(Path::new(PLACE))
            .map_err(|source| KeptVolumesError::Keeper { source })?;
        let volumes = sizes.into_iter().map(|(name, bytes)| {
            let state = if self.lock_kept(&name)?.is_some() {
                KeptState::Kept
            } else {
                KeptState::InUse
            };
            Ok(KeptVolume { name, bytes, state })
        });
        volumes.collect()
    }

    /// The lock of a volume; nothing when a pod has it. A volume without a lock was made before a removal that was killed.
    fn lock_kept(&self, name: &str) -> Result<Option<LifeLock>, KeptVolumesError> {
        let directory = self.kept_volumes();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.and_then(|()| LifeLock::take_if_free(&directory.join(name)))
            .map_err(|source| KeptVolumesError::Look { source })
    }

    /// A volume leaves its place in one step, as what a dead pod left, so that no pod finds half of it whoever is killed.
    fn remove_free(&self, keeper: &Keeper) -> Result<Vec<KeptVolume>, KeptVolumesError> {
        let look = |source| KeptVolumesError::Look { source };
        let failed = |source| KeptVolumesError::Keeper { source };
        let mut volumes = self.measure_kept(keeper)?;
        if volumes.iter().all(|volume| volume.state == KeptState::InUse) {
            return Ok(volumes);
        }
        let id = PodId::random();
        let mark = LifeLock::create(&self.locks().join(id.as_str())).map_err(look)?;
        let aside = Path::new("pods").join(id.as_str());
        self.make_shared(keeper).map_err(failed)?;
        keeper.make_directory(&aside, 0o700, (0, 0)).map_err(failed)?;
        for volume in &mut volumes {
            let Some(lock) = self.lock_kept(&volume.name)? else {
                volume.state = KeptState::InUse;
                continue;
            };
            keeper
                .rename(&Path::new(PLACE).join(&volume.name), &aside.join(&volume.name))
                .map_err(failed)?;
            volume.state = KeptState::Removed;
            lock.remove().map_err(look)?;
        }
        keeper.remove_tree(&aside).map_err(failed)?;
        mark.remove().map_err(look)?;
        Ok(volumes)
    }
}
