//! Ctrl-C: the first asks the jobs to end and cleans up, the second ends them at once, the third this process.
//!
//! Whatever happens, nothing stays behind: pods end with this process, and what is left of one on disk is removed at
//! the next start. A run that did not succeed ends as shells report a process that the signal ended, so that a script around
//! it ends, too.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shipway_runner::Cancellation;
use tokio::time::{sleep, timeout};

use super::view::View;
use crate::commands::signals::{Asked, Signals};
use crate::failure::{Failure, FailureKind};

/// Listens for as long as the pipeline runs.
pub(super) struct Interrupts {
    task: tokio::task::JoinHandle<()>,
    first: Arc<OnceLock<Asked>>,
}

impl Interrupts {
    /// Turns signals into orders to stop.
    pub(super) fn listen(cancellation: Cancellation, view: Arc<dyn View>) -> Result<Self, Failure> {
        let failed = |error| Failure::caused(FailureKind::Place, "listening for signals", &error);
        let mut signals = Signals::listen().map_err(failed)?;
        let first = Arc::new(OnceLock::new());
        let heard = first.clone();
        let task = tokio::spawn(async move {
            let asked = signals.next().await;
            heard.get_or_init(|| asked);
            view.note(
                "Canceling: after_script and cleaning up still run. Press Ctrl-C again to end at once.",
            );
            cancellation.cancel();
            signals.next().await;
            view.note("Ending at once.");
            cancellation.abort();
            signals.next().await;
            view.give_back();
            std::process::exit(asked.code().into());
        });
        Ok(Self { task, first })
    }

    /// How a run ends that was asked to; nothing as long as it was not.
    pub(super) fn code(&self) -> Option<ExitCode> {
        self.first.get().map(|asked| asked.code().into())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until this process is asked to end, at most as long as this: once the jobs are over, nobody else listens.
pub(super) async fn asked_to_end(patience: Duration) {
    let Ok(mut signals) = Signals::listen() else {
        return sleep(patience).await;
    };
    // Which of the two it was makes no difference.
    let _ = timeout(patience, signals.next()).await;
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
