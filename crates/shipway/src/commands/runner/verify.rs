//! `shipway runner list` and `verify`, with the flags of gitlab-runner's.
//!
//! A section is given up only by a GitLab that says that it does not know the runner: one that cannot be reached, or
//! that answers with something else, has said nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use shipway_access::Secret;
use shipway_oci::with_causes;
use shipway_runner::configuration::{ConfigurationError, KnownRunner, KnownRunners};
use shipway_runner::registration::{ConfigurationFile, GitLab, RegistrationError};

use super::{not_written, of_no_use, tell, usual_file};
use crate::failure::{Failure, FailureKind};
use crate::screen;

/// List the runners of config.toml
///
/// Of a token only the beginning is shown.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The file [default: ~/.gitlab-runner/config.toml; as root /etc/gitlab-runner/config.toml]
    #[arg(short, long, value_name = "FILE", env = "CONFIG_FILE")]
    config: Option<PathBuf>,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
}

/// Ask each GitLab whether it knows the runners of config.toml; ends with 1 when one is not known
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The file [default: ~/.gitlab-runner/config.toml; as root /etc/gitlab-runner/config.toml]
    #[arg(short, long, value_name = "FILE", env = "CONFIG_FILE")]
    config: Option<PathBuf>,
    /// Only the runner of this name
    #[arg(short, long, env = "RUNNER_NAME")]
    name: Option<String>,
    /// Only those of this GitLab
    #[arg(short, long, env = "CI_SERVER_URL")]
    url: Option<String>,
    /// Only the one with this token
    #[arg(short, long, env = "CI_SERVER_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// Remove the sections of runners that their GitLab does not know
    #[arg(long)]
    delete: bool,
}

/// What a GitLab says about a runner.
enum Verdict {
    Alive,
    Removed,
    Unknown(RegistrationError),
}

pub(super) fn list(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    for runner in &runners(&file(arguments.config.as_deref()), arguments.config.is_some())? {
        let (token, url) = (runner.short_token(), runner.address());
        if arguments.json {
            let row = serde_json::json!({
                "name": runner.name, "executor": runner.executor, "token": token, "url": url,
            });
            screen::document(&row.to_string());
            continue;
        }
        let (name, executor) = (screen::phrase(&runner.name), screen::phrase(&runner.executor));
        let (token, url) = (screen::phrase(&token), screen::phrase(&url));
        screen::line(&format!("{name:<50} Executor={executor} Token={token} URL={url}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn file(named: Option<&Path>) -> PathBuf {
    named.map_or_else(usual_file, Path::to_owned)
}

/// The runners of a file. One that nobody named need not be there; that it is not is said.
fn runners(file: &Path, is_named: bool) -> Result<Vec<KnownRunner>, Failure> {
    match KnownRunners::load(file) {
        Ok(known) => {
            tell(&known.findings);
            Ok(known.runners)
        }
        Err(ConfigurationError::Read { source, .. })
            if !is_named && source.kind() == io::ErrorKind::NotFound =>
        {
            screen::error_line(&format!(
                "note: there is no `{}`: `shipway runner register` makes one, --config names another",
                file.display()
            ));
            Ok(Vec::new())
        }
        Err(error) => Err(of_no_use(error)),
    }
}

pub(super) async fn verify(arguments: VerifyArguments) -> Result<ExitCode, Failure> {
    let file = file(arguments.config.as_deref());
    let known = runners(&file, arguments.config.is_some())?;
    let chosen: Vec<_> = known.iter().filter(|runner| arguments.chooses(runner)).collect();
    if chosen.is_empty() && arguments.is_choosing() {
        let message = format!("no runner in `{}` is the one to verify", file.display());
        return Err(
            Failure::new(FailureKind::Use, message).hint("`shipway runner list` shows those there are")
        );
    }
    let (mut removed, mut is_sure) = (Vec::new(), true);
    for runner in chosen {
        let (name, url) = (screen::phrase(&runner.name), screen::phrase(&runner.address()));
        match ask(runner).await {
            Verdict::Alive => screen::line(&format!("`{name}` at {url} is alive")),
            Verdict::Removed => {
                screen::line(&format!("`{name}` at {url} is removed: its token is not valid"));
                removed.push(runner.clone());
            }
            Verdict::Unknown(error) => {
                screen::warning(&format!("`{name}` cannot be verified: {}", with_causes(&error)));
                is_sure = false;
            }
        }
    }
    if arguments.delete && !removed.is_empty() {
        delete(&file, &removed)?;
        removed.clear();
    }
    Ok(if removed.is_empty() && is_sure {
        ExitCode::SUCCESS
    } else {
        FailureKind::Work.code()
    })
}

impl VerifyArguments {
    fn is_choosing(&self) -> bool {
        self.name.is_some() || self.url.is_some() || self.token.is_some()
    }

    fn chooses(&self, runner: &KnownRunner) -> bool {
        self.name.as_ref().is_none_or(|name| *name == runner.name)
            && self.url.as_ref().is_none_or(|url| *url == runner.url)
            && (self.token.as_ref()).is_none_or(|token| token.expose() == runner.token.expose())
    }
}

async fn ask(runner: &KnownRunner) -> Verdict {
    let gitlab = match GitLab::at(&runner.url, runner.ca_file.as_deref()) {
        Ok(gitlab) => gitlab,
        Err(error) => return Verdict::Unknown(error),
    };
    match gitlab.verify(&runner.token).await {
        Ok(_) => Verdict::Alive,
        Err(RegistrationError::Refused { status: 403, .. }) => Verdict::Removed,
        Err(error) => Verdict::Unknown(error),
    }
}

fn delete(file: &Path, removed: &[KnownRunner]) -> Result<(), Failure> {
    ConfigurationFile::open(file)
        .and_then(|file| file.remove_sections(removed))
        .map_err(not_written)?;
    let number = removed.len();
    screen::line(&format!(
        "{number} {} removed from `{}`",
        if number == 1 { "section is" } else { "sections are" },
        file.display()
    ));
    Ok(())
}
