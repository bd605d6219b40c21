//! The place of a job of the shell executor: a directory of its own on this machine, and an engine where the docker CLI
//! would find no daemon.

use super::JobRun;
use super::fetch::{self, fetch};
use super::workplace::{Ground, Workplace, choose_builder, kept_scope};
use crate::builds::{Builds, MachineBuilds, blocking};
use crate::engine::{EnginePlan, EngineScopes, JobEngine};
use crate::outcome::JobError;
use crate::scratch::{self, PlannedScratch, Scratch};
use crate::shell::Shell;
use crate::variables::Variables;
use crate::{RunnerContext, Substitution, Trace};
use shipway_container::Pod;
use shipway_engine::HostPaths;
use shipway_oci::with_causes;
use shipway_pipeline::job::JobPayload;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Where a Docker daemon listens that nobody moved.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// How long it may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest path of a socket that a client can connect to.
const LONGEST_SOCKET: usize = 107;
/// What the directories of jobs are called.
const KIND: &str = "shipway-job";

/// The directory of a job, known before it is there because the job's variables name it.
pub(super) struct PlannedDirectory {
    scratch: PlannedScratch,
    place: Place,
}

/// Where the directory lies, which decides who removes what killed processes left there.
enum Place {
    /// The data directory: who starts jobs does it, once for all of them.
    Data,
    /// The `builds_dir` of the runner, which nobody else looks into: each job does it.
    Configured(PathBuf),
}

impl PlannedDirectory {
    /// A new name in the `builds_dir` of the runner, else in the data directory.
    pub(super) fn new(context: &RunnerContext) -> Self {
        // A job changes its directory; one that stays what it is here has an absolute path, or no place at all.
        let absolute = |place: PathBuf| std::path::absolute(&place).unwrap_or(place);
        let (parent, place) = match context.settings.builds_directory.clone().map(absolute) {
            None => (absolute(builds(&context.data)), Place::Data),
            Some(configured) => (configured.clone(), Place::Configured(configured)),
        };
        Self {
            scratch: PlannedScratch::new(&parent, KIND),
            place,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Makes the directory, which nobody had before, and the project's in it.
    pub(super) async fn make(self, project: &str) -> Result<OwnDirectory, JobError> {
        let Self { scratch, place } = self;
        let doing = format!("making the directory {}", scratch.path().display());
        let making = move || {
            if let Place::Configured(place) = place {
                remove_leftovers_in(&place);
            }
            Ok(scratch.create()?)
        };
        let scratch = blocking(&doing, making).await?;
        let builds = MachineBuilds::create(scratch.path(), project).await?;
        Ok(OwnDirectory { scratch, builds })
    }
}

/// Where the directories of jobs lie whose runner says nothing else.
fn builds(data: &Path) -> PathBuf {
    data.join("builds")
}

/// Removes what killed processes left in the data directory. Blocks.
pub(super) fn remove_leftovers(data: &Path) {
    remove_leftovers_in(&builds(data));
}

fn remove_leftovers_in(place: &Path) {
    match scratch::remove_leftovers(place, KIND) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "what killed jobs left cannot be looked for");
        }
        _ => {}
    }
}

/// The directory of a job. Dropped, it goes as far as nobody works in it; [`OwnDirectory::remove`] waits for that.
pub(super) struct OwnDirectory {
    scratch: Scratch,
    builds: MachineBuilds,
}

impl OwnDirectory {
    pub(super) fn builds(&self) -> MachineBuilds {
        self.builds.clone()
    }

    /// Removes it once nobody works in it any more.
    pub(super) async fn remove(self) {
        self.builds.settled().await;
        // A removal that fails is said where it fails.
        let _ = tokio::task::spawn_blocking(move || drop(self.scratch)).await;
    }
}

/// What a job asks for that only containers could give.
pub(super) fn say_what_is_not_followed(payload: &JobPayload, trace: &Trace) {
    trace.say("Using the shell executor: the job runs on this machine, without isolation.");
    if !payload.image.name.is_empty() {
        trace.warn(format!(
            "the image {} is not used: the shell executor has no containers",
            payload.image.name
        ));
    }
    for service in &payload.services {
        trace.warn(format!(
            "the service {} is not started: the shell executor has no containers",
            service.name
        ));
    }
}

/// Whether the docker CLI in the job would find nobody: no daemon is named, and none answers in the usual place.
pub(super) async fn wants_engine(context: &RunnerContext, variables: &Variables) -> bool {
    let named = |name: &str| {
        variables.get_filled(name).is_some() || std::env::var_os(name).is_some_and(|value| !value.is_empty())
    };
    if context.substitution != Substitution::Engine || named("DOCKER_HOST") || named("DOCKER_CONTEXT") {
        return false;
    }
    !listens(Path::new(USUAL_SOCKET)).await
}

/// Whether somebody is behind a socket. One who is too busy to let anybody in is there too, and the docker CLI's to wait
/// for: a full queue is the kernel's "try again", or a connection that takes its time.
async fn listens(socket: &Path) -> bool {
    match timeout(PATIENCE, UnixStream::connect(socket)).await {
        Ok(Ok(_)) | Err(_) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// A job may well do without a docker CLI, which will say itself that it finds nobody.
pub(super) fn say_that_there_is_no_engine(error: &JobError, trace: &Trace) {
    trace.warn(format!(
        "no Docker daemon answers, and Shipway's engine cannot take its place: {}",
        with_causes(error)
    ));
}

impl Workplace {
    /// Fills the project's directory; starts the engine in a pod, if there is one.
    pub(super) async fn on_machine(
        context: &RunnerContext,
        run: &JobRun<'_>,
        builds: MachineBuilds,
        pod: Option<Pod>,
        variables: &mut Variables,
    ) -> Result<Self, JobError> {
        let named = context.settings.shell.clone();
        let shell = Shell::find(named, builds.top().to_owned()).await?;
        let builds = Builds::Machine(builds);
        let engine = match pod {
            Some(pod) => match start_engine(context, run, &pod, variables).await {
                Ok(engine) => Some(engine),
                Err(error) => {
                    say_that_there_is_no_engine(&error, run.trace);
                    None
                }
            },
            None => None,
        };
        let fetched = Some(fetch(&builds, run.sources.clone(), fetch::is_wanted(variables)).await);
        Ok(Self {
            builds,
            ground: Ground::Shell(shell),
            engine,
            fetched,
        })
    }
}

/// An engine with the project's lasting image names, as a daemon of the machine would keep them.
async fn start_engine(
    context: &RunnerContext,
    run: &JobRun<'_>,
    pod: &Pod,
    variables: &mut Variables,
) -> Result<JobEngine, JobError> {
    let scope = kept_scope(run.payload)?;
    let plan = EnginePlan::for_sockets([PathBuf::from(USUAL_SOCKET)]);
    let scopes = EngineScopes {
        images: scope.clone(),
        build_cache: scope,
    };
    let engine = JobEngine::start(context, pod, &plan, scopes, HostPaths::Machine, run.trace).await?;
    if let Some(socket) = engine.socket_on_machine() {
        let socket = socket.display().to_string();
        if socket.len() > LONGEST_SOCKET {
            run.trace.warn(format!(
                "no docker CLI can connect to {socket}: give a data directory with a shorter path"
            ));
        } else {
            run.trace
                .say("No Docker daemon answers: DOCKER_HOST leads to Shipway's engine.");
            variables.set("DOCKER_HOST", format!("unix://{socket}"));
            choose_builder(variables);
        }
    }
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::{UnixStream, listens};
    use tokio::net::UnixSocket;

    #[tokio::test]
    async fn a_daemon_whose_queue_is_full_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        assert!(!listens(&path).await, "nobody has been there");
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        // A queue of none has room for one.
        let listener = socket.listen(0).unwrap();
        let _waiting = UnixStream::connect(&path).await.unwrap();
        let full = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
        assert!(listens(&path).await);
        drop(listener);
        assert!(!listens(&path).await, "the socket is left of one that ended");
    }
}
