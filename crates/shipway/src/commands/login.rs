//! `shipway login` and `logout`: credentials for registries, kept where the docker CLI keeps them.

use std::process::ExitCode;

use clap::Args;
use shipway_oci::RegistryName;
use shipway_registry::client::RegistryCredentials;

use crate::commands::user::{PasswordSource, read_password};
use crate::credentials::DockerCredentials;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Log in to a registry
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// The registry, such as `registry.example.com` or `127.0.0.1:5000` [default: docker.io]
    registry: Option<String>,
    /// The user name
    #[arg(short, long)]
    username: String,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Forget the credentials of a registry
#[derive(Debug, Args)]
pub(crate) struct LogoutArguments {
    /// The registry [default: docker.io]
    registry: Option<String>,
}

pub(crate) async fn login(
    arguments: LoginArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let registry = registry_name(arguments.registry.as_deref())?;
    let password = read_password(
        &PasswordSource::of(arguments.password_stdin, None),
        &format!("Password for {}: ", arguments.username),
    )?;
    let credentials = RegistryCredentials::new(arguments.username.clone(), password.clone());
    installation
        .client
        .login(&registry, &credentials)
        .await
        .map_err(|error| Failure::caused(FailureKind::Work, &format!("logging in to {registry}"), &error))?;
    DockerCredentials::of_this_user().store(&registry, &arguments.username, &password)?;
    screen::line("Login Succeeded");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn logout(arguments: &LogoutArguments) -> Result<ExitCode, Failure> {
    let registry = registry_name(arguments.registry.as_deref())?;
    if !DockerCredentials::of_this_user().forget(&registry)? {
        screen::warning(&format!("there were no credentials for {registry}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn registry_name(text: Option<&str>) -> Result<RegistryName, Failure> {
    let text = text.unwrap_or("docker.io");
    text.parse()
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("the registry `{text}`"), &error))
}
