//! `shipway engine`: a Docker endpoint for the user at the keyboard, without Docker.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use shipway_build::Builder;
use shipway_container::{ExcessSignal, PodOptions};
use shipway_engine::{Engine, EngineOptions, HostPaths, ServeError};
use shipway_store::{Meter, Scope};

use crate::commands::serve::stop_signal;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Answer the docker CLI on a Unix socket, as a Docker daemon would
///
/// Prints the value for DOCKER_HOST. Images stay between runs and are those of `shipway image ls`; containers end with the
/// engine. Whoever can open the socket acts as you: it is readable by you alone.
#[derive(Debug, Args)]
pub(crate) struct EngineArguments {
    /// Where the socket is made [default: $XDG_RUNTIME_DIR/shipway/docker.sock, else in the data directory]
    #[arg(long, value_name = "PATH", env = "SHIPWAY_SOCKET")]
    socket: Option<PathBuf>,
}

pub(crate) async fn execute(
    arguments: EngineArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let client = installation.client.clone();
    let runtime = installation.runtime(client.clone()).await?;
    let excess = ExcessSignal::default();
    let pod = runtime
        .start_pod(PodOptions {
            name: "engine".to_owned(),
            egress: installation.egress.clone(),
            excess: excess.clone(),
            // A pull that fills the disk fails by itself; it must not end the containers that run beside it.
            written: Meter::still(),
        })
        .await
        .map_err(|error| Failure::caused(FailureKind::Place, "starting the engine", &error))?;
    let engine = Engine::new(EngineOptions {
        builder: Builder::new(runtime.clone(), installation.store.clone(), client.clone()),
        runtime,
        pod: pod.clone(),
        client,
        scope: Scope::user(),
        cache_scope: Scope::user(),
        host_paths: HostPaths::Machine,
        name: "shipway".to_owned(),
        address: None,
        observer: None,
    });
    let socket = arguments.socket.unwrap_or_else(|| default_socket(&installation));
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            Failure::caused(
                FailureKind::Place,
                &format!("making `{}`", directory.display()),
                &error,
            )
        })?;
    }
    let served = match engine.serve_unix(&socket, 0o600) {
        Ok(served) => served,
        Err(error) => {
            pod.close().await;
            let doing = format!("listening on `{}`", socket.display());
            let failure = Failure::caused(FailureKind::Place, &doing, &error);
            return Err(match error {
                ServeError::Answered { .. } => failure.hint(format!(
                    "use that engine with DOCKER_HOST=unix://{}, end it, or name another socket with --socket",
                    socket.display()
                )),
                _ => failure,
            });
        }
    };
    screen::line(&format!("export DOCKER_HOST=unix://{}", socket.display()));
    let ended = tokio::select! {
        biased;
        excess = excess.told() => Some(excess),
        () = served => None,
        () = stop_signal() => None,
    };
    engine.close().await;
    pod.close().await;
    match ended {
        Some(excess) => Err(Failure::caused(
            FailureKind::Place,
            "the engine was ended",
            &excess,
        )),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn default_socket(installation: &Installation) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory).join("shipway/docker.sock"),
        None => installation.data.join("docker.sock"),
    }
}
