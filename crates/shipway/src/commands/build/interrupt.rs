//! Ctrl-C in a build: what runs is ended and what it had is removed, at once; a second one ends this process.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commands::signals::{Asked, Signals};
use crate::failure::{Failure, FailureKind};

/// Listens for as long as it is there.
pub(super) struct Interrupts {
    task: JoinHandle<()>,
    first: Arc<OnceLock<Asked>>,
    /// Cancelled by the first signal.
    pub(super) cancellation: CancellationToken,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listening = Signals::listen();
        let mut signals = listening
            .map_err(|error| Failure::caused(FailureKind::Place, "listening for signals", &error))?;
        let (first, cancellation) = (Arc::new(OnceLock::new()), CancellationToken::new());
        let (heard, cancel) = (first.clone(), cancellation.clone());
        let task = tokio::spawn(async move {
            let asked = signals.next().await;
            heard.get_or_init(|| asked);
            cancel.cancel();
            let again = signals.next().await;
            std::process::exit(again.code().into());
        });
        Ok(Self {
            task,
            first,
            cancellation,
        })
    }

    /// How a build ends that was asked to; nothing as long as it was not.
    pub(super) fn code(&self) -> Option<ExitCode> {
        self.first.get().map(|asked| asked.code().into())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.task.abort();
    }
}
