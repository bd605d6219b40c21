//! What all pods of a process share: where data lies, images, unpacked layers, and the way to names outside.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shipway_registry::Client;
use shipway_sandbox::{IdMap, Isolation, Keeper, KeeperError, LaunchError, LaunchOptions};
use shipway_store::Store;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::dns::Upstream;
use crate::ids::PodId;
use crate::images::Images;
use crate::layers::{Boot, Layers};
use crate::limits::PodLimits;
use crate::lock::{self, LayersLock, LifeLock};
use crate::pod::{Pod, PodOptions, StartPodError, lent};

/// What a runtime is made of.
pub struct RuntimeOptions {
    /// The data directory of the installation.
    pub data: PathBuf,
    /// Its store.
    pub store: Store,
    /// The way to registries.
    pub client: Client,
    /// By which means containers are kept apart.
    pub isolation: Isolation,
    /// The ids that pods get.
    pub id_map: IdMap,
    /// The binary that becomes the keeper, when it is not the one that runs (see [`LaunchOptions::executable`]).
    pub keeper: Option<PathBuf>,
    /// What each pod may use.
    pub limits: PodLimits,
    /// What becomes of what pods of dead processes left.
    pub leftovers: Leftovers,
}

/// What becomes of what pods of dead processes left when a runtime is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leftovers {
    /// It is removed in the background.
    #[default]
    Sweep,
    /// It stays: somebody only looks.
    Leave,
}

impl RuntimeOptions {
    /// Options for pods whose keeper is this very binary.
    pub fn new(data: impl Into<PathBuf>, store: Store, client: Client, id_map: IdMap) -> Self {
        Self {
            data: data.into(),
            store,
            client,
            isolation: Isolation::default(),
            id_map,
            keeper: None,
            limits: PodLimits::default(),
            leftovers: Leftovers::default(),
        }
    }
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for containers", path.display())]
pub struct OpenRuntimeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Unpacked layers were not removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneLayersError {
    /// A pod lives, and may use them.
    #[error("a pod of this installation is running and may use the unpacked layers: end it first")]
    InUse,
    /// The lock or the directory cannot be used.
    #[error("cannot look at the unpacked layers")]
    Look {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No keeper can be started, and only a keeper can remove them.
    #[error("cannot start a keeper to remove the unpacked layers")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// The keeper failed.
    #[error("cannot remove the unpacked layers")]
    Remove {
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The thread that did it ended early.
    #[error("removing the unpacked layers was interrupted")]
    Interrupted,
}

/// Containers on this machine. Clones are the same.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    data: PathBuf,
    directory: PathBuf,
    store: Store,
    client: Client,
    isolation: Isolation,
    id_map: IdMap,
    keeper: Option<PathBuf>,
    limits: PodLimits,
    judging: Mutex<()>,
    images: Images,
    layers: Layers,
    upstream: OnceCell<Upstream>,
    /// The removal of what dead processes left, since the opening.
    sweeping: tokio::sync::Mutex<Option<JoinHandle<Swept>>>,
}

/// A keeper that ends with this.
#[derive(Debug)]
pub struct Housekeeper(Keeper);

impl std::ops::Deref for Housekeeper {
    type Target = Keeper;

    fn deref(&self) -> &Keeper {
        &self.0
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Layers that are on their way out: in the place of a pod, which the next sweep takes for dead when this process ends.
struct Aside {
    keeper: Keeper,
    tree: PathBuf,
    mark: LifeLock,
}

impl Aside {
    fn finish(self) -> Result<(), PruneLayersError> {
        let removed = self.keeper.remove_tree(&self.tree);
        self.keeper.close();
        removed.map_err(|source| PruneLayersError::Remove { source })?;
        self.mark
            .remove()
            .map_err(|source| PruneLayersError::Look { source })
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Dead pods whose leftovers are gone.
    pub pods: usize,
    /// Dead pods whose leftovers are still there; the log says why.
    pub failed: usize,
}

impl Runtime {
    /// Opens the data directory, and begins to remove what dead processes left in it.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub async fn open(options: RuntimeOptions) -> Result<Self, OpenRuntimeError> {
        let RuntimeOptions {
            data,
            store,
            client,
            isolation,
            id_map,
            keeper,
            limits,
            leftovers,
        } = options;
        for directory in [locks(&data), spools(&data)] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|source| OpenRuntimeError {
                    path: directory,
                    source,
                })?;
        }
        let directory = data.join("keeper").join(isolation.class(&id_map));
        let inner = Inner {
            images: Images::new(store.clone(), client.clone()),
            layers: Layers::new(store.clone(), directory.clone()),
            upstream: OnceCell::new(),
            sweeping: tokio::sync::Mutex::default(),
            data,
            directory,
            store,
            client,
            isolation,
            id_map,
            keeper,
            limits,
            judging: Mutex::default(),
        };
        let runtime = Self {
            inner: Arc::new(inner),
        };
        if leftovers == Leftovers::Sweep {
            let sweeping = runtime.clone();
            let sweep = tokio::spawn(async move { sweeping.sweep().await });
            *runtime.inner.sweeping.lock().await = Some(sweep);
        }
        Ok(runtime)
    }

    /// Waits for what the opening has begun in the background, and says what it did; nothing the second time.
    pub async fn settled(&self) -> Swept {
        let Some(sweep) = self.inner.sweeping.lock().await.take() else {
            return Swept::default();
        };
        sweep.await.unwrap_or_else(|_| {
            tracing::warn!("removing leftovers of dead pods was interrupted; the next start goes on");
            Swept::default()
        })
    }

    /// The images of this installation.
    pub fn images(&self) -> &Images {
        &self.inner.images
    }

    /// Where their bytes are.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The way to registries.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.inner.data
    }

    /// The ids that pods get.
    pub fn id_map(&self) -> &IdMap {
        &self.inner.id_map
    }

    /// By which means containers are kept apart.
    pub fn isolation(&self) -> Isolation {
        self.inner.isolation
    }

    fn class(&self) -> String {
        self.inner.isolation.class(&self.inner.id_map)
    }

    /// Starts a pod: a keeper with nothing running yet.
    ///
    /// # Errors
    /// When no keeper can be started here, or its directory cannot be prepared.
    pub async fn start_pod(&self, options: PodOptions) -> Result<Pod, StartPodError> {
        Pod::start(self.clone(), options).await
    }

    /// Removes what pods of dead processes left behind. Also happens at each start.
    pub async fn sweep(&self) -> Swept {
        let runtime = self.clone();
        tokio::task::spawn_blocking(move || runtime.sweep_blocking())
            .await
            .unwrap_or_default()
    }

    /// Removes all unpacked layers of this class of ids, and says how many there were. They are a cache: what is
    /// needed again is unpacked again.
    ///
    /// # Errors
    /// When a pod lives, of whatever process, or they cannot be removed.
    pub async fn prune_layers(&self) -> Result<usize, PruneLayersError> {
        let runtime = self.clone();
        let pruned = tokio::task::spawn_blocking(move || runtime.prune_layers_blocking());
        pruned.await.map_err(|_| PruneLayersError::Interrupted)?
    }

    /// How many unpacked layers [`Runtime::prune_layers`] would remove now.
    ///
    /// # Errors
    /// When a pod lives that may use them, or they cannot be looked at.
    pub async fn count_layers(&self) -> Result<usize, PruneLayersError> {
        let runtime = self.clone();
        let counted = tokio::task::spawn_blocking(move || {
            let lock = LayersLock::take(&runtime.layers_lock());
            let _lock = lock
                .map_err(|source| PruneLayersError::Look { source })?
                .ok_or(PruneLayersError::InUse)?;
            runtime.count_layers_locked()
        });
        counted.await.map_err(|_| PruneLayersError::Interrupted)?
    }

    fn count_layers_locked(&self) -> Result<usize, PruneLayersError> {
        match std::fs::read_dir(self.inner.directory.join("layers")) {
            Ok(layers) => Ok(layers.count()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(PruneLayersError::Look { source }),
        }
    }

    /// The layers leave their place in one step, as what a dead pod left: whoever is killed after it leaves to the next sweep
    /// what nobody looks at, and not half a layer where whole ones are.
    fn prune_layers_blocking(&self) -> Result<usize, PruneLayersError> {
        let look = |source| PruneLayersError::Look { source };
        let lock = LayersLock::take(&self.layers_lock()).map_err(look)?;
        let lock = lock.ok_or(PruneLayersError::InUse)?;
        let count = self.count_layers_locked()?;
        let removed = if count > 0 {
            Some(self.set_layers_aside()?)
        } else {
            None
        };
        // Whatever is unpacked from now on is of this boot. Without the record the next pod only removes them once more.
        if let Err(error) = Boot::of(&self.inner.directory).record() {
            tracing::warn!(%error, "it is not recorded that no unpacked layer is older than this boot");
        }
        // Pods may start again: none finds what is aside.
        drop(lock);
        if let Some(removed) = removed {
            removed.finish()?;
        }
        Ok(count)
    }

    fn set_layers_aside(&self) -> Result<Aside, PruneLayersError> {
        let keeper = self
            .launch_keeper("prune")
            .map_err(|source| PruneLayersError::Launch { source })?;
        let id = PodId::random();
        let mark = LifeLock::create(&self.locks().join(id.as_str()))
            .map_err(|source| PruneLayersError::Look { source })?;
        let tree = Path::new("pods").join(id.as_str());
        let moved = self
            .make_shared(&keeper)
            .and_then(|()| keeper.rename(Path::new("layers"), &tree));
        match moved {
            Ok(()) => Ok(Aside { keeper, tree, mark }),
            Err(source) => {
                keeper.close();
                if let Err(error) = mark.remove() {
                    tracing::warn!(%error, "the mark of layers that are not removed stays until the next sweep");
                }
                Err(PruneLayersError::Remove { source })
            }
        }
    }

    /// Makes the directories that all pods of this class share.
    pub(crate) fn make_shared(&self, keeper: &Keeper) -> Result<(), KeeperError> {
        for shared in ["layers", "pods"] {
            let place = self.inner.directory.join(shared);
            if !place.is_dir() {
                match keeper.make_directory(Path::new(shared), 0o755, (0, 0)) {
                    // Another pod was first.
                    Err(_) if place.is_dir() => {}
                    made => made?,
                }
            }
        }
        Ok(())
    }

    /// Removes layers of which it is not known that all their bytes are there (see `layers::boot`). Blocks.
    pub(crate) fn settle_layers(&self) -> Result<(), PruneLayersError> {
        let boot = Boot::of(&self.inner.directory);
        // The second time after somebody else was removing them, and may have been killed at it.
        for _ in 0..2 {
            if boot.is_recorded() {
                return Ok(());
            }
            match self.prune_layers_blocking() {
                Ok(_) => return Ok(()),
                Err(PruneLayersError::InUse) => {
                    LayersLock::share(&self.layers_lock())
                        .map_err(|source| PruneLayersError::Look { source })?;
                }
                Err(error) => return Err(error),
            }
        }
        // A pod of these ids lives on them, and has settled them if it could record it.
        Ok(())
    }

    fn sweep_blocking(&self) -> Swept {
        if let Err(error) = self.inner.store.sweep_abandoned() {
            tracing::warn!(%error, "blobs that dead processes did not finish stay until a collection");
        }
        let directory = locks(&self.inner.data);
        let pods = lock::pods(&directory).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for leftovers of dead pods");
            Vec::new()
        });
        let mut swept = Swept::default();
        let mut keeper = None;
        for pod in pods {
            if self.is_of_another_class(&pod) {
                continue;
            }
            let leftover = match LifeLock::take_over(&directory.join(pod.as_str())) {
                Ok(Some(leftover)) => leftover,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, %pod, "cannot see whether a pod is alive");
                    continue;
                }
            };
            match self.sweep_pod(&mut keeper, &pod, leftover) {
                Ok(()) => swept.pods += 1,
                Err(error) => {
                    tracing::warn!(error = &*error, %pod, "leftovers of a dead pod stay");
                    swept.failed += 1;
                }
            }
        }
        if let Some(keeper) = keeper {
            keeper.close();
        }
        swept
    }

    /// Whether a pod of other ids has its directory elsewhere: only a keeper with those ids can remove it.
    fn is_of_another_class(&self, pod: &PodId) -> bool {
        let classes = std::fs::read_dir(self.inner.data.join("keeper"));
        classes.into_iter().flatten().flatten().any(|class| {
            class.path() != self.inner.directory && class.path().join("pods").join(pod.as_str()).exists()
        })
    }

    /// Removes a directory of a pod whose keeper has ended, with a keeper of its own.
    pub(crate) fn remove_without_pod(&self, directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let keeper = self.launch_keeper("sweep")?;
        let removed = keeper.remove_tree(directory);
        keeper.close();
        Ok(removed?)
    }

    fn sweep_pod(
        &self,
        keeper: &mut Option<Keeper>,
        pod: &PodId,
        leftover: LifeLock,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let directory = &Path::new("pods").join(pod.as_str());
        lent::forget(&self.inner.store, pod)?;
        if self.inner.directory.join(directory).exists() {
            let keeper = match keeper {
                Some(keeper) => keeper,
                None => keeper.insert(self.launch_keeper("sweep")?),
            };
            keeper.remove_tree(directory)?;
        }
        leftover.remove()?;
        Ok(())
    }

    /// A keeper without a pod, for work on the keepers' directory that belongs to no container. Blocks.
    ///
    /// # Errors
    /// When none can be started here.
    pub fn housekeeper(&self) -> Result<Housekeeper, LaunchError> {
        self.launch_keeper("upkeep").map(Housekeeper)
    }

    pub(crate) fn launch_keeper(&self, hostname: &str) -> Result<Keeper, LaunchError> {
        let mut options = LaunchOptions::new(self.inner.id_map.clone(), &self.inner.directory, hostname);
        options.isolation = self.inner.isolation;
        options.executable.clone_from(&self.inner.keeper);
        options.processes = self.inner.limits.processes;
        Keeper::launch(&options)
    }

    pub(crate) fn limits(&self) -> &PodLimits {
        &self.inner.limits
    }

    /// Held while a pod is judged by what it has of a disk that is nearly full.
    pub(crate) fn turn_to_judge(&self) -> MutexGuard<'_, ()> {
        self.inner.judging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keepers' directory, as this process names it.
    pub fn keeper_directory(&self) -> &Path {
        &self.inner.directory
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    pub(crate) fn locks(&self) -> PathBuf {
        locks(&self.inner.data)
    }

    /// Where the lock of this class's layers is. No pod has this name.
    pub(crate) fn layers_lock(&self) -> PathBuf {
        self.locks().join(format!("layers.{}", self.class()))
    }

    /// The locks of this class's volumes that outlive their pods.
    pub(crate) fn kept_volumes(&self) -> PathBuf {
        self.inner.data.join("kept-volumes").join(self.class())
    }

    pub(crate) fn spools(&self) -> PathBuf {
        spools(&self.inner.data)
    }

    /// Read when the first pod wants a network: most verbs never do.
    pub(crate) async fn upstream(&self) -> &Upstream {
        self.inner
            .upstream
            .get_or_init(async || Upstream::from_host())
            .await
    }
}

fn locks(data: &Path) -> PathBuf {
    data.join("locks")
}

fn spools(data: &Path) -> PathBuf {
    data.join("spool")
}
