//! A container: a root file system, a process, and everything that process ever wrote.
//!
//! ```text
//! Created ──start──▶ Starting ──▶ Running ──exit──▶ Exited ──start──▶ Starting …
//!                        └──────failed─────────────▲
//! ```
//! From every state but Starting and Running a container can be removed. Started again, it has the same upper
//! directory, address, names and logs. All transitions go through [`state::Life`]; the process is watched by a thread
//! that holds no handle of the pod, so that a forgotten container cannot keep its pod alive.

mod create;
mod exec;
mod files;
mod options;
mod run;
mod state;
mod stdin;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shipway_sandbox::{ContainerSpec, ExitStatus, Keeper, KeeperError};

use crate::ids::ContainerId;
use crate::pod::Pod;
use crate::signal::Signal;
use crate::spool::{Output, Spool};

pub use create::CreateError;
pub use exec::{Exec, ExecOptions};
pub use files::FilesError;
pub use options::{ContainerOptions, Network, Root, VolumeMount};
pub use state::{ContainerState, StartError};
pub use stdin::Stdin;

use state::Life;
use stdin::StdinPipe;

/// A container. Clones are the same container.
#[derive(Clone)]
pub struct Container {
    pod: Pod,
    inner: Arc<ContainerInner>,
}

pub(crate) struct ContainerInner {
    pub(crate) id: ContainerId,
    spec: ContainerSpec,
    address: Option<Ipv4Addr>,
    names: Vec<String>,
    refused_names: Vec<String>,
    anonymous_volumes: Vec<String>,
    stop_signal: Signal,
    upper: PathBuf,
    spool: Spool,
    stdin: StdinPipe,
    life: Life,
}

/// What a reader of a container's output begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachFrom {
    /// All that was ever written.
    Start,
    /// The same, for the only one who will ever ask: what was read is given back to the disk.
    StartOnce,
    /// What is written from now on.
    Now,
}

/// The streams of a process.
#[derive(Debug)]
pub struct Attachment {
    /// What it writes, until it ends (a container that is not running: until the end of its next run).
    pub output: Output,
    /// What it reads, if it was made with an open standard input and nobody else holds that.
    pub stdin: Option<Stdin>,
}

/// Something was asked of a process that does not run, or the keeper failed at it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not run.
    #[error("container {container} is not running")]
    NotRunning {
        /// Its id.
        container: ContainerId,
    },
    /// It runs, and must not.
    #[error("container {container} is running: stop it first")]
    Running {
        /// Its id.
        container: ContainerId,
    },
    /// The keeper failed.
    #[error("cannot {action} container {container}")]
    Keeper {
        /// Its id.
        container: ContainerId,
        /// What was asked.
        action: &'static str,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The thread that did it ended early.
    #[error("the work on container {container} was interrupted")]
    Interrupted {
        /// Its id.
        container: ContainerId,
    },
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("id", &self.inner.id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Container {
    pub(crate) fn new(pod: Pod, inner: Arc<ContainerInner>) -> Self {
        Self { pod, inner }
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.inner.id
    }

    /// The pod it is in.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Its address in the pod, if it has a network.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.inner.address
    }

    /// Its host name.
    pub fn hostname(&self) -> &str {
        &self.inner.spec.hostname
    }

    /// The names under which the pod finds it.
    pub fn names(&self) -> &[String] {
        &self.inner.names
    }

    /// Names that it asked for and another address already had.
    pub fn refused_names(&self) -> &[String] {
        &self.inner.refused_names
    }

    /// What it runs.
    pub fn argv(&self) -> &[String] {
        &self.inner.spec.process.argv
    }

    /// The environment of what it runs.
    pub fn environment(&self) -> &[String] {
        &self.inner.spec.process.env
    }

    /// Where its changes are: the directory, relative to the keepers' directory, that holds `fs` and `work`. Mounted
    /// while it runs, whole and quiet afterwards, gone when it is removed.
    pub fn upper(&self) -> &Path {
        &self.inner.upper
    }

    /// The unpacked layers below its changes, bottom first.
    pub fn layers(&self) -> &[PathBuf] {
        &self.inner.spec.root.layers
    }

    /// Mount points that starting it made in its root: they belong to no layer.
    pub fn made(&self) -> Vec<PathBuf> {
        self.inner.life.made()
    }

    /// Where it is in its life.
    pub fn state(&self) -> ContainerState {
        self.inner.life.state()
    }

    /// What its keeper calls it while it runs, for mounts that show its paths to others.
    pub fn running_id(&self) -> Option<shipway_sandbox::ContainerId> {
        self.inner.life.running().map(|running| running.container)
    }

    /// Starts its process; also again, after it has ended.
    ///
    /// # Errors
    /// When it runs already or is removed, or when the process cannot be started: [`StartError::exit_code`] has the
    /// code that a shell would give.
    pub async fn start(&self) -> Result<(), StartError> {
        run::start(&self.pod, &self.inner).await
    }

    /// Its streams. Attach before the start to see everything of the next run; standard input can be had once, unless
    /// it stays open by the container's options.
    pub fn attach(&self, from: AttachFrom, stdin: bool) -> Attachment {
        let output = match from {
            AttachFrom::Start => self.inner.spool.to_end_of_run(),
            AttachFrom::StartOnce => self.inner.spool.once_to_end_of_run(),
            AttachFrom::Now => self.inner.spool.read_on(),
        };
        Attachment {
            output,
            stdin: if stdin {
                self.inner.stdin.attach(&self.pod.inner.keeper())
            } else {
                None
            },
        }
    }

    /// All that it wrote, in all its runs; `follow` goes on to the end of the present run.
    pub fn logs(&self, follow: bool) -> Output {
        self.inner.spool.read_all(follow)
    }

    /// Waits until it does not run. One that was not started yet is waited for; one that was removed without ever
    /// running has the status 0, as docker has it. All output is there to be read by then.
    pub async fn wait(&self) -> ExitStatus {
        self.inner.life.subscribe().stopped().await
    }

    /// The end of the run that is on, or of the next one. Subscribed when this returns, so that a run that is over
    /// before the future is polled is not missed.
    pub fn next_exit(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.inner.life.subscribe().next_exit()
    }

    /// Waits until it is removed.
    pub async fn removed(&self) -> ExitStatus {
        self.inner.life.subscribe().removed().await
    }

    /// Sends a signal to its first process. `SIGKILL` ends everything in it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self, signal: Signal) -> Result<(), ControlError> {
        let (keeper, running) = self.running()?;
        self.control("signal", keeper, move |keeper| {
            keeper.signal(running.process, signal.number())
        })
        .await
    }

    /// Asks it to end (by its image's stop signal) and kills it when it has not within that time.
    ///
    /// # Errors
    /// When the keeper fails; one that does not run is stopped already.
    pub async fn stop(&self, patience: Duration) -> Result<ExitStatus, ControlError> {
        self.inner.life.subscribe().settled().await;
        let ended = self.inner.life.subscribe();
        if self.inner.life.running().is_none() {
            return Ok(self.inner.life.last_status());
        }
        match self.kill(self.inner.stop_signal).await {
            Ok(()) | Err(ControlError::NotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
        let ended = ended.stopped();
        tokio::pin!(ended);
        if let Ok(status) = tokio::time::timeout(patience, &mut ended).await {
            return Ok(status);
        }
        match self.kill(Signal::KILL).await {
            Ok(()) | Err(ControlError::NotRunning { .. }) => Ok(ended.await),
            Err(error) => Err(error),
        }
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// When it does not run, or has no terminal.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), ControlError> {
        let (keeper, running) = self.running()?;
        self.control("resize the terminal of", keeper, move |keeper| {
            keeper.resize(running.process, rows, columns)
        })
        .await
    }

    /// Removes it with its changes, its anonymous volumes, its address and its names. Readers of its output read on.
    ///
    /// # Errors
    /// When it runs (unless `force` kills it), or its directory cannot be removed.
    pub async fn remove(&self, force: bool) -> Result<(), ControlError> {
        if force {
            self.inner.life.subscribe().settled().await;
        }
        if force && self.inner.life.running().is_some() {
            match self.kill(Signal::KILL).await {
                Ok(()) | Err(ControlError::NotRunning { .. }) => {}
                Err(error) => return Err(error),
            }
            self.inner.life.subscribe().stopped().await;
        }
        if !self.inner.life.remove() {
            return Err(ControlError::Running {
                container: self.id().clone(),
            });
        }
        self.pod.forget(self.id());
        if let Some(address) = self.inner.address {
            self.pod.release_address(address);
        }
        for volume in &self.inner.anonymous_volumes {
            if let Err(error) = self.pod.remove_volume(volume).await {
                tracing::warn!(%error, "an anonymous volume stays until the pod is removed");
            }
        }
        let upper = self.inner.upper.clone();
        let keeper = self.pod.keeper();
        self.control("remove", keeper, move |keeper| keeper.remove_tree(&upper))
            .await
    }

    /// Returns when nothing of it starts or runs any more.
    pub(crate) async fn at_rest(&self) {
        self.inner.life.subscribe().settled().await;
        if self.inner.life.running().is_some() {
            self.inner.life.subscribe().stopped().await;
        }
    }

    /// What runs, and the keeper that calls it so: asked for first, it is never a later one.
    fn running(&self) -> Result<(Keeper, state::Running), ControlError> {
        let keeper = self.pod.keeper();
        let running = self.inner.life.running();
        let running = running.ok_or_else(|| ControlError::NotRunning {
            container: self.id().clone(),
        })?;
        Ok((keeper, running))
    }

    async fn control(
        &self,
        action: &'static str,
        keeper: Keeper,
        work: impl FnOnce(&Keeper) -> Result<(), KeeperError> + Send + 'static,
    ) -> Result<(), ControlError> {
        let done = tokio::task::spawn_blocking(move || work(&keeper)).await;
        done.map_err(|_| ControlError::Interrupted {
            container: self.id().clone(),
        })?
        .map_err(|source| ControlError::Keeper {
            container: self.id().clone(),
            action,
            source,
        })
    }
}

impl ContainerInner {
    /// For the end of the pod: kills it and waits for nothing but the keeper.
    pub(crate) fn stop_for_good(&self, keeper: &Keeper) {
        if let Some(running) = self.life.running()
            && let Err(error) = keeper.stop(&running.container)
        {
            tracing::debug!(%error, container = %self.id, "a container of an ending pod was not stopped by itself");
        }
        self.life.doom();
    }
}
