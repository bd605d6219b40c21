//! The life of a container, as one value that changes in one place.

use std::path::PathBuf;
use std::time::SystemTime;

use shipway_sandbox::{ExitStatus, KeeperError, ProcessId};
use tokio::sync::watch;

use crate::ids::ContainerId;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// The keeper is starting its process.
    Starting,
    /// Its process runs.
    Running {
        /// Since when.
        since: SystemTime,
    },
    /// Its process has ended, or could not be started.
    Exited {
        /// How.
        status: ExitStatus,
        /// When.
        at: SystemTime,
        /// Why it was not the process's own doing, if so.
        error: Option<String>,
    },
    /// It is gone.
    Removed,
}

/// A process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The container runs already.
    #[error("container {container} is running already")]
    Running {
        /// Its id.
        container: ContainerId,
    },
    /// The container is gone.
    #[error("container {container} is removed")]
    Removed {
        /// Its id.
        container: ContainerId,
    },
    /// The container does not run, so nothing can be executed in it.
    #[error("container {container} is not running")]
    NotRunning {
        /// Its id.
        container: ContainerId,
    },
    /// The keeper could not start it.
    #[error("cannot start `{program}` in container {container}")]
    Process {
        /// The container's id.
        container: ContainerId,
        /// What was to run.
        program: String,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// Its streams cannot be made.
    #[error("cannot make the streams of container {container}")]
    Streams {
        /// Its id.
        container: ContainerId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread that started it ended early.
    #[error("starting container {container} was interrupted")]
    Interrupted {
        /// Its id.
        container: ContainerId,
    },
}

impl StartError {
    /// What a shell, and docker, would exit with: 127 not found, 126 not executable, 125 anything else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Process {
                source: KeeperError::NotFound { .. },
                ..
            } => 127,
            Self::Process {
                source: KeeperError::NotExecutable { .. },
                ..
            } => 126,
            _ => 125,
        }
    }
}

/// What the keeper calls a running container and its first process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) container: shipway_sandbox::ContainerId,
    pub(super) process: ProcessId,
}

#[derive(Debug)]
struct Stage {
    state: ContainerState,
    running: Option<Running>,
    /// How many runs are over, failed starts included.
    runs: u64,
    last: ExitStatus,
    made: Vec<PathBuf>,
    future: Future,
}

/// Whether there is anything to come after the present run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Future {
    Open,
    /// The pod ends: whatever runs still exits, and is removed with that.
    Doomed,
}

/// The state and everybody who waits for it to change.
#[derive(Debug)]
pub(super) struct Life {
    stage: watch::Sender<Stage>,
}

impl Life {
    pub(super) fn new() -> Self {
        let stage = Stage {
            state: ContainerState::Created,
            running: None,
            runs: 0,
            last: ExitStatus::Code(0),
            made: Vec::new(),
            future: Future::Open,
        };
        Self {
            stage: watch::Sender::new(stage),
        }
    }

    pub(super) fn state(&self) -> ContainerState {
        self.stage.borrow().state.clone()
    }

    pub(super) fn running(&self) -> Option<Running> {
        self.stage.borrow().running
    }

    pub(super) fn last_status(&self) -> ExitStatus {
        self.stage.borrow().last
    }

    pub(super) fn made(&self) -> Vec<PathBuf> {
        self.stage.borrow().made.clone()
    }

    pub(super) fn subscribe(&self) -> Watch {
        let stage = self.stage.subscribe();
        let runs = stage.borrow().runs;
        Watch { stage, runs }
    }

    /// Created | Exited => Starting
    pub(super) fn begin(&self, container: &ContainerId) -> Result<(), StartError> {
        let mut refused = None;
        self.stage.send_if_modified(|stage| {
            let container = container.clone();
            match stage.state {
                ContainerState::Created | ContainerState::Exited { .. } => {
                    stage.state = ContainerState::Starting;
                    return true;
                }
                ContainerState::Starting | ContainerState::Running { .. } => {
                    refused = Some(StartError::Running { container });
                }
                ContainerState::Removed => refused = Some(StartError::Removed { container }),
            }
            false
        });
        refused.map_or(Ok(()), Err)
    }

    /// Starting => Running
    pub(super) fn started(&self, running: Running, made: Vec<PathBuf>) {
        self.stage.send_modify(|stage| {
            stage.state = ContainerState::Running {
                since: SystemTime::now(),
            };
            stage.running = Some(running);
            // A second start finds the mount points of the first one.
            stage.made.extend(made);
        });
    }

    /// Starting | Running => Exited | Removed
    pub(super) fn exited(&self, status: ExitStatus, error: Option<String>) {
        self.stage.send_modify(|stage| {
            stage.state = match stage.future {
                Future::Open => ContainerState::Exited {
                    status,
                    at: SystemTime::now(),
                    error,
                },
                Future::Doomed => ContainerState::Removed,
            };
            stage.running = None;
            stage.runs += 1;
            stage.last = status;
        });
    }

    /// The pod ends: nobody who waits may wait for ever.
    pub(super) fn doom(&self) {
        self.stage.send_modify(|stage| {
            stage.future = Future::Doomed;
            if !matches!(
                stage.state,
                ContainerState::Starting | ContainerState::Running { .. }
            ) {
                stage.state = ContainerState::Removed;
            }
        });
    }

    /// Created | Exited | Removed => Removed; false in the other states.
    pub(super) fn remove(&self) -> bool {
        let mut removable = false;
        self.stage.send_if_modified(|stage| {
            removable = !matches!(
                stage.state,
                ContainerState::Starting | ContainerState::Running { .. }
            );
            if removable {
                stage.state = ContainerState::Removed;
            }
            removable
        });
        removable
    }
}

/// One who waits. Subscribing and waiting are apart, so that nothing in between is missed.
#[derive(Debug)]
pub(super) struct Watch {
    stage: watch::Receiver<Stage>,
    runs: u64,
}

impl Watch {
    pub(super) async fn stopped(self) -> ExitStatus {
        self.until(|stage, _| {
            matches!(
                stage.state,
                ContainerState::Exited { .. } | ContainerState::Removed
            )
        })
        .await
    }

    pub(super) async fn next_exit(self) -> ExitStatus {
        self.until(|stage, runs| stage.runs > runs || stage.state == ContainerState::Removed)
            .await
    }

    /// Neither starting nor about to be anything else by itself, but for the end of a run.
    pub(super) async fn settled(self) {
        self.until(|stage, _| stage.state != ContainerState::Starting)
            .await;
    }

    pub(super) async fn removed(self) -> ExitStatus {
        self.until(|stage, _| stage.state == ContainerState::Removed)
            .await
    }

    async fn until(mut self, reached: impl Fn(&Stage, u64) -> bool) -> ExitStatus {
        let runs = self.runs;
        match self.stage.wait_for(|stage| reached(stage, runs)).await {
            Ok(stage) => stage.last,
            // The container was dropped with its pod: nothing runs any more.
            Err(_) => ExitStatus::Signal(9),
        }
    }
}

#[cfg(test)]
mod tests;
