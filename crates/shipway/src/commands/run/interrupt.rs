//! Ctrl-C: the first asks the jobs to end and cleans up, the second ends them at once, the third this process.
//!
//! Whatever happens, nothing stays behind: pods end with this process, and what is left of one on disk is removed at
//! the next start.

use std::sync::Arc;
use std::time::Duration;

use shipway_runner::Cancellation;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

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

/// Waits until this process is asked to end, at most as long as this: once the jobs are over, nobody else listens.
pub(super) async fn asked_to_end(patience: Duration) {
    let listening =
        signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let Ok((mut interrupt, mut terminate)) = listening else {
        return sleep(patience).await;
    };
    // Which of the two it was makes no difference.
    let _ = timeout(patience, any(&mut interrupt, &mut terminate)).await;
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, asked_to_end};
    use rustix::process::{Signal, getpid, kill_process};
    use std::pin::pin;

    #[tokio::test]
    async fn waiting_ends_with_a_signal_or_in_time() {
        asked_to_end(Duration::from_millis(1)).await;
        let mut waiting = pin!(asked_to_end(Duration::MAX));
        assert!(futures::poll!(&mut waiting).is_pending());
        kill_process(getpid(), Signal::TERM).unwrap();
        let told = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(told.is_ok(), "nobody heard the signal");
    }
}
