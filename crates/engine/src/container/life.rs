//! The life of one container as clients see it: a state machine, watched by whoever waits.
//!
//! Apart from the record so that what `wait` promises is one pure question over one value. Exits are counted, because
//! "the next exit" asked before the start must not be answered by the one before.

use time::OffsetDateTime;
use tokio::sync::watch;

/// Where a container is.
///
/// ## Created => Running, Removed
/// ## Running => Exited
/// ## Exited => Running, Removed
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running {
        since: OffsetDateTime,
    },
    Exited {
        code: i64,
        started: OffsetDateTime,
        finished: OffsetDateTime,
    },
    Removed,
}

/// The phase and what waiting needs besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) phase: Phase,
    /// How often it ended.
    exits: u64,
    /// How often it could not be started; who attached before is let go then.
    failed_starts: u64,
    last_code: i64,
    /// Why the last start failed.
    pub(crate) error: String,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitCondition {
    NotRunning,
    NextExit,
    Removed,
}

/// A life that is shared and watched.
#[derive(Debug)]
pub(crate) struct Lifeline {
    sender: watch::Sender<Life>,
}

impl Lifeline {
    pub(crate) fn new() -> Lifeline {
        let life = Life {
            phase: Phase::Created,
            exits: 0,
            failed_starts: 0,
            last_code: 0,
            error: String::new(),
        };
        Lifeline {
            sender: watch::Sender::new(life),
        }
    }

    pub(crate) fn now(&self) -> Life {
        self.sender.borrow().clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.sender.borrow().phase, Phase::Running { .. })
    }

    pub(crate) fn started(&self) {
        self.sender.send_modify(|life| {
            life.error.clear();
            life.phase = Phase::Running {
                since: OffsetDateTime::now_utc(),
            };
        });
    }

    pub(crate) fn exited(&self, code: i64) {
        self.sender.send_modify(|life| {
            let finished = OffsetDateTime::now_utc();
            let started = match life.phase {
                Phase::Running { since } => since,
                _ => finished,
            };
            life.phase = Phase::Exited {
                code,
                started,
                finished,
            };
            life.exits += 1;
            life.last_code = code;
        });
    }

    /// A start that did not succeed leaves the phase as it was; `code` is what a shell would say.
    pub(crate) fn failed_to_start(&self, code: i64, error: &str) {
        self.sender.send_modify(|life| {
            life.failed_starts += 1;
            life.last_code = code;
            life.error = error.to_owned();
        });
    }

    pub(crate) fn removed(&self) {
        self.sender.send_modify(|life| life.phase = Phase::Removed);
    }

    /// The exit code once the condition holds. The moment of the call counts, not that of the first poll.
    pub(crate) fn wait(&self, condition: WaitCondition) -> impl Future<Output = i64> + Send + use<> {
        let mut receiver = self.sender.subscribe();
        let exits = receiver.borrow().exits;
        async move {
            let holds = |life: &Life| match (condition, &life.phase) {
                (_, Phase::Removed) => true,
                (WaitCondition::NotRunning, phase) => !matches!(phase, Phase::Running { .. }),
                (WaitCondition::NextExit, _) => life.exits > exits,
                (WaitCondition::Removed, _) => false,
            };
            receiver.wait_for(holds).await.map_or(0, |life| life.last_code)
        }
    }

    /// Returns when a start fails, from now on. Not when the container is removed: what it wrote is still to be read.
    pub(crate) fn failed_start(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut receiver = self.sender.subscribe();
        let failed = receiver.borrow().failed_starts;
        async move {
            if receiver
                .wait_for(|life| life.failed_starts > failed)
                .await
                .is_err()
            {
                // The container is gone and will never fail to start.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Life {
    /// What the last run, or the last attempt at one, ended with.
    pub(crate) fn last_code(&self) -> i64 {
        self.last_code
    }
}

impl Phase {
    /// The word of `docker ps --filter status=`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Running { .. } => "running",
            Phase::Exited { .. } => "exited",
            Phase::Removed => "removing",
        }
    }

    /// The sentence in `docker ps`.
    pub(crate) fn sentence(&self) -> String {
        let ago = |moment: OffsetDateTime| crate::clock::human(OffsetDateTime::now_utc() - moment);
        match self {
            Phase::Created => "Created".to_owned(),
            Phase::Running { since } => format!("Up {}", ago(*since)),
            Phase::Exited { code, finished, .. } => format!("Exited ({code}) {} ago", ago(*finished)),
            Phase::Removed => "Removal In Progress".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
