//! What is done with an image when its steps are done: exporting, pushing, writing the cache. Shown as further vertices of the build,
//! under the names that BuildKit gives them, with their parts below.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Instant, SystemTime};

use shipway_oci::Descriptor;
use shipway_registry::client::{BlobProgress, PushProgress};

use super::{End, Progress, ProgressMode, Status, Vertex};
use crate::failure::Failure;
use crate::screen;

/// The index of a vertex that is no step: behind all that are.
const BEHIND_ALL_STEPS: usize = usize::MAX;

/// A vertex under way. Dropped before its end is told, it was given up.
pub(in crate::commands::build) struct Activity<'p> {
    progress: &'p Progress,
    vertex: Vertex,
    has_ended: bool,
    /// Blobs that have moved so far, so that each is told of at its beginning and its end.
    moving: Mutex<BTreeMap<String, bool>>,
}

impl Progress {
    /// Something begins that is no step.
    pub(in crate::commands::build) fn activity(&self, name: &str) -> Activity<'_> {
        let mut state = self.state();
        state.activities += 1;
        let vertex = Vertex {
            key: (BEHIND_ALL_STEPS, state.activities),
            name: screen::phrase(name),
            begun: Instant::now(),
            began: SystemTime::now(),
        };
        state.display.started(&vertex);
        Activity {
            progress: self,
            vertex,
            has_ended: false,
            moving: Mutex::default(),
        }
    }

    /// Whether a sentence on standard error disturbs nobody.
    pub(in crate::commands::build) fn is_for_people(&self) -> bool {
        !matches!(self.mode, ProgressMode::Quiet | ProgressMode::RawJson)
    }
}

impl Activity<'_> {
    /// A part of it, which lasts as long as `work`.
    pub(in crate::commands::build) async fn part<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.tell(name, false);
        let outcome = work.await;
        if outcome.is_ok() {
            self.tell(name, true);
        }
        outcome
    }

    /// A part that is done already.
    pub(in crate::commands::build) fn did(&self, name: &str) {
        self.tell(name, false);
        self.tell(name, true);
    }

    fn tell(&self, id: &str, is_done: bool) {
        let status = Status {
            id,
            current: 0,
            total: 0,
            is_done,
        };
        self.progress.state().display.fetched(&self.vertex, &status);
    }

    /// It is over.
    pub(in crate::commands::build) fn end<T>(mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        self.has_ended = true;
        let mut state = self.progress.state();
        match &outcome {
            Ok(_) => state.display.ended(&self.vertex, End::Done),
            Err(failure) => state.display.ended(&self.vertex, End::Failed(failure.message())),
        }
        outcome
    }
}

impl Drop for Activity<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.progress.state().display.ended(&self.vertex, End::Canceled);
        }
    }
}

impl PushProgress for Activity<'_> {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        let current = match progress {
            BlobProgress::Moving { done } => done,
            BlobProgress::Done => blob.size,
            BlobProgress::Waiting | BlobProgress::Present | BlobProgress::Retrying => return,
        };
        let id = blob.digest.to_string();
        let is_done = progress == BlobProgress::Done;
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if moving.insert(id.clone(), is_done) == Some(true) {
            return;
        }
        let status = Status {
            id: &id,
            current,
            total: blob.size,
            is_done,
        };
        self.progress.state().display.fetched(&self.vertex, &status);
    }
}
