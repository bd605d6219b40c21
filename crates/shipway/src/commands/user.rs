//! `shipway user`: who may log in to the registry.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use shipway_access::{Added, Secret, UserName};
use shipway_store::Removal;

use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// How somebody becomes one, who may be there already.
const ANOTHER_ADMINISTRATOR: &str = "make one with `shipway user add NAME --administrator`";
/// A password longer than this is a mistake.
const LONGEST_PASSWORD: u64 = 4096;

/// Who may log in to the registry
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or give one a new password; the first user is the administrator
    ///
    /// Asks for the password on a terminal. A script gives it on standard input or
    /// in a file; there is no argument for it, since others on the machine can read
    /// arguments:
    ///
    ///   printf '%s\n' "$PASSWORD" | shipway user add NAME --password-stdin
    ///   shipway user add NAME --password-file /run/secrets/registry
    #[command(verbatim_doc_comment)]
    Add {
        /// The name to log in with
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Read the password from a file; one line break at its end does not belong to it
        #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
        password_file: Option<PathBuf>,
        /// Let this user do everything everywhere, also one that is there already
        #[arg(long)]
        administrator: bool,
    },
    /// List the users
    Ls {
        /// Print a line of JSON for each user
        #[arg(long)]
        json: bool,
    },
    /// Remove a user; the last administrator stays while others are there
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
            password_file,
            administrator,
        } => {
            let source = PasswordSource::of(password_stdin, password_file.as_deref());
            add(installation, &name, &source, administrator)
        }
        UserCommand::Ls { json } => list(installation, json),
        UserCommand::Rm { name } => remove(installation, &name),
    }
}

fn add(
    installation: &Installation,
    name: &str,
    source: &PasswordSource<'_>,
    administrator: bool,
) -> Result<ExitCode, Failure> {
    let name: UserName = name
        .parse()
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("the name `{name}`"), &error))?;
    let password = read_new_password(source, name.as_str())?;
    let added = installation
        .access
        .add_user(&name, &password, administrator)
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("adding `{name}`"), &error))?;
    screen::line(&match added {
        Added::New { administrator: true } => format!("{name} (administrator)"),
        Added::New { administrator: false } => {
            format!("{name} (may pull everything and push below `{name}/`)")
        }
        Added::Known { promoted: true } => format!("{name} (administrator): the password is changed"),
        Added::Known { promoted: false } => format!("{name}: the password is changed"),
    });
    let users = installation.store.users().map_err(|error| internal(&error))?;
    if !users.iter().any(|user| user.administrator) {
        screen::warning(&format!("there is no administrator: {ANOTHER_ADMINISTRATOR}"));
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
    let removal = installation.store.delete_user(name);
    match removal.map_err(|error| internal(&error))? {
        Removal::Removed => Ok(ExitCode::SUCCESS),
        Removal::LastAdministrator => {
            let message = format!("`{name}` is the last administrator, and others are there");
            Err(Failure::new(FailureKind::Use, message).hint(format!("{ANOTHER_ADMINISTRATOR} first")))
        }
        Removal::Unknown => Err(
            Failure::new(FailureKind::Use, format!("there is no user `{name}`"))
                .hint("`shipway user ls` lists them"),
        ),
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(FailureKind::Internal, "reading the accounts", error)
}

/// Where a password comes from.
pub(crate) enum PasswordSource<'a> {
    /// Whoever sits at the terminal.
    Terminal,
    /// Standard input, for scripts.
    Stdin,
    /// A file, for scripts.
    File(&'a Path),
}

impl<'a> PasswordSource<'a> {
    /// As flags name it.
    pub(crate) fn of(stdin: bool, file: Option<&'a Path>) -> Self {
        match (file, stdin) {
            (Some(file), _) => Self::File(file),
            (None, true) => Self::Stdin,
            (None, false) => Self::Terminal,
        }
    }
}

/// A password that is to be kept: on a terminal it is asked for twice, since nobody sees what was typed.
fn read_new_password(source: &PasswordSource<'_>, name: &str) -> Result<Secret, Failure> {
    let password = read_password(source, &format!("Password for {name}: "))?;
    if matches!(source, PasswordSource::Terminal)
        && read_password(source, "The same again: ")?.expose() != password.expose()
    {
        return Err(Failure::new(FailureKind::Use, "the two passwords differ"));
    }
    Ok(password)
}

/// A password from where it is; a terminal does not show it.
pub(crate) fn read_password(source: &PasswordSource<'_>, prompt: &str) -> Result<Secret, Failure> {
    let unreadable = |error: io::Error| Failure::caused(FailureKind::Use, "reading the password", &error);
    let text = match source {
        PasswordSource::Stdin => bounded(io::stdin().lock()).map_err(unreadable)?,
        PasswordSource::File(path) => File::open(path).and_then(bounded).map_err(|error| {
            let doing = format!("reading the password from `{}`", path.display());
            Failure::caused(FailureKind::Use, &doing, &error)
        })?,
        PasswordSource::Terminal => ask(prompt)?,
    };
    let password = without_line_break(&text);
    if password.is_empty() {
        return Err(Failure::new(FailureKind::Use, "the password is empty"));
    }
    if password.len() as u64 > LONGEST_PASSWORD {
        let problem = format!("the password is longer than {LONGEST_PASSWORD} bytes");
        return Err(Failure::new(FailureKind::Use, problem));
    }
    Ok(Secret::from(password.to_owned()))
}

/// A text without the line break that editors and `echo` end it with: one, since more of them were meant.
fn without_line_break(text: &str) -> &str {
    let line = text.strip_suffix('\n');
    line.map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// All that is there, or more than any password has.
fn bounded(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source
        .take(LONGEST_PASSWORD + "\r\n".len() as u64 + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            FailureKind::Use,
            "a password cannot be asked for: standard input is no terminal",
        )
        .hint("give it with --password-stdin"));
    }
    let _hidden = HiddenInput::begin();
    screen::error_prompt(prompt);
    let mut text = String::new();
    stdin
        .read_line(&mut text)
        .map_err(|error| Failure::caused(FailureKind::Use, "reading the password", &error))?;
    screen::error_line("");
    Ok(text)
}

/// Keeps the terminal from showing what is typed; shows it again when dropped.
struct HiddenInput {
    before: Option<rustix::termios::Termios>,
}

impl HiddenInput {
    fn begin() -> Self {
        let stdin = io::stdin();
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
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}
