//! `shipway user`: who may log in to the registry.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use clap::Subcommand;
use shipway_access::{Secret, UserName};

use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// A password longer than this is a mistake.
const LONGEST_PASSWORD: u64 = 4096;

/// Who may log in to the registry
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or give one a new password; the first user is the administrator
    Add {
        /// The name to log in with
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Let this user do everything everywhere
        #[arg(long)]
        administrator: bool,
    },
    /// List the users
    Ls {
        /// Print a line of JSON for each user
        #[arg(long)]
        json: bool,
    },
    /// Remove a user
    Rm {
        /// The name
        name: String,
    },
}

pub(crate) fn execute(command: UserCommand, installation: &Installation) -> Result<ExitCode, Failure> {
    match command {
        UserCommand::Add {
            name,
            password_stdin,
            administrator,
        } => add(installation, &name, password_stdin, administrator),
        UserCommand::Ls { json } => list(installation, json),
        UserCommand::Rm { name } => remove(installation, &name),
    }
}

fn add(
    installation: &Installation,
    name: &str,
    from_stdin: bool,
    administrator: bool,
) -> Result<ExitCode, Failure> {
    let name: UserName = name
        .parse()
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("the name `{name}`"), &error))?;
    let password = read_new_password(from_stdin, name.as_str())?;
    let users = installation.store.users().map_err(|error| internal(&error))?;
    let known = users.iter().any(|user| user.name == name.as_str());
    installation
        .access
        .add_user(&name, &password, administrator)
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("adding `{name}`"), &error))?;
    if known {
        screen::line(&format!("{name}: the password is changed"));
    } else if users.is_empty() || administrator {
        screen::line(&format!("{name} (administrator)"));
    } else {
        screen::line(&format!("{name} (may pull everything and push below `{name}/`)"));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(installation: &Installation, json: bool) -> Result<ExitCode, Failure> {
    for user in installation.store.users().map_err(|error| internal(&error))? {
        if json {
            screen::document(
                &serde_json::json!({"name": user.name, "administrator": user.administrator}).to_string(),
            );
        } else {
            let mark = if user.administrator { "  administrator" } else { "" };
            screen::line(&format!("{}{mark}", user.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(installation: &Installation, name: &str) -> Result<ExitCode, Failure> {
    if installation
        .store
        .delete_user(name)
        .map_err(|error| internal(&error))?
    {
        return Ok(ExitCode::SUCCESS);
    }
    Err(
        Failure::new(FailureKind::Use, format!("there is no user `{name}`"))
            .hint("`shipway user ls` lists them"),
    )
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(FailureKind::Internal, "reading the accounts", error)
}

/// A password that is to be kept: on a terminal it is asked for twice, since nobody sees what was typed.
fn read_new_password(from_stdin: bool, name: &str) -> Result<Secret, Failure> {
    let password = read_password(from_stdin, &format!("Password for {name}: "))?;
    if !from_stdin && read_password(false, "The same again: ")?.expose() != password.expose() {
        return Err(Failure::new(FailureKind::Use, "the two passwords differ"));
    }
    Ok(password)
}

/// A password from standard input, or from the terminal without showing it.
pub(crate) fn read_password(from_stdin: bool, prompt: &str) -> Result<Secret, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::caused(FailureKind::Use, "reading the password", &error);
    let mut text = String::new();
    let stdin = std::io::stdin();
    if from_stdin {
        stdin
            .lock()
            .take(LONGEST_PASSWORD)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else if stdin.is_terminal() {
        let _hidden = HiddenInput::begin();
        screen::error_prompt(prompt);
        stdin.read_line(&mut text).map_err(unreadable)?;
        screen::error_line("");
    } else {
        return Err(Failure::new(
            FailureKind::Use,
            "a password cannot be asked for: standard input is no terminal",
        )
        .hint("give it with --password-stdin"));
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::new(FailureKind::Use, "the password is empty"));
    }
    Ok(Secret::from(password.to_owned()))
}

/// Keeps the terminal from showing what is typed; shows it again when dropped.
struct HiddenInput {
    before: Option<rustix::termios::Termios>,
}

impl HiddenInput {
    fn begin() -> Self {
        let stdin = std::io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(mut changed) = before.clone() {
            changed.local_modes.remove(rustix::termios::LocalModes::ECHO);
            // A terminal that cannot hide still takes the password.
            let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &changed);
        }
        Self { before }
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ =
                rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}
