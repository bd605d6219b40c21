//! Where steps run: the caller's pod, or one of our own that the first step in need of it starts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_container::{Egress, Excess, ExcessSignal, LayerError, LayerPath, Pod, PodOptions, Runtime};
use shipway_oci::chain_ids;
use shipway_sandbox::{Isolation, Keeper, KeeperError};
use shipway_store::Meter;
use tokio::sync::OnceCell;

use super::behind::LayerBlob;
use super::stage::Snapshot;
use crate::error::StepError;

pub(crate) struct Site {
    runtime: Runtime,
    given: Option<Pod>,
    egress: Option<Egress>,
    own: OnceCell<Pod>,
    excess: ExcessSignal,
    written: Meter,
}

impl Site {
    pub(crate) fn new(runtime: Runtime, given: Option<Pod>, egress: Option<Egress>) -> Self {
        let written = given
            .as_ref()
            .map_or_else(Meter::default, |pod| pod.written().clone());
        Self {
            written,
            runtime,
            given,
            egress,
            own: OnceCell::new(),
            excess: ExcessSignal::default(),
        }
    }

    pub(crate) async fn pod(&self) -> Result<&Pod, StepError> {
        if let Some(pod) = &self.given {
            return Ok(pod);
        }
        self.own.get_or_try_init(async || self.start().await).await
    }

    /// Starts the pod before a step asks for it, since one will. A failure is told to the step that asks.
    pub(crate) async fn start_ahead(&self) {
        if let Err(error) = self.pod().await {
            tracing::debug!(%error, "the pod did not start ahead of the first step");
        }
    }

    /// How steps are kept apart.
    pub(crate) fn isolation(&self) -> Isolation {
        self.runtime.isolation()
    }

    /// What steps may reach.
    pub(crate) fn egress(&self) -> Result<Egress, StepError> {
        match (&self.given, &self.egress) {
            (Some(pod), _) => Ok(pod.egress().clone()),
            (None, Some(egress)) => Ok(egress.clone()),
            (None, None) => Egress::detect([]).map_err(|source| StepError::Egress { source }),
        }
    }

    /// Counts what is written for the build outside of its pod's directory.
    pub(crate) fn written(&self) -> &Meter {
        &self.written
    }

    async fn start(&self) -> Result<Pod, StepError> {
        let options = PodOptions {
            name: "build".to_owned(),
            egress: self.egress()?,
            excess: self.excess.clone(),
            written: self.written.clone(),
        };
        self.runtime
            .start_pod(options)
            .await
            .map_err(|source| StepError::Pod { source })
    }

    /// The unpacked layers of a state, bottom first.
    pub(crate) async fn layers(&self, state: &Snapshot) -> Result<Vec<LayerPath>, StepError> {
        let pod = self.pod().await?;
        let diff_ids = &state.config.rootfs.diff_ids;
        // What is unpacked stays so while the pod lives, and needs no blob: those of this build's own layers may be
        // on their way yet.
        let unpacked = chain_ids(diff_ids)
            .iter()
            .map(|chain| pod.find_layer(chain))
            .collect();
        if let Some(unpacked) = unpacked {
            let mut claims = Vec::new();
            for (diff_id, layer) in diff_ids.iter().zip(&state.layers) {
                if let Some(claimed) = layer.claimed().await? {
                    claims.push((diff_id.clone(), claimed));
                }
            }
            pod.prove_layers(claims)
                .await
                .map_err(|source| blamed(state, source))?;
            return Ok(unpacked);
        }
        let blobs = state.descriptors().await?;
        pod.ensure_chain(diff_ids, &blobs)
            .await
            .map_err(|source| blamed(state, source))
    }

    /// Whether the pod is the caller's.
    pub(crate) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Removes a scratch directory with nothing of size or worth left in it. A pod of our own takes it along when it ends, which is soon;
    /// one that was given may stay for long.
    pub(crate) async fn discard(&self, scratch: Scratch) -> Result<(), StepError> {
        if self.given.is_none() {
            scratch.leave();
            return Ok(());
        }
        blocking(move || {
            scratch.remove();
            Ok(())
        })
        .await
    }

    /// Why a pod of our own was ended before its time, if it was.
    pub(crate) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Ends a pod of our own.
    pub(crate) async fn close(&self) {
        if let Some(pod) = self.own.get() {
            pod.close().await;
        }
    }
}

/// A layer that is not what was claimed, or cannot be unpacked, is the fault of the import that it came from, if it came from one.
fn blamed(state: &Snapshot, source: LayerError) -> StepError {
    if let Some(blob) = source.layer() {
        let imported = state.layers.iter().filter_map(LayerBlob::elsewhere);
        for layer in imported.filter(|layer| layer.blob.as_ref().is_some_and(|of| of.digest == *blob)) {
            layer.is_false(&source);
        }
    }
    StepError::Layers { source }
}

/// Runs something that blocks on the keeper.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StepError::Interrupted)?
}

/// A scratch directory of the pod that goes away when the step is over, however it ends.
pub(crate) struct Scratch {
    keeper: Keeper,
    pub(crate) path: PathBuf,
    settled: AtomicBool,
}

impl Scratch {
    /// Blocks.
    pub(crate) fn make(pod: &Pod, prefix: &str) -> Result<Self, KeeperError> {
        let scratch = Self {
            keeper: pod.keeper(),
            path: pod.scratch(prefix),
            settled: AtomicBool::new(false),
        };
        scratch.keeper.make_directory(&scratch.path, 0o755, (0, 0))?;
        Ok(scratch)
    }

    /// Leaves it to the pod, which ends soon.
    fn leave(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Blocks.
    pub(crate) fn remove(&self) {
        self.leave();
        if let Err(error) = self.keeper.remove_tree(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a scratch directory stays until the pod ends");
        }
    }
}

impl Drop for Scratch {
    /// A step that failed, or a build that was dropped, must not leave its secrets in a pod that goes on.
    fn drop(&mut self) {
        if self.settled.load(Ordering::Relaxed) {
            return;
        }
        let (keeper, path) = (self.keeper.clone(), std::mem::take(&mut self.path));
        // Without a runtime the process is about to end, and the pod with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                if let Err(error) = keeper.remove_tree(&path) {
                    tracing::debug!(%error, path = %path.display(), "a scratch directory stays until the pod ends");
                }
            });
        }
    }
}
