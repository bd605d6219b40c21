//! Another process in a running container.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use shipway_sandbox::{ExitStatus, Keeper, KeeperError, ProcessId, ProcessSpec, Started};
use tokio::sync::watch;

use super::run::{Streams, outcome};
use super::state::StartError;
use super::stdin::{Stdin, pipe_for_exec};
use super::{Attachment, Container, ControlError};
use crate::ids::ContainerId;
use crate::process::merge_environment;
use crate::signal::Signal;
use crate::spool::{Pump, Spool};

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`, over the container's own environment.
    pub env: Vec<String>,
    /// Working directory; the container's without.
    pub cwd: Option<PathBuf>,
    /// User; the container's without.
    pub user: Option<String>,
    /// Whether it reads what who attaches to it writes.
    pub stdin_open: bool,
    /// Whether it runs on a terminal.
    pub terminal: bool,
}

/// A process that was started in a container beside its first one. Clones are the same process.
#[derive(Clone)]
pub struct Exec {
    inner: Arc<Inner>,
}

struct Inner {
    container: ContainerId,
    keeper: Keeper,
    process: ProcessId,
    spool: Spool,
    stdin: Mutex<Option<Stdin>>,
    ended: watch::Sender<Option<ExitStatus>>,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec")
            .field("container", &self.inner.container)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Starts another process in it, while it runs.
    ///
    /// # Errors
    /// When it does not run, or the process cannot be started.
    pub async fn exec(&self, options: ExecOptions) -> Result<Exec, StartError> {
        let container = self.clone();
        let id = self.id().clone();
        let started = tokio::task::spawn_blocking(move || container.exec_blocking(options)).await;
        started.map_err(|_| StartError::Interrupted { container: id })?
    }

    fn exec_blocking(&self, options: ExecOptions) -> Result<Exec, StartError> {
        let id = || self.id().clone();
        // Before it is asked what runs: what another keeper called it means nothing to this one.
        let keeper = &self.pod.inner.keeper();
        let running = self
            .inner
            .life
            .running()
            .ok_or_else(|| StartError::NotRunning { container: id() })?;
        let streams_failed = |source| StartError::Streams {
            container: id(),
            source,
        };
        let spool = self.pod.spool().map_err(streams_failed)?;
        let (read, stdin) = if options.stdin_open {
            let (read, stdin) = pipe_for_exec(keeper).map_err(streams_failed)?;
            (Some(read), Some(stdin))
        } else {
            (None, None)
        };
        let mut streams = Streams::prepare(keeper, read, options.terminal).map_err(streams_failed)?;
        let stdio = std::mem::take(&mut streams.stdio);
        let process = self.process_of(options);
        let program = process.argv.first().cloned().unwrap_or_default();
        let failed = |source| StartError::Process {
            container: id(),
            program,
            source,
        };
        let started = self
            .pod
            .while_open(|_| keeper.exec(&running.container, process, stdio))
            .map_err(failed)?;
        let Started {
            process, terminal, ..
        } = started;
        let inner = Arc::new(Inner {
            container: id(),
            keeper: keeper.clone(),
            process,
            spool,
            stdin: Mutex::new(stdin),
            ended: watch::Sender::new(None),
        });
        let watching = streams.connect(terminal, &inner.spool).and_then(|pump| {
            let watched = Arc::clone(&inner);
            std::thread::Builder::new()
                .name("exec".into())
                .spawn(move || watched.watch(pump))
        });
        if let Err(source) = watching {
            // Nobody would read what it writes or see its end.
            let _ = keeper.signal(process, Signal::KILL.number());
            return Err(streams_failed(source));
        }
        Ok(Exec { inner })
    }

    fn process_of(&self, options: ExecOptions) -> ProcessSpec {
        let own = &self.inner.spec.process;
        let ExecOptions {
            argv,
            mut env,
            cwd,
            user,
            stdin_open: _,
            terminal,
        } = options;
        if terminal && !env.iter().chain(&own.env).any(|entry| entry.starts_with("TERM=")) {
            env.push("TERM=xterm".into());
        }
        // The home of another user is found anew.
        let base: Vec<_> = match &user {
            Some(user) if *user != own.user => own
                .env
                .iter()
                .filter(|entry| !entry.starts_with("HOME="))
                .cloned()
                .collect(),
            _ => own.env.clone(),
        };
        ProcessSpec {
            argv,
            env: merge_environment(&base, &env),
            cwd: cwd.unwrap_or_else(|| own.cwd.clone()),
            user: user.unwrap_or_else(|| own.user.clone()),
            terminal,
            limits: own.limits.clone(),
        }
    }
}

impl Inner {
    /// Waits for the end of the process, then of its output.
    fn watch(&self, pump: Pump) {
        let (status, error) = outcome(self.keeper.wait(self.process));
        if let Some(error) = error {
            tracing::warn!(error, container = %self.container, "the end of a process is unknown");
        }
        pump.finish();
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.ended.send_replace(Some(status));
    }
}

impl Exec {
    /// Its streams, from its first byte. Standard input can be had once.
    pub fn attach(&self) -> Attachment {
        Attachment {
            output: self.inner.spool.first_run(),
            stdin: self
                .inner
                .stdin
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        }
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.inner.ended.borrow()
    }

    /// Waits for its end. All its output is there to be read by then.
    pub async fn wait(&self) -> ExitStatus {
        let mut ended = self.inner.ended.subscribe();
        let status = ended.wait_for(Option::is_some).await;
        status
            .ok()
            .and_then(|status| *status)
            .unwrap_or(ExitStatus::Signal(9))
    }

    /// Sends it a signal; one that has ended is no error.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub async fn kill(&self, signal: Signal) -> Result<(), ControlError> {
        self.control("signal a process of", move |keeper, process| {
            keeper.signal(process, signal.number())
        })
        .await
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// When it has none.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), ControlError> {
        self.control("resize a terminal of", move |keeper, process| {
            keeper.resize(process, rows, columns)
        })
        .await
    }

    async fn control(
        &self,
        action: &'static str,
        work: impl FnOnce(&Keeper, ProcessId) -> Result<(), KeeperError> + Send + 'static,
    ) -> Result<(), ControlError> {
        let (keeper, process) = (self.inner.keeper.clone(), self.inner.process);
        let done = tokio::task::spawn_blocking(move || work(&keeper, process)).await;
        let container = || self.inner.container.clone();
        done.map_err(|_| ControlError::Interrupted {
            container: container(),
        })?
        .map_err(|source| ControlError::Keeper {
            container: container(),
            action,
            source,
        })
    }
}
