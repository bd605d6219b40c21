//! Ctrl-C: the first asks the jobs to end and cleans up, the second ends them at once, the third this process.
//!
//! Whatever happens, nothing stays behind: pods end with this process, and what is left of one on disk is removed at
//! the next start.

use std::sync::Arc;

use shipway_runner::Cancellation;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::view::View;
use crate::failure::{Failure, FailureKind};

/// What a shell reports of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Listens for as long as the pipeline runs.
pub(super) struct Interrupts {
    task: tokio::task::JoinHandle<()>,
}

impl Interrupts {
    /// Turns signals into orders to stop.
    pub(super) fn listen(cancellation: Cancellation, view: Arc<dyn View>) -> Result<Self, Failure> {
        let failed = |error| Failure::caused(FailureKind::Place, "listening for signals", &error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let task = tokio::spawn(async move {
            any(&mut interrupt, &mut terminate).await;
            view.note(
                "Canceling: after_script and cleaning up still run. Press Ctrl-C again to end at once.",
            );
            cancellation.cancel();
            any(&mut interrupt, &mut terminate).await;
            view.note("Ending at once.");
            cancellation.abort();
            any(&mut interrupt, &mut terminate).await;
            view.give_back();
            std::process::exit(INTERRUPTED);
        });
        Ok(Self { task })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
