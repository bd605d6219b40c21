//! A pod: one keeper, one network, and the containers, volumes and names of one job.
//!
//! Everything a pod has lies in one directory of the keepers' directory and ends with the keeper, so that its end is
//! two steps that cannot half-succeed unnoticed: the keeper goes and the kernel takes the rest with it; the directory
//! is removed. When the second step does not happen because this process dies, the pod's lock is free and the next
//! start of any process sweeps it.
//!
//! A keeper can be stopped (SIGSTOP) and go on. One that is stopped while its pod ends is killed: by us when it does not answer,
//! by its launcher when we are gone. A launcher that was stopped we kill at the end of its pod; only when we are gone does it stay,
//! with a keeper that was stopped as well, until somebody ends them.
//!
//! A keeper can be killed under a living pod. What ran is dead then, and [`Pod::revive`] starts another one over the same
//! directory.
//!
//! Contract: after [`Pod::close`] nothing of the pod runs and calls that are under way fail. A pod that is dropped
//! without it ends as well, but in the background.

mod disk;
mod kept;
pub(crate) mod lent;
mod memory;
mod network;
mod processes;
mod volume;
mod watch;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use shipway_oci::{Descriptor, Digest};
use shipway_sandbox::{DiskUsage, Keeper, KeeperError, LaunchError};
use shipway_store::Meter;
use tokio_util::sync::CancellationToken;

use crate::container::{Container, ContainerInner, ContainerOptions, CreateError};
use crate::egress::Egress;
use crate::ids::{ContainerId, PodId};
use crate::image::Image;
use crate::layers::{LayerError, LayerPath, place};
use crate::limits::ExcessSignal;
use crate::lock::{LayersLock, LifeLock};
use crate::names::NameTable;
use crate::runtime::{PruneLayersError, Runtime};
use crate::spool::Spool;
use crate::subnet::AddressPool;
use kept::HeldVolume;

pub use kept::{KeptState, KeptVolume, KeptVolumesError};
pub use network::NetworkError;
pub(crate) use volume::Filling;
pub use volume::{Volume, VolumeError};

/// How long the keeper of a pod that is ending may say nothing. It answers in microseconds, also while its workers work.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a pod is started.
#[derive(Debug, Clone)]
pub struct PodOptions {
    /// Its host name, for people: it is seen by nothing but the keeper.
    pub name: String,
    /// What its containers may reach outside.
    pub egress: Egress,
    /// Told when it is ended for what it used.
    pub excess: ExcessSignal,
    /// Counts what is written for it outside of its directory: whatever is to count as its own goes through this.
    pub written: Meter,
}

/// No pod could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartPodError {
    /// Its lock cannot be taken.
    #[error("cannot lock a new pod in {}", directory.display())]
    Lock {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Layers that were unpacked before the machine started are in the way.
    #[error("cannot remove the layers that were unpacked before the machine started")]
    Layers {
        /// Why.
        #[source]
        source: PruneLayersError,
    },
    /// No keeper can be started.
    #[error("cannot start the keeper of a pod")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// Its directory cannot be made.
    #[error("cannot prepare the directory of a pod")]
    Prepare {
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// Nobody can look at what it uses.
    #[error("cannot start the thread that looks after a pod")]
    Watch {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread that started it ended early.
    #[error("starting the pod was interrupted")]
    Interrupted,
}

/// The keeper of a pod has ended, and there is no other.
#[derive(Debug, thiserror::Error)]
pub enum RevivePodError {
    /// No keeper can be started.
    #[error("the keeper of the pod has ended, and cannot be started anew")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// It has no network.
    #[error("the keeper of the pod has ended, and was started anew without a network")]
    Network {
        /// Why.
        #[source]
        source: NetworkError,
    },
    /// The thread that started it ended early.
    #[error("starting the keeper of the pod anew was interrupted")]
    Interrupted,
}

/// A pod. Clones are the same pod.
#[derive(Clone)]
pub struct Pod {
    pub(crate) inner: Arc<PodInner>,
}

pub(crate) struct PodInner {
    pub(crate) id: PodId,
    pub(crate) runtime: Runtime,
    name: String,
    keeper: RwLock<Keeper>,
    pub(crate) egress: Egress,
    directory: PathBuf,
    lock: Mutex<Option<Locks>>,
    pub(crate) addresses: AddressPool,
    pub(crate) names: NameTable,
    /// Ends the name server and the relay, if there is a network.
    pub(crate) network: tokio::sync::Mutex<Option<CancellationToken>>,
    pub(crate) bound: tokio::sync::Mutex<Vec<std::net::Ipv4Addr>>,
    volumes: tokio::sync::Mutex<BTreeMap<String, Volume>>,
    /// Where volumes that are not made yet will be kept.
    planned: tokio::sync::Mutex<BTreeMap<String, PathBuf>>,
    containers: Mutex<BTreeMap<ContainerId, Arc<ContainerInner>>>,
    /// Read while something is started, written once, by the end.
    gate: RwLock<Gate>,
    pub(crate) closing: CancellationToken,
    excess: ExcessSignal,
    _watched: Sender<Infallible>,
    /// Manifests of images that its containers stand on, and how many do.
    lent: Mutex<BTreeMap<Digest, usize>>,
    written: Meter,
    /// The output of its processes.
    printed: Meter,
}

/// Whether this place tells how much memory a pod uses.
pub fn memory_is_known() -> bool {
    memory::is_known()
}

/// What a pod that lives holds.
#[derive(Debug)]
struct Locks {
    pod: LifeLock,
    _layers: LayersLock,
    /// Of the volumes that outlive it.
    kept: Vec<HeldVolume>,
}

/// Whether anything may still be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

impl std::fmt::Debug for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pod")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

impl Pod {
    pub(crate) async fn start(runtime: Runtime, options: PodOptions) -> Result<Self, StartPodError> {
        let started = tokio::task::spawn_blocking(move || Self::start_blocking(runtime, options));
        started.await.map_err(|_| StartPodError::Interrupted)?
    }

    fn start_blocking(runtime: Runtime, options: PodOptions) -> Result<Self, StartPodError> {
        let id = PodId::random();
        let locks = runtime.locks();
        let lock_failed = |source| StartPodError::Lock {
            directory: locks.clone(),
            source,
        };
        runtime
            .settle_layers()
            .map_err(|source| StartPodError::Layers { source })?;
        let lock = LifeLock::create(&locks.join(id.as_str())).map_err(lock_failed)?;
        let layers = LayersLock::share(&runtime.layers_lock()).map_err(lock_failed)?;
        let keeper = runtime
            .launch_keeper(&options.name)
            .map_err(|source| StartPodError::Launch { source })?;
        let directory = Path::new("pods").join(id.as_str());
        prepare(&runtime, &keeper, &directory).map_err(|source| StartPodError::Prepare { source })?;
        let (watched, dropped) = channel();
        let inner = PodInner {
            id,
            runtime,
            name: options.name,
            keeper: RwLock::new(keeper),
            egress: options.egress,
            directory,
            lock: Mutex::new(Some(Locks {
                pod: lock,
                _layers: layers,
                kept: Vec::new(),
            })),
            addresses: AddressPool::new(),
            names: NameTable::default(),
            network: tokio::sync::Mutex::default(),
            bound: tokio::sync::Mutex::default(),
            volumes: tokio::sync::Mutex::default(),
            planned: tokio::sync::Mutex::default(),
            containers: Mutex::default(),
            gate: RwLock::new(Gate::Open),
            closing: CancellationToken::new(),
            excess: options.excess,
            _watched: watched,
            lent: Mutex::default(),
            written: options.written,
            printed: Meter::default(),
        };
        let inner = Arc::new(inner);
        watch::begin(&inner, dropped).map_err(|source| StartPodError::Watch { source })?;
        Ok(Self { inner })
    }

    /// Its id: the name of its directory and its lock.
    pub fn id(&self) -> &PodId {
        &self.inner.id
    }

    /// Its keeper, for what this crate does not offer. Calls block.
    pub fn keeper(&self) -> Keeper {
        self.inner.keeper()
    }

    /// Counts what is written for it outside of its directory: what goes through this is judged as its own.
    pub fn written(&self) -> &Meter {
        &self.inner.written
    }

    /// The runtime it belongs to.
    pub fn runtime(&self) -> &Runtime {
        &self.inner.runtime
    }

    /// What its containers may reach outside.
    pub fn egress(&self) -> &Egress {
        &self.inner.egress
    }

    /// Its directory, relative to the keepers' directory. Whatever is put there is removed with the pod.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// A path nobody uses, relative to the keepers' directory, in a directory that is there; removed with the pod.
    pub fn scratch(&self, prefix: &str) -> PathBuf {
        let name = format!("{prefix}-{}", uuid::Uuid::new_v4().simple());
        self.inner.directory.join("scratch").join(name)
    }

    /// Sees to it that every layer of an image is unpacked; bottom first.
    ///
    /// # Errors
    /// When a layer is missing, damaged, or cannot be written.
    pub async fn ensure_layers(&self, image: &Image) -> Result<Vec<LayerPath>, LayerError> {
        self.ensure_chain(&image.config.rootfs.diff_ids, &image.layers)
            .await
    }

    /// The same for a stack of layers that is no image (yet).
    ///
    /// # Errors
    /// When a layer is missing, damaged, or cannot be written.
    pub async fn ensure_chain(
        &self,
        diff_ids: &[Digest],
        layers: &[Descriptor],
    ) -> Result<Vec<LayerPath>, LayerError> {
        let scratch = self.inner.directory.join("scratch");
        self.inner
            .runtime
            .layers()
            .ensure(
                &self.inner.keeper(),
                &scratch,
                &self.inner.written,
                diff_ids,
                layers,
            )
            .await
    }

    /// Sees to it that each of these blobs is the layer with the diffID beside it, before [`Self::find_layer`] is asked on the word of
    /// whoever made an image. Reads the blobs of which it is not known yet.
    ///
    /// # Errors
    /// When one is another layer, or cannot be read.
    pub async fn prove_layers(&self, claims: Vec<(Digest, Descriptor)>) -> Result<(), LayerError> {
        self.inner.runtime.layers().prove(claims).await
    }

    /// Whether the layer with this chain id is unpacked, and where. That an image's layers have the diffIDs which the chain id is
    /// made of is for the caller to know.
    pub fn find_layer(&self, chain: &Digest) -> Option<LayerPath> {
        self.inner.runtime.layers().find(chain)
    }

    /// Makes a directory (an upper's `fs`, say) the unpacked layer of a chain id. The caller answers for its being
    /// that layer in overlay form, and says what is in it. When there is one already, the directory is dropped.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub async fn adopt_layer(
        &self,
        tree: &Path,
        chain: &Digest,
        holds: DiskUsage,
    ) -> Result<LayerPath, LayerError> {
        let (keeper, tree, chain) = (self.inner.keeper(), tree.to_owned(), chain.clone());
        let (lost, written) = (
            LayerError::Thread { layer: chain.clone() },
            self.inner.written.clone(),
        );
        tokio::task::spawn_blocking(move || place(&keeper, &tree, &chain, holds, &written))
            .await
            .map_err(|_| lost)?
    }

    /// Makes a container, ready to be started.
    ///
    /// # Errors
    /// When its root, network or process cannot be prepared.
    pub async fn create(&self, options: ContainerOptions) -> Result<Container, CreateError> {
        Container::create(self.clone(), options).await
    }

    /// Its containers that are not removed, in no particular order.
    pub fn containers(&self) -> Vec<Container> {
        let containers = self
            .inner
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        containers
            .values()
            .map(|inner| Container::new(self.clone(), Arc::clone(inner)))
            .collect()
    }

    /// For the output of a process: it counts as a file of the pod.
    pub(crate) fn spool(&self) -> io::Result<Spool> {
        Spool::create(&self.inner.runtime.spools(), &self.inner.printed)
    }

    pub(crate) fn register(&self, container: Arc<ContainerInner>) {
        let mut containers = self
            .inner
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        containers.insert(container.id.clone(), container);
    }

    pub(crate) fn forget(&self, container: &ContainerId) {
        self.inner
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(container);
    }

    /// Whether it can still start anything.
    pub fn is_open(&self) -> bool {
        *self.inner.gate.read().unwrap_or_else(PoisonError::into_inner) == Gate::Open
            && self.inner.keeper().is_alive()
    }

    /// Starts the keeper anew if it has ended, and says whether it had. What ran is dead; containers can be started again, and
    /// volumes, names and the network are as before. A pod that was closed stays so.
    ///
    /// # Errors
    /// When no keeper can be started, or the network not be made again.
    pub async fn revive(&self) -> Result<bool, RevivePodError> {
        if self.inner.keeper().is_alive() {
            return Ok(false);
        }
        // Held to the end: of two the second one finds a living keeper, and nobody makes a network meanwhile.
        let mut network = self.inner.network.lock().await;
        let is_closed = *self.inner.gate.read().unwrap_or_else(PoisonError::into_inner) == Gate::Closed;
        if is_closed || self.inner.keeper().is_alive() {
            return Ok(false);
        }
        // What the dead keeper called a process is the name of another one to the next.
        for container in self.containers() {
            container.at_rest().await;
        }
        let inner = Arc::clone(&self.inner);
        let launched = tokio::task::spawn_blocking(move || inner.runtime.launch_keeper(&inner.name))
            .await
            .map_err(|_| RevivePodError::Interrupted)?;
        let keeper = launched.map_err(|source| RevivePodError::Launch { source })?;
        {
            let gate = self.inner.gate.read().unwrap_or_else(PoisonError::into_inner);
            if *gate == Gate::Closed {
                // Whoever closed the pod meanwhile knew the dead one only.
                keeper.close();
                return Ok(false);
            }
            *self.inner.keeper.write().unwrap_or_else(PoisonError::into_inner) = keeper;
        }
        self.inner.bound.lock().await.clear();
        if let Some(before) = network.take() {
            before.cancel();
            let made = self.make_network().await;
            *network = Some(made.map_err(|source| RevivePodError::Network { source })?);
        }
        Ok(true)
    }

    /// Runs something that must not overlap with the end of the pod; refuses once that has begun.
    pub(crate) fn while_open<T>(
        &self,
        start: impl FnOnce(&Keeper) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        let gate = self.inner.gate.read().unwrap_or_else(PoisonError::into_inner);
        match *gate {
            Gate::Open => start(&self.inner.keeper()),
            Gate::Closed => Err(KeeperError::Gone),
        }
    }

    /// Says that the pod is about to end: from now on a keeper that does not answer for 10 s, because somebody stopped it, is
    /// killed, so that what is asked of the pod until [`Pod::close`] ends as well.
    pub fn expect_end(&self) {
        self.inner.keeper().insist(PATIENCE);
    }

    /// Ends the pod: kills what runs in it, removes what it has. A second call finds nothing to do.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        if tokio::task::spawn_blocking(move || inner.end()).await.is_err() {
            tracing::error!(pod = %self.inner.id, "ending the pod was interrupted; the next start removes the rest");
        }
    }
}

impl PodInner {
    /// Its keeper now; one that has ended is replaced by [`Pod::revive`].
    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self) {
        // Before anything that waits for who asks the keeper now.
        self.keeper().insist(PATIENCE);
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = Gate::Closed;
        self.closing.cancel();
        // Held to the end: who closes it a second time returns when it is closed.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(locks) = lock.take() else { return };
        let keeper = self.keeper();
        stop_all(&keeper, &self.containers);
        kept::set_aside(&keeper, &self.directory, &locks.kept);
        set_apart(&keeper, &self.directory);
        let removed = match keeper.remove_tree(&self.directory) {
            Err(KeeperError::Gone) => self.runtime.remove_without_pod(&self.directory),
            removed => removed.map_err(Into::into),
        };
        keeper.close();
        match removed {
            Ok(()) => {
                lent::give_back_all(self.runtime.store(), &self.id, &self.lent);
                if let Err(error) = locks.pod.remove() {
                    tracing::warn!(%error, pod = %self.id, "the lock of a pod that has ended stays");
                }
            }
            // The lock file marks it for the next sweep.
            Err(error) => {
                tracing::warn!(error = &*error, pod = %self.id, "the directory of a pod stays until the next start");
            }
        }
    }
}

impl Drop for PodInner {
    fn drop(&mut self) {
        self.closing.cancel();
        let Some(locks) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let (keeper, directory, id) = (self.keeper(), self.directory.clone(), self.id.clone());
        let containers = std::mem::take(&mut self.containers);
        let borrowed = std::mem::take(&mut self.lent);
        let runtime = self.runtime.clone();
        let ended = std::thread::Builder::new().name("pod-end".into()).spawn(move || {
            keeper.insist(PATIENCE);
            stop_all(&keeper, &containers);
            set_apart(&keeper, &directory);
            let removed = keeper.remove_tree(&directory);
            keeper.close();
            lent::give_back_all(runtime.store(), &id, &borrowed);
            if removed.is_err() || locks.pod.remove().is_err() {
                tracing::warn!(pod = %id, "the directory of a dropped pod stays until the next start");
            }
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "a dropped pod ends with its keeper; the next start removes the rest");
        }
    }
}

/// Their file systems must be unmounted before what lies under them is removed.
fn stop_all(keeper: &Keeper, containers: &Mutex<BTreeMap<ContainerId, Arc<ContainerInner>>>) {
    let containers = std::mem::take(&mut *containers.lock().unwrap_or_else(PoisonError::into_inner));
    for container in containers.values() {
        container.stop_for_good(keeper);
    }
}

/// The parts of a pod's directory.
const PARTS: [&str; 3] = ["scratch", "containers", "volumes"];

/// Moves all that a pod has to where nobody looks for it. What was begun and then dropped, such as the unpacking of a layer, may still come
/// to its end on a thread of its own: it must not put in its place, as whole, what is being removed.
fn set_apart(keeper: &Keeper, directory: &Path) {
    for part in PARTS {
        if let Err(error) = keeper.rename(&directory.join(part), &directory.join(format!("ended-{part}"))) {
            tracing::debug!(%error, part, "a part of an ended pod stays in its place");
        }
    }
}

fn prepare(runtime: &Runtime, keeper: &Keeper, directory: &Path) -> Result<(), KeeperError> {
    runtime.make_shared(keeper)?;
    keeper.make_directory(directory, 0o755, (0, 0))?;
    for part in PARTS {
        keeper.make_directory(&directory.join(part), 0o755, (0, 0))?;
    }
    Ok(())
}
