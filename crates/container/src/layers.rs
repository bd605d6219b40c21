//! Unpacked layers: a cache, keyed by chain id, of directories that the keepers can put under an overlay.
//!
//! A layer is wanted when a container or a `RUN` starts on it, and only then is it unpacked: its blob is read through
//! a verifier, decompressed and hashed on a thread of ours, and written by a worker of the keeper into a directory
//! that nobody looks at. When all has been read and both digests hold, one rename makes it a layer. Removed are all at once:
//! one rename of `layers/` itself puts them where nobody looks, and only there they are taken apart. So a directory
//! under `layers/` is whole and verified, at any moment, whoever is killed; what a power cut may have done to it is in
//! `boot`.
//!
//! A chain id is made of what an image's configuration claims. So that nobody gets a stranger's files by claiming their names, each
//! blob of an image was seen to be the layer that it is said to be before a directory is given out: [`proof`].
//!
//! Layers that are missing are unpacked side by side. Two containers of one process that want the same layer wait for
//! one unpacking; two processes each do their own, and the later rename finds the place taken and drops its copy.
//!
//! Assumption: nobody but this module and [`crate::Pod::adopt_layer`] puts anything under `layers/`.

mod boot;
mod proof;
mod unpack;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt};
use shipway_oci::{Descriptor, Digest, chain_ids};
use shipway_sandbox::{DiskUsage, Keeper, KeeperError};
use shipway_store::{Meter, Store};
use tokio::sync::Semaphore;

pub(crate) use boot::Boot;
use unpack::Job;

/// The directory of a layer, relative to the keepers' directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerPath(PathBuf);

impl LayerPath {
    /// Where the layer with this chain id is or will be.
    pub fn of_chain(chain: &Digest) -> Self {
        Self(Path::new("layers").join(chain.hex()))
    }

    /// The path, relative to the keepers' directory.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for LayerPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// How many layers are known to fit into the one page of mount options. Docker makes images of at most 127.
const MOST_LAYERS: usize = 200;

/// A layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// There are not as many layers as names for them.
    #[error("{layers} layers cannot have {diff_ids} diff ids")]
    Count {
        /// Blobs.
        layers: usize,
        /// Diff ids.
        diff_ids: usize,
    },
    /// More than are mounted over each other here.
    #[error(
        "an image of {layers} layers cannot be run: at most {MOST_LAYERS} are mounted over each other; merge steps of its Dockerfile"
    )]
    TooMany {
        /// Its layers.
        layers: usize,
    },
    /// The blob cannot be read: missing, damaged, not what its name says, or not compressed as any layer is.
    #[error("layer {layer} cannot be read from the store")]
    Read {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What came out of it is not what the image's configuration says.
    #[error("layer {layer} unpacks to {found}, but the image's configuration promises {expected}")]
    DiffId {
        /// Its blob.
        layer: Digest,
        /// The diff id promised.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// The keeper could not write it.
    #[error("layer {layer} cannot be unpacked")]
    Unpack {
        /// Its blob.
        layer: Digest,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The keeper could not make or move a directory.
    #[error("cannot put layer {chain} in its place")]
    Place {
        /// Its chain id.
        chain: Digest,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// A thread of ours ended early.
    #[error("the thread that unpacked layer {layer} ended before it was done")]
    Thread {
        /// Its blob.
        layer: Digest,
    },
}

impl LayerError {
    /// The blob at fault, where it is the fault of one.
    pub fn layer(&self) -> Option<&Digest> {
        match self {
            Self::Read { layer, .. } | Self::DiffId { layer, .. } | Self::Unpack { layer, .. } => Some(layer),
            Self::Count { .. } | Self::TooMany { .. } | Self::Place { .. } | Self::Thread { .. } => None,
        }
    }
}

/// The layers of one installation, as one process sees them. Clones share everything.
#[derive(Clone)]
pub(crate) struct Layers {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// The keepers' directory, as this process names it.
    directory: PathBuf,
    /// Layers being unpacked by this process.
    busy: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    slots: Semaphore,
}

impl Layers {
    pub(crate) fn new(store: Store, directory: PathBuf) -> Self {
        let slots = std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 8);
        let inner = Inner {
            store,
            directory,
            busy: Mutex::default(),
            slots: Semaphore::new(slots),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Where the layer is, if it is unpacked.
    pub(crate) fn find(&self, chain: &Digest) -> Option<LayerPath> {
        let path = LayerPath::of_chain(chain);
        // Our own user owns that directory or is root, so no keeper has to be asked.
        self.inner.directory.join(&path).is_dir().then_some(path)
    }

    /// Sees to it that every layer of a stack is unpacked, and gives their directories, bottom first.
    pub(crate) async fn ensure(
        &self,
        keeper: &Keeper,
        scratch: &Path,
        written: &Meter,
        diff_ids: &[Digest],
        blobs: &[Descriptor],
    ) -> Result<Vec<LayerPath>, LayerError> {
        if diff_ids.len() != blobs.len() {
            return Err(LayerError::Count {
                layers: blobs.len(),
                diff_ids: diff_ids.len(),
            });
        }
        if blobs.len() > MOST_LAYERS {
            return Err(LayerError::TooMany { layers: blobs.len() });
        }
        let chains = chain_ids(diff_ids);
        let paths: Vec<_> = chains.iter().map(LayerPath::of_chain).collect();
        let mut work = FuturesUnordered::new();
        for (index, chain) in chains.iter().enumerate() {
            if self.find(chain).is_none() {
                let job = Job {
                    blob: blobs[index].clone(),
                    diff_id: diff_ids[index].clone(),
                    below: paths[..index].to_vec(),
                    scratch: scratch.to_owned(),
                };
                work.push(self.unpack(keeper, written, chain, job));
            }
        }
        let mut again = Vec::new();
        while let Some(result) = work.next().await {
            again.extend(result?);
        }
        drop(work);
        // Directories that a layer implies look as they do below; these had to wait until there is a below.
        again.sort_by_key(|(_, job): &(Digest, Job)| job.below.len());
        for (chain, job) in again {
            self.unpack(keeper, written, &chain, job).await?;
        }
        let claims = diff_ids.iter().cloned().zip(blobs.iter().cloned());
        self.prove(claims.collect()).await?;
        Ok(paths)
    }

    /// Unpacks one layer unless somebody else does; gives the job back when it has to be done again later.
    async fn unpack(
        &self,
        keeper: &Keeper,
        written: &Meter,
        chain: &Digest,
        job: Job,
    ) -> Result<Option<(Digest, Job)>, LayerError> {
        let turn = {
            let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(busy.entry(chain.clone()).or_default())
        };
        let result = {
            let _turn = turn.lock().await;
            match self.find(chain) {
                Some(_) => Ok(None),
                None => self.unpack_alone(keeper, written, chain, job).await,
            }
        };
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours and the map's: nobody waits for it.
        if Arc::strong_count(&turn) <= 2 {
            busy.remove(chain);
        }
        result
    }

    async fn unpack_alone(
        &self,
        keeper: &Keeper,
        written: &Meter,
        chain: &Digest,
        job: Job,
    ) -> Result<Option<(Digest, Job)>, LayerError> {
        let _slot = self.inner.slots.acquire().await;
        let below_is_there = job
            .below
            .iter()
            .all(|path| self.inner.directory.join(path).is_dir());
        let started = std::time::Instant::now();
        let (store, keeper, chain) = (self.inner.store.clone(), keeper.clone(), chain.clone());
        let (layer, written) = (job.blob.digest.clone(), written.clone());
        let done = tokio::task::spawn_blocking(move || {
            let tree = job.run(&store, &keeper)?;
            if tree.implied > 0 && !below_is_there {
                tree.discard(&keeper);
                return Ok(Some((chain, job)));
            }
            tracing::debug!(%chain, elapsed = ?started.elapsed(), entries = tree.holds.files, "unpacked a layer");
            proof::keep(&store, &job.blob, &job.diff_id);
            place(&keeper, &tree.path, &chain, tree.holds, &written)?;
            Ok(None)
        });
        done.await.map_err(|_| LayerError::Thread { layer })?
    }
}

/// Makes a whole directory, which holds so much, the layer of that chain id, and counts it for who wrote it. When there is one
/// already, this one is dropped.
pub(crate) fn place(
    keeper: &Keeper,
    tree: &Path,
    chain: &Digest,
    holds: DiskUsage,
    written: &Meter,
) -> Result<LayerPath, LayerError> {
    let path = LayerPath::of_chain(chain);
    match keeper.rename(tree, path.as_path()) {
        Ok(()) => {
            written.add(holds.bytes, holds.files);
            Ok(path)
        }
        Err(error) if already_exists(&error) => {
            if let Err(error) = keeper.remove_tree(tree) {
                tracing::warn!(%error, "a layer that another process was faster to unpack stays behind");
            }
            Ok(path)
        }
        Err(source) => Err(LayerError::Place {
            chain: chain.clone(),
            source,
        }),
    }
}

fn already_exists(error: &KeeperError) -> bool {
    use rustix::io::Errno;
    let errno = match error {
        KeeperError::System { cause, .. } => Errno::from_raw_os_error(cause.errno()),
        _ => return false,
    };
    errno == Errno::EXIST || errno == Errno::NOTEMPTY
}
