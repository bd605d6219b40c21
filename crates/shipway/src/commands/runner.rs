//! `shipway runner register`, with the flags of `gitlab-runner register`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shipway_runner::configuration::{Configuration, ConfigurationError};
use shipway_runner::registration::{
    Description, NewRunner, RegistrationError, add_section, is_authentication_token, register,
};

use crate::failure::{Failure, FailureKind};
use crate::{screen, settings};

/// Runners for a GitLab
#[derive(Debug, Subcommand)]
pub(crate) enum RunnerCommand {
    Register(Box<RegisterArguments>),
}

/// Register a runner with a GitLab and write it into config.toml
///
/// Takes the flags of `gitlab-runner register`. It never asks: what is missing is an error.
#[derive(Debug, Args)]
pub(crate) struct RegisterArguments {
    /// The file [default: ~/.gitlab-runner/config.toml; as root /etc/gitlab-runner/config.toml]
    #[arg(short, long, value_name = "FILE", env = "CONFIG_FILE")]
    config: Option<PathBuf>,
    /// Ask nothing; always so
    #[arg(short, long)]
    non_interactive: bool,
    /// The GitLab
    #[arg(short, long, env = "CI_SERVER_URL")]
    url: String,
    /// The token of a runner that was made in GitLab's pages
    #[arg(short, long, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A token that makes new runners, as older GitLabs have it
    #[arg(short, long, env = "REGISTRATION_TOKEN", hide_env_values = true)]
    registration_token: Option<String>,
    /// `docker` or `shell`
    #[arg(long, env = "RUNNER_EXECUTOR")]
    executor: String,
    /// Its name, for people [default: this machine's]
    #[arg(long, visible_alias = "name", env = "RUNNER_NAME")]
    description: Option<String>,
    /// Which jobs it takes, separated by commas
    #[arg(long, env = "RUNNER_TAG_LIST", default_value = "")]
    tag_list: String,
    /// Take jobs without tags too; always so without tags
    #[arg(long, env = "REGISTER_RUN_UNTAGGED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    run_untagged: Option<bool>,
    /// Stay with one project [default: true]
    #[arg(long, env = "REGISTER_LOCKED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    locked: Option<bool>,
    /// `not_protected` or `ref_protected`
    #[arg(long, env = "REGISTER_ACCESS_LEVEL", default_value = "")]
    access_level: String,
    /// Seconds a job may take at most
    #[arg(long, env = "REGISTER_MAXIMUM_TIMEOUT")]
    maximum_timeout: Option<u64>,
    /// Wait for somebody to let it work
    #[arg(long, env = "REGISTER_PAUSED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    paused: Option<bool>,
    /// For administrators
    #[arg(long, env = "REGISTER_MAINTENANCE_NOTE", default_value = "")]
    maintenance_note: String,
    /// How many of its jobs run at once
    #[arg(long, env = "RUNNER_LIMIT", default_value_t = 0)]
    limit: u64,
    /// A variable for every job, NAME=value
    #[arg(long, env = "RUNNER_ENV")]
    env: Vec<String>,
    /// Certificates to trust besides this machine's
    #[arg(long, value_name = "FILE", env = "CI_SERVER_TLS_CA_FILE")]
    tls_ca_file: Option<PathBuf>,
    /// The image of jobs that name none
    #[arg(long, env = "DOCKER_IMAGE", default_value = "")]
    docker_image: String,
    /// Written down; no container is privileged here
    #[arg(long, env = "DOCKER_PRIVILEGED", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    docker_privileged: Option<bool>,
    /// What jobs share with their services or the machine
    #[arg(long, env = "DOCKER_VOLUMES")]
    docker_volumes: Vec<String>,
    /// always, if-not-present or never
    #[arg(long, env = "DOCKER_PULL_POLICY")]
    docker_pull_policy: Vec<String>,
}

pub(crate) async fn execute(command: RunnerCommand) -> Result<ExitCode, Failure> {
    let RunnerCommand::Register(arguments) = command;
    let arguments = *arguments;
    let token = arguments
        .token
        .clone()
        .or_else(|| arguments.registration_token.clone());
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Err(
            Failure::new(FailureKind::Use, "there is no token to register with")
                .hint("make a runner in GitLab's pages and give its token with --token"),
        );
    };
    if arguments.executor == "docker" && arguments.docker_image.is_empty() {
        return Err(
            Failure::new(FailureKind::Use, "the executor docker needs --docker-image")
                .hint("name the image of jobs that name none, such as `alpine:latest`"),
        );
    }
    if is_authentication_token(&token) && sets_what_gitlab_holds(&arguments) {
        let message =
            "tags, protection, timeout and notes of a runner with an authentication token are set in GitLab";
        return Err(Failure::new(FailureKind::Use, message)
            .hint("leave out --tag-list, --run-untagged, --locked, --access-level, --maximum-timeout, --paused and --maintenance-note"));
    }
    let name = arguments.description.clone().unwrap_or_else(host_name);
    let description = Description {
        description: name.clone(),
        run_untagged: arguments.run_untagged.unwrap_or(arguments.tag_list.is_empty()),
        tag_list: arguments.tag_list,
        locked: arguments.locked.unwrap_or(true),
        access_level: arguments.access_level,
        maximum_timeout: arguments.maximum_timeout,
        paused: arguments.paused.unwrap_or_default(),
        maintenance_note: arguments.maintenance_note,
    };
    let registered = register(
        &arguments.url,
        &token,
        &description,
        arguments.tls_ca_file.as_deref(),
    )
    .await
    .map_err(|error| {
        let kind = match error {
            RegistrationError::Certificates { .. } | RegistrationError::Setup { .. } => FailureKind::Place,
            _ => FailureKind::Work,
        };
        Failure::new(kind, crate::failure::chain(&error))
    })?;
    let file = arguments.config.unwrap_or_else(usual_file);
    let runner = NewRunner {
        name,
        url: arguments.url,
        id: registered.id,
        token: registered.token,
        executor: arguments.executor,
        limit: arguments.limit,
        environment: arguments.env,
        image: arguments.docker_image,
        privileged: arguments.docker_privileged.unwrap_or_default(),
        volumes: arguments.docker_volumes,
        pull_policies: arguments.docker_pull_policy,
    };
    add_section(&file, &runner)
        .map_err(|error| Failure::new(FailureKind::Place, crate::failure::chain(&error)))?;
    screen::line(&format!(
        "Runner {} is registered; its section is in `{}`.",
        registered.id,
        file.display()
    ));
    say_what_is_refused(&file, &runner.name);
    Ok(ExitCode::SUCCESS)
}

fn sets_what_gitlab_holds(arguments: &RegisterArguments) -> bool {
    !arguments.tag_list.is_empty()
        || arguments.run_untagged.is_some()
        || arguments.locked.is_some()
        || !arguments.access_level.is_empty()
        || arguments.maximum_timeout.is_some()
        || arguments.paused.is_some()
        || !arguments.maintenance_note.is_empty()
}

/// A runner may be registered for a place that can run it although this one cannot.
fn say_what_is_refused(file: &Path, name: &str) {
    if let Ok(configuration) = Configuration::load(file)
        && let Err(problem @ ConfigurationError::Refused(_)) = configuration.choose(Some(name))
    {
        screen::warning(&problem.to_string());
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn usual_file() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/gitlab-runner/config.toml")
    } else {
        settings::home().join(".gitlab-runner/config.toml")
    }
}
