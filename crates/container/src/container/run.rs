//! One run of a process: its streams, its start, and the thread that sees its end.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shipway_oci::with_causes;
use shipway_sandbox::{ExitStatus, Keeper, KeeperError, ProcessId, Started, Stdio};

use super::ContainerInner;
use super::state::{Running, StartError};
use super::stdin::feed_terminal;
use crate::pod::Pod;
use crate::spool::{OutputStream, Pump, Source, Spool};

/// Killed, as far as anybody can tell.
const LOST: ExitStatus = ExitStatus::Signal(9);

/// The streams of a process that is about to start.
pub(super) struct Streams {
    pub(super) stdio: Stdio,
    sources: Vec<Source>,
    /// What goes to the terminal, if there is one.
    typed: Option<OwnedFd>,
}

impl Streams {
    pub(super) fn prepare(keeper: &Keeper, stdin: Option<OwnedFd>, terminal: bool) -> io::Result<Self> {
        if terminal {
            return Ok(Self {
                stdio: Stdio::default(),
                sources: Vec::new(),
                typed: stdin,
            });
        }
        let (stdout, stdout_end) = keeper.pipe().map_err(io::Error::other)?;
        let (stderr, stderr_end) = keeper.pipe().map_err(io::Error::other)?;
        Ok(Self {
            stdio: Stdio {
                stdin,
                stdout: Some(stdout_end),
                stderr: Some(stderr_end),
            },
            sources: vec![
                Source {
                    stream: OutputStream::Stdout,
                    descriptor: stdout,
                },
                Source {
                    stream: OutputStream::Stderr,
                    descriptor: stderr,
                },
            ],
            typed: None,
        })
    }

    /// Starts to move bytes. From here on the process's ends of the pipes are the process's only.
    pub(super) fn connect(self, terminal: Option<OwnedFd>, spool: &Spool) -> io::Result<Pump> {
        let Self {
            stdio,
            mut sources,
            typed,
        } = self;
        drop(stdio);
        if let Some(terminal) = terminal {
            if let Some(typed) = typed {
                feed_terminal(typed, terminal.try_clone()?)?;
            }
            sources.push(Source {
                stream: OutputStream::Stdout,
                descriptor: terminal,
            });
        }
        Pump::spawn(sources, spool.begin_run())
    }
}

/// Starts a container's process. The work is not undone when the caller goes away meanwhile.
pub(super) async fn start(pod: &Pod, container: &Arc<ContainerInner>) -> Result<(), StartError> {
    container.life.begin(&container.id)?;
    let (pod, container) = (pod.clone(), Arc::clone(container));
    let id = container.id.clone();
    let started = tokio::task::spawn_blocking(move || {
        start_blocking(&pod, &container).inspect_err(|error| {
            container.stdin.end_run();
            container
                .life
                .exited(ExitStatus::Code(error.exit_code()), Some(with_causes(error)));
        })
    });
    started
        .await
        .map_err(|_| StartError::Interrupted { container: id })?
}

fn start_blocking(pod: &Pod, container: &Arc<ContainerInner>) -> Result<(), StartError> {
    let keeper = &pod.inner.keeper();
    let streams_failed = |source| StartError::Streams {
        container: container.id.clone(),
        source,
    };
    let stdin = container.stdin.begin_run(keeper).map_err(streams_failed)?;
    let terminal = container.spec.process.terminal;
    let mut streams = Streams::prepare(keeper, stdin, terminal).map_err(streams_failed)?;
    let stdio = std::mem::take(&mut streams.stdio);
    let started = pod
        // The keeper that is watched below, and no later one.
        .while_open(|_| {
            let started = keeper.start(container.spec.clone(), stdio)?;
            let running = Running {
                container: started.container,
                process: started.process,
            };
            // Within the gate: the end of the pod must find it.
            container.life.started(running, started.made.clone());
            Ok(started)
        })
        .map_err(|source| StartError::Process {
            container: container.id.clone(),
            program: container.spec.process.argv.first().cloned().unwrap_or_default(),
            source,
        })?;
    let Started {
        container: running,
        process,
        terminal,
        ..
    } = started;
    let watching = streams.connect(terminal, &container.spool).and_then(|pump| {
        let (keeper, container) = (keeper.clone(), Arc::clone(container));
        std::thread::Builder::new()
            .name("container".into())
            .spawn(move || watch(&keeper, &container, running, process, pump))
    });
    if let Err(source) = watching {
        // Nobody would see its end.
        let _ = keeper.stop(&running);
        return Err(streams_failed(source));
    }
    Ok(())
}

/// Waits for the end of the process, then of everything it left behind, then of its output.
fn watch(
    keeper: &Keeper,
    container: &ContainerInner,
    running: shipway_sandbox::ContainerId,
    process: ProcessId,
    pump: Pump,
) {
    let (status, error) = outcome(keeper.wait(process));
    // Its children die with it and its file systems are unmounted: the upper is quiet from here on.
    match keeper.stop(&running) {
        Ok(()) | Err(KeeperError::UnknownContainer { .. } | KeeperError::Gone) => {}
        Err(error) => {
            tracing::warn!(%error, container = %container.id, "a container that has ended is not cleaned up");
        }
    }
    container.stdin.end_run();
    pump.finish();
    container.life.exited(status, error);
}

/// How a process ended, and what is to be said when we cannot know.
pub(super) fn outcome(waited: Result<ExitStatus, KeeperError>) -> (ExitStatus, Option<String>) {
    match waited {
        Ok(status) => (status, None),
        Err(error) => (LOST, Some(error.to_string())),
    }
}
