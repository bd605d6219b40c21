//! The place of a job of the shell executor: a directory of its own on this machine, and an engine where the docker CLI
//! would find no daemon.

use super::JobRun;
use super::fetch::fetch;
use super::prepare::builds_directory;
use super::workplace::{Ground, Workplace, choose_builder, kept_scope};
use crate::builds::Builds;
use crate::engine::{EnginePlan, JobEngine};
use crate::outcome::JobError;
use crate::shell::Shell;
use crate::variables::Variables;
use crate::{RunnerContext, Substitution, Trace};
use shipway_container::Pod;
use shipway_engine::HostPaths;
use shipway_pipeline::job::JobPayload;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Where a Docker daemon listens that nobody moved.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// The longest path of a socket that a client can connect to.
const LONGEST_SOCKET: usize = 107;

/// A directory that goes with its value.
pub(super) struct OwnDirectory(PathBuf);

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, directory = %self.0.display(), "the files of a job stay");
        }
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
pub(super) fn wants_engine(context: &RunnerContext, variables: &Variables) -> bool {
    let named = |name: &str| {
        variables.get_filled(name).is_some() || std::env::var_os(name).is_some_and(|value| !value.is_empty())
    };
    context.substitution == Substitution::Engine
        && !named("DOCKER_HOST")
        && !named("DOCKER_CONTEXT")
        && UnixStream::connect(USUAL_SOCKET).is_err()
}

impl Workplace {
    /// Makes the directory and fills it; starts the engine in a pod, if there is one.
    pub(super) async fn on_machine(
        context: &RunnerContext,
        run: &JobRun<'_>,
        pod: Option<Pod>,
        variables: &mut Variables,
    ) -> Result<Self, JobError> {
        let directory = builds_directory(context, run.payload);
        let own = OwnDirectory(directory.clone());
        let builds =
            Builds::create_on_machine(directory.clone(), &run.payload.job_info.project_full_path).await?;
        let engine = match pod {
            Some(pod) => Some(start_engine(context, run, &pod, variables).await?),
            None => None,
        };
        let fetched = Some(fetch(&builds, run.sources.clone(), variables).await);
        let shell = Shell::find(context.settings.shell.as_deref(), directory)?;
        Ok(Self {
            builds,
            ground: Ground::Shell {
                shell,
                _directory: own,
            },
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
    let scopes = (scope.clone(), scope);
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
