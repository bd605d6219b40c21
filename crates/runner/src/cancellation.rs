//! How a job is told to stop.
//!
//! Two levels, as GitLab has them: *canceling* ends the script and still runs `after_script` and the cleaning up;
//! *aborting* ends everything at once. Level-triggered, so that it does not matter whether the order comes before or
//! after somebody listens.

use tokio_util::sync::CancellationToken;

/// An order to stop, shared by who gives it and who obeys. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Cancellation {
    cancel: CancellationToken,
    abort: CancellationToken,
}

impl Cancellation {
    /// An order of its own that also obeys this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            cancel: self.cancel.child_token(),
            abort: self.abort.child_token(),
        }
    }

    /// Ends the script; `after_script` still runs.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Ends everything; only pods are still closed.
    pub fn abort(&self) {
        self.cancel.cancel();
        self.abort.cancel();
    }

    /// Whether the job was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Returns when the job is told to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Returns when the job is told to stop at once.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
