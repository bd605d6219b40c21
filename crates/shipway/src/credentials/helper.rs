//! Credential helpers: `docker-credential-NAME get|store|erase`, programs that talk to the user's key store.
//!
//! The protocol is docker's: the registry's address or a JSON object comes on standard input, the answer or the reason of a failure
//! goes to standard output, and a failure ends with a status that is not zero. A helper is a stranger: it has a time, its answer
//! a size, and one that keeps to neither is killed with what it started.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use shipway_access::Secret;
use shipway_registry::client::{Audience, RegistryCredentials};

/// A key store may ask its owner to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A longer answer is none.
const LONGEST_ANSWER: u64 = 1 << 20;
/// What helpers print, with a status that is not zero, when they know nothing of a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name by which helpers mark a refresh token.
const TOKEN_USER: &str = "<token>";

/// A credential helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Helper {
    program: PathBuf,
    patience: Duration,
}

/// Why a helper did not help.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    #[error("`{name}` cannot name a credential helper: letters, digits, `-`, `_` and `.` can")]
    Name { name: String },
    #[error("cannot run `{}`: is it installed and on PATH?", program.display())]
    Run {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` did not answer within {} s", program.display(), patience.as_secs())]
    Silent { program: PathBuf, patience: Duration },
    #[error("`{}` answered more than {LONGEST_ANSWER} bytes", program.display())]
    TooMuch { program: PathBuf },
    #[error("`{}` refused: {reason}", program.display())]
    Refused { program: PathBuf, reason: String },
    #[error("the answer of `{}` cannot be read", program.display())]
    Unreadable { program: PathBuf },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ServerURL", default)]
    server: std::borrow::Cow<'a, str>,
    username: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

/// How a helper ended, and what it printed.
struct Ended {
    success: bool,
    output: Vec<u8>,
}

impl Helper {
    /// `docker-credential-NAME`, to be found on `PATH`.
    pub(super) fn named(name: &str) -> Result<Self, HelperError> {
        let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if !name.chars().all(plain) {
            return Err(HelperError::Name {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            program: format!("docker-credential-{name}").into(),
            patience: PATIENCE,
        })
    }

    /// What it knows of a registry; nothing is no error.
    pub(super) fn get(&self, server: &str) -> Result<Option<RegistryCredentials>, HelperError> {
        let ended = self.run("get", server.as_bytes())?;
        if !ended.success {
            let reason = reason(&ended.output);
            return if reason == NOT_FOUND {
                Ok(None)
            } else {
                Err(self.refused(reason))
            };
        }
        // Not even a part of the answer goes into the error: it holds a password.
        answered(&ended.output)
            .map(Some)
            .ok_or_else(|| HelperError::Unreadable {
                program: self.program.clone(),
            })
    }

    /// Has it keep credentials.
    pub(super) fn store(&self, server: &str, username: &str, password: &Secret) -> Result<(), HelperError> {
        let entry = Entry {
            server: server.into(),
            username: username.into(),
            secret: password.expose().into(),
        };
        let entry = serde_json::to_vec(&entry).map_err(|_| HelperError::Unreadable {
            program: self.program.clone(),
        })?;
        let ended = self.run("store", &entry)?;
        if ended.success {
            Ok(())
        } else {
            Err(self.refused(reason(&ended.output)))
        }
    }

    /// Has it forget a registry. That it did not know it is no error.
    pub(super) fn erase(&self, server: &str) -> Result<(), HelperError> {
        let ended = self.run("erase", server.as_bytes())?;
        let reason = reason(&ended.output);
        if ended.success || reason == NOT_FOUND {
            Ok(())
        } else {
            Err(self.refused(reason))
        }
    }

    fn refused(&self, reason: String) -> HelperError {
        HelperError::Refused {
            program: self.program.clone(),
            reason,
        }
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<Ended, HelperError> {
        let failed = |source| HelperError::Run {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (sender, receiver) = mpsc::channel();
        let input = input.to_vec();
        std::thread::spawn(move || {
            // Nobody hears this any more if the helper took too long.
            let _ = sender.send(converse(&mut child, &input));
            let _ = sender.send(child.wait().map(Said::End));
        });
        let silent = |_| HelperError::Silent {
            program: self.program.clone(),
            patience: self.patience,
        };
        let mut output = Vec::new();
        let ended = loop {
            match receiver.recv_timeout(self.patience).map_err(silent) {
                Ok(Ok(Said::Answer(answer))) if answer.len() as u64 > LONGEST_ANSWER => {
                    let program = self.program.clone();
                    break Err(HelperError::TooMuch { program });
                }
                Ok(Ok(Said::Answer(answer))) => output = answer,
                Ok(Ok(Said::End(status))) => break Ok(status.success()),
                Ok(Err(source)) => break Err(failed(source)),
                Err(silent) => break Err(silent),
            }
        };
        if let (Err(_), Some(group)) = (&ended, group) {
            // With what it started. If it is gone already: good.
            let _ = kill_process_group(group, Signal::KILL);
        }
        ended.map(|success| Ended { success, output })
    }
}

/// What the conversation with a helper comes to, in this order.
enum Said {
    /// What it printed until it closed its output.
    Answer(Vec<u8>),
    /// How it ended.
    End(ExitStatus),
}

/// Tells it what it has to know and takes down what it says.
fn converse(child: &mut Child, input: &[u8]) -> io::Result<Said> {
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing has its reason, and prints it.
        let _ = stdin.write_all(input);
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER + 1).read_to_end(&mut output)?;
    }
    Ok(Said::Answer(output))
}

/// The credentials in an answer.
fn answered(output: &[u8]) -> Option<RegistryCredentials> {
    let entry: Entry<'_> = serde_json::from_slice(output).ok()?;
    let secret = Secret::from(entry.secret.into_owned());
    Some(RegistryCredentials {
        identity_token: (entry.username == TOKEN_USER).then(|| secret.clone()),
        username: entry.username.into_owned(),
        password: secret,
        audience: Audience::Anybody,
    })
}

/// Why a helper ended badly, in its own words.
fn reason(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[..output.len().min(512)]);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
