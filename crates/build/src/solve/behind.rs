//! What is still done while later steps run: layers being compressed, blobs being synced, results being remembered.
//!
//! A later step needs a layer's diffID and its directory, and both are there when its tar has been read. The rest runs
//! behind the steps, on as many threads as [`LAYERS`] says, and is waited for before the image is put together:
//! nothing has a name whose bytes are not on disk. A failure there is the failure of the step whose layer it was.
//!
//! Nothing here waits for a step, so a build that is dropped leaves work that comes to its end by itself.

use std::sync::{Arc, Mutex, PoisonError};

use shipway_oci::Descriptor;
use shipway_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::cache::{Elsewhere, KnownBlob};
use crate::compression::Room;
use crate::error::{BuildError, StepError};

/// Layers of one builder that may be under way. Each reader and each writer holds at most one block that it does
/// not work on, so this stays below half of the blocks that [`Room`] has.
const LAYERS: usize = 12;

/// Bounds on what all builds of a builder leave behind their steps. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    layers: Arc<Semaphore>,
    pub(super) room: Room,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: Arc::new(Semaphore::new(LAYERS)),
            room: Room::default(),
        }
    }
}

impl Limits {
    /// Waits until a layer may begin; it lasts as long as the permit.
    pub(super) async fn begin_layer(&self) -> Result<OwnedSemaphorePermit, StepError> {
        Arc::clone(&self.layers)
            .acquire_owned()
            .await
            .map_err(|_| StepError::Interrupted)
    }
}

/// The blob of a layer.
#[derive(Clone)]
pub(crate) enum LayerBlob {
    /// In the store.
    There(Box<Descriptor>),
    /// On its way there.
    Coming(watch::Receiver<Option<Descriptor>>),
    /// Where an import has it; brought into the store when it is needed.
    Elsewhere(Arc<Elsewhere>, Store),
}

impl LayerBlob {
    /// What stands for a layer that this build did not make itself: its diffID is somebody's word until it was looked at.
    pub(crate) async fn claimed(&self) -> Result<Option<Descriptor>, StepError> {
        match self {
            Self::There(_) | Self::Elsewhere(..) => self.descriptor().await.map(Some),
            Self::Coming(_) => Ok(None),
        }
    }

    /// The import that it is of, if it is of one.
    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        match self {
            Self::Elsewhere(elsewhere, _) => Some(elsewhere),
            Self::There(_) | Self::Coming(_) => None,
        }
    }

    /// What an export needs to know of it: it is left where it is.
    pub(crate) async fn known(&self) -> Result<KnownBlob, StepError> {
        match self {
            Self::Elsewhere(elsewhere, _) => Ok(KnownBlob::Elsewhere(Arc::clone(elsewhere))),
            Self::There(_) | Self::Coming(_) => self
                .descriptor()
                .await
                .map(|blob| KnownBlob::Here(Box::new(blob))),
        }
    }

    /// Its descriptor, once it is in the store, where an import's is brought for it. When it fails to get there, what waits for it was interrupted; the
    /// cause is told by [`Behind::settle`].
    pub(crate) async fn descriptor(&self) -> Result<Descriptor, StepError> {
        match self {
            Self::There(descriptor) => Ok((**descriptor).clone()),
            Self::Elsewhere(elsewhere, store) => elsewhere.bring(store).await,
            Self::Coming(coming) => {
                let mut coming = coming.clone();
                let there = coming.wait_for(Option::is_some).await;
                there
                    .ok()
                    .and_then(|there| there.clone())
                    .ok_or(StepError::Interrupted)
            }
        }
    }
}

impl std::fmt::Debug for LayerBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::There(descriptor) => f.debug_tuple("There").field(descriptor).finish(),
            Self::Coming(_) => f.write_str("Coming"),
            Self::Elsewhere(elsewhere, _) => f.debug_tuple("Elsewhere").field(elsewhere).finish(),
        }
    }
}

type Work = JoinHandle<Result<(), StepError>>;
type Blame = Box<dyn FnOnce(StepError) -> BuildError + Send>;

/// The work behind the steps of one build.
#[derive(Default)]
pub(super) struct Behind {
    work: Mutex<Vec<(Work, Blame)>>,
}

impl Behind {
    /// Takes note of work under way; `blame` makes its failure one of its step.
    pub(super) fn add(&self, work: Work, blame: impl FnOnce(StepError) -> BuildError + Send + 'static) {
        self.work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((work, Box::new(blame)));
    }

    /// Waits for all of it, and gives the failure of the earliest step.
    pub(super) async fn settle(&self) -> Result<(), BuildError> {
        let work = std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner));
        let mut outcome = Ok(());
        for (work, blame) in work {
            let done = work.await.unwrap_or(Err(StepError::Interrupted));
            outcome = outcome.and(done.map_err(blame));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(outcome: Result<(), StepError>) -> Work {
        tokio::task::spawn_blocking(move || outcome)
    }

    fn of_line(line: u32) -> impl FnOnce(StepError) -> BuildError + Send {
        move |source| BuildError::Step {
            file: "Dockerfile".to_owned(),
            line,
            text: String::new(),
            source: Box::new(source),
        }
    }

    #[tokio::test]
    async fn the_earliest_failure_is_told_when_all_is_done() {
        let behind = Behind::default();
        behind.settle().await.unwrap();
        let (gate, held) = std::sync::mpsc::channel::<()>();
        let (sender, mut last) = tokio::sync::oneshot::channel();
        behind.add(work(Ok(())), of_line(1));
        behind.add(work(Err(StepError::Interrupted)), of_line(2));
        behind.add(work(Err(StepError::Interrupted)), of_line(3));
        let slow = tokio::task::spawn_blocking(move || {
            let _ = held.recv();
            let _ = sender.send(());
            Ok(())
        });
        behind.add(slow, of_line(4));
        // Polled once without the last one being done, it is not settled.
        let mut settling = Box::pin(behind.settle());
        assert!(futures::poll!(&mut settling).is_pending());
        drop(gate);
        let told = settling.await.unwrap_err();
        assert!(matches!(told, BuildError::Step { line: 2, .. }));
        last.try_recv().unwrap();
        behind.settle().await.unwrap();
    }

    #[tokio::test]
    async fn a_blob_that_never_comes_interrupts_who_waits_for_it() {
        let (sender, receiver) = watch::channel(None);
        let blob = LayerBlob::Coming(receiver);
        drop(sender);
        assert!(matches!(blob.descriptor().await, Err(StepError::Interrupted)));
    }
}
