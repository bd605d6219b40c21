//! `shipway runner register`, with the flags of `gitlab-runner register`; what asks after registered runners is in `verify`.

mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use shipway_access::Secret;
use shipway_container::PullPolicy;
use shipway_oci::with_causes;
use shipway_runner::configuration::{Configuration, ConfigurationError, EXECUTORS, Finding, Severity};
use shipway_runner::host_name;
use shipway_runner::registration::{
    AccessLevel, ConfigurationFile, Description, DockerSection, GitLab, NewExecutor, NewRunner, Registered,
    RegistrationError, WriteError, is_made_in_pages,
};

use crate::failure::{Failure, FailureKind};
use crate::{screen, settings};

/// Runners for a GitLab
#[derive(Debug, Subcommand)]
pub(crate) enum RunnerCommand {
    Register(Box<RegisterArguments>),
    List(verify::ListArguments),
    Verify(verify::VerifyArguments),
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
    /// The token of a runner that there is, as GitLab's pages make them
    #[arg(short, long, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// A token that makes new runners, as older GitLabs have it
    #[arg(short, long, env = "REGISTRATION_TOKEN", hide_env_values = true)]
    registration_token: Option<Secret>,
    /// `docker` or `shell`; gitlab-runner's others are written down, for the place that runs them
    #[arg(long, env = "RUNNER_EXECUTOR", value_parser = PossibleValuesParser::new(EXECUTORS))]
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
    /// Take all jobs, or only those of protected branches and tags
    #[arg(long, env = "REGISTER_ACCESS_LEVEL")]
    access_level: Option<AccessLevelName>,
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
    /// When images are asked for again, in the order to try
    #[arg(long, env = "DOCKER_PULL_POLICY")]
    docker_pull_policy: Vec<PullPolicyName>,
}

/// The levels by GitLab's names.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum AccessLevelName {
    NotProtected,
    RefProtected,
}

impl From<AccessLevelName> for AccessLevel {
    fn from(name: AccessLevelName) -> Self {
        match name {
            AccessLevelName::NotProtected => Self::NotProtected,
            AccessLevelName::RefProtected => Self::RefProtected,
        }
    }
}

/// The policies by gitlab-runner's names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PullPolicyName {
    Always,
    IfNotPresent,
    Never,
}

impl From<PullPolicyName> for PullPolicy {
    fn from(name: PullPolicyName) -> Self {
        match name {
            PullPolicyName::Always => Self::Always,
            PullPolicyName::IfNotPresent => Self::IfMissing,
            PullPolicyName::Never => Self::Never,
        }
    }
}

/// What is shown to GitLab.
enum Shown {
    /// The token of a runner that there is: it is verified.
    Runner(Secret),
    /// One that makes a new runner.
    Registration(Secret),
}

pub(crate) async fn execute(command: RunnerCommand) -> Result<ExitCode, Failure> {
    match command {
        RunnerCommand::Register(arguments) => register(*arguments).await,
        RunnerCommand::List(arguments) => verify::list(&arguments),
        RunnerCommand::Verify(arguments) => verify::verify(arguments).await,
    }
}

async fn register(arguments: RegisterArguments) -> Result<ExitCode, Failure> {
    let shown = arguments.shown()?;
    let executor = arguments.section()?;
    let name = arguments.description.clone().unwrap_or_else(host_name);
    let path = arguments.config.clone().unwrap_or_else(usual_file);
    let gitlab = GitLab::at(&arguments.url, arguments.tls_ca_file.as_deref()).map_err(not_registered)?;
    // Before GitLab is asked: a token that cannot be written down would be lost.
    let file = ConfigurationFile::open(&path).map_err(not_written)?;
    let registered = match &shown {
        Shown::Runner(token) => gitlab.verify(token).await,
        Shown::Registration(token) => gitlab.register(token, &arguments.described(&name)).await,
    };
    let Registered { id, token } = registered.map_err(not_registered)?;
    let ca_file = arguments.tls_ca_file.as_deref().map(std::path::absolute);
    let runner = NewRunner {
        name,
        url: arguments.url,
        id,
        token,
        ca_file: ca_file
            .transpose()
            .map_err(|error| Failure::caused(FailureKind::Place, "finding the current directory", &error))?,
        limit: arguments.limit,
        environment: arguments.env,
        executor,
    };
    if let Err(error) = file.add_section(&runner) {
        let failure = not_written(error);
        return Err(match shown {
            Shown::Runner(_) => failure,
            Shown::Registration(_) => take_back(&gitlab, &runner, failure).await,
        });
    }
    let number = id.map(|id| format!(" {id}")).unwrap_or_default();
    screen::line(&format!(
        "Runner{number} is registered; its section is in `{}`.",
        path.display()
    ));
    say_what_is_refused(&path, &runner.name);
    Ok(ExitCode::SUCCESS)
}

impl RegisterArguments {
    /// What is shown to GitLab, by gitlab-runner's rules: `--token` is never one that makes runners, and
    /// `--registration-token` may be one of a runner, for scripts that have not learned yet.
    fn shown(&self) -> Result<Shown, Failure> {
        let filled = |token: &Option<Secret>| token.clone().filter(|token| !token.expose().is_empty());
        let shown = match (filled(&self.token), filled(&self.registration_token)) {
            (Some(token), _) => {
                if !is_made_in_pages(&token) {
                    screen::warning(
                        "--token is the token of a runner that there is already; to make one, give --registration-token",
                    );
                } else if self.sets_what_gitlab_holds() {
                    let message = "tags, protection, timeout and notes of a runner with an authentication token are set in GitLab";
                    return Err(
                        Failure::new(FailureKind::Use, message).hint(format!("leave out {HELD_BY_GITLAB}"))
                    );
                }
                Shown::Runner(token)
            }
            (None, Some(token)) if is_made_in_pages(&token) => {
                if self.sets_what_gitlab_holds() {
                    screen::warning(&format!(
                        "the token is that of a runner that there is already, so {HELD_BY_GITLAB} have no effect"
                    ));
                }
                Shown::Runner(token)
            }
            (None, Some(token)) => Shown::Registration(token),
            (None, None) => {
                return Err(
                    Failure::new(FailureKind::Use, "there is no token to register with")
                        .hint("make a runner in GitLab's pages and give its token with --token"),
                );
            }
        };
        Ok(shown)
    }

    fn sets_what_gitlab_holds(&self) -> bool {
        !self.tag_list.is_empty()
            || self.run_untagged.is_some()
            || self.locked.is_some()
            || self.access_level.is_some()
            || self.maximum_timeout.is_some()
            || self.paused.is_some()
            || !self.maintenance_note.is_empty()
    }

    fn described(&self, name: &str) -> Description {
        Description {
            description: name.to_owned(),
            tag_list: self.tag_list.clone(),
            run_untagged: self.run_untagged.unwrap_or(self.tag_list.is_empty()),
            locked: self.locked.unwrap_or(true),
            access_level: self.access_level.map(Into::into),
            maximum_timeout: self.maximum_timeout,
            paused: self.paused.unwrap_or_default(),
            maintenance_note: self.maintenance_note.clone(),
        }
    }

    fn section(&self) -> Result<NewExecutor, Failure> {
        if self.executor != "docker" {
            return Ok(NewExecutor::Other(self.executor.clone()));
        }
        if self.docker_image.is_empty() {
            return Err(
                Failure::new(FailureKind::Use, "the executor docker needs --docker-image")
                    .hint("name the image of jobs that name none, such as `alpine:latest`"),
            );
        }
        Ok(NewExecutor::Docker(DockerSection {
            image: self.docker_image.clone(),
            privileged: self.docker_privileged.unwrap_or_default(),
            volumes: self.docker_volumes.clone(),
            pull_policies: self.docker_pull_policy.iter().copied().map(Into::into).collect(),
        }))
    }
}

const HELD_BY_GITLAB: &str = "--tag-list, --run-untagged, --locked, --access-level, --maximum-timeout, --paused and --maintenance-note";

fn not_registered(error: RegistrationError) -> Failure {
    let kind = match error {
        RegistrationError::Address => FailureKind::Use,
        RegistrationError::Certificates { .. } | RegistrationError::Setup { .. } => FailureKind::Place,
        _ => FailureKind::Work,
    };
    Failure::new(kind, with_causes(&error))
}

fn not_written(error: WriteError) -> Failure {
    let kind = match error {
        WriteError::Broken { .. } | WriteError::NoList { .. } => FailureKind::Use,
        WriteError::Io { .. } => FailureKind::Place,
    };
    Failure::new(kind, with_causes(&error))
}

/// A configuration that cannot be read, or not worked by.
pub(super) fn of_no_use(error: ConfigurationError) -> Failure {
    let kind = match error {
        ConfigurationError::Refused(_) => FailureKind::Place,
        _ => FailureKind::Use,
    };
    let failure = Failure::new(kind, with_causes(&error));
    match error {
        ConfigurationError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            failure.hint("`shipway runner register` makes one")
        }
        _ => failure,
    }
}

/// Says what there is to say about a configuration that can be read.
pub(super) fn tell(findings: &[Finding]) {
    for finding in findings {
        match finding.severity {
            Severity::Note => screen::error_line(&format!("note: {finding}")),
            Severity::Warning => screen::warning(&finding.to_string()),
            // Of a section that is not chosen: one that is would have been refused.
            Severity::Error => screen::warning(&format!("{finding}; that runner is of no use")),
        }
    }
}

/// A runner whose token nobody has would stay in GitLab for ever.
async fn take_back(gitlab: &GitLab, runner: &NewRunner, failure: Failure) -> Failure {
    match gitlab.unregister(&runner.token).await {
        Ok(()) => failure.hint("the runner that GitLab had made is taken back"),
        Err(error) => failure.hint(format!(
            "a runner of the name `{}` is left in GitLab, to be removed there: {}",
            runner.name,
            with_causes(&error)
        )),
    }
}

/// A runner may be registered for a place that can run it although this one cannot.
fn say_what_is_refused(file: &Path, name: &str) {
    if let Ok(configuration) = Configuration::load(file)
        && let Err(problem @ ConfigurationError::Refused(_)) = configuration.choose(Some(name))
    {
        screen::warning(&problem.to_string());
    }
}

fn usual_file() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/gitlab-runner/config.toml")
    } else {
        settings::home().join(".gitlab-runner/config.toml")
    }
}
