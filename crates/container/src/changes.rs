//! Configuration changes given as Dockerfile instructions, as `docker import --change` and `docker commit --change`
//! take them: `CMD ["sh"]`, `ENV A=1 B="two words"`, `WORKDIR /src`.
//!
//! Apart from the Dockerfile language on purpose: there are no variables, stages or heredocs here, one instruction is
//! one text, and this crate lies below the builder.

use std::str::FromStr;

use shipway_oci::ExecutionConfig;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `CMD`.
    Cmd(Vec<String>),
    /// `ENTRYPOINT`.
    Entrypoint(Vec<String>),
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `ONBUILD`.
    OnBuild(String),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    WorkingDirectory(String),
}

/// A text is no change that could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another instruction, or none.
    #[error(
        "`{instruction}` cannot change an image: use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, \
         VOLUME or WORKDIR"
    )]
    Instruction {
        /// What it says.
        instruction: String,
    },
    /// The instruction has nothing behind it.
    #[error("{instruction} needs a value")]
    Empty {
        /// Which.
        instruction: String,
    },
    /// Something that should be `NAME=value` is not.
    #[error("`{word}` in {instruction} is not of the form NAME=value")]
    NoPair {
        /// Which instruction.
        instruction: String,
        /// The word.
        word: String,
    },
    /// A quote is not closed.
    #[error("{instruction} has a quote that is never closed")]
    Quote {
        /// Which instruction.
        instruction: String,
    },
    /// A port is none.
    #[error("`{word}` is no port: write PORT, PORT/tcp or FIRST-LAST/udp")]
    Port {
        /// The word.
        word: String,
    },
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let text = text.trim();
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let instruction = name.to_ascii_uppercase();
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(ChangeError::Empty { instruction });
        }
        Ok(match instruction.as_str() {
            "CMD" => Self::Cmd(command(rest)),
            "ENTRYPOINT" => Self::Entrypoint(command(rest)),
            "ENV" => Self::Env(pairs(&instruction, rest)?),
            "EXPOSE" => Self::Expose(
                rest.split_whitespace()
                    .map(port)
                    .collect::<Result<Vec<_>, _>>()?
                    .concat(),
            ),
            "LABEL" => Self::Label(pairs(&instruction, rest)?),
            "ONBUILD" => Self::OnBuild(rest.to_owned()),
            "STOPSIGNAL" => Self::StopSignal(rest.to_owned()),
            "USER" => Self::User(rest.to_owned()),
            "VOLUME" => Self::Volume(
                list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()),
            ),
            "WORKDIR" => Self::WorkingDirectory(rest.to_owned()),
            _ => {
                return Err(ChangeError::Instruction {
                    instruction: instruction.chars().take(40).collect(),
                });
            }
        })
    }
}

impl Change {
    /// Makes the change.
    pub fn apply(&self, config: &mut ExecutionConfig) {
        match self {
            Self::Cmd(words) => config.cmd = Some(words.clone()),
            Self::Entrypoint(words) => config.entrypoint = Some(words.clone()),
            Self::Env(pairs) => {
                let entries: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                config.env = crate::process::merge_environment(&config.env, &entries);
            }
            Self::Expose(ports) => config.exposed_ports.extend(ports.iter().cloned()),
            Self::Label(pairs) => config.labels.extend(pairs.iter().cloned()),
            Self::OnBuild(instruction) => config.on_build.push(instruction.clone()),
            Self::StopSignal(signal) => config.stop_signal = Some(signal.clone()),
            Self::User(user) => config.user.clone_from(user),
            Self::Volume(paths) => config.volumes.extend(paths.iter().cloned()),
            Self::WorkingDirectory(path) if path.starts_with('/') => config.working_dir.clone_from(path),
            Self::WorkingDirectory(path) => {
                config.working_dir = format!("{}/{path}", config.working_dir.trim_end_matches('/'));
            }
        }
    }
}

/// The JSON form is the words themselves, anything else is a line for the shell.
fn command(rest: &str) -> Vec<String> {
    list(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.to_owned()])
}

fn list(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') {
        serde_json::from_str(rest).ok()
    } else {
        None
    }
}

fn port(word: &str) -> Result<Vec<String>, ChangeError> {
    let wrong = || ChangeError::Port {
        word: word.chars().take(40).collect(),
    };
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| wrong())?,
        last.parse().map_err(|_| wrong())?,
    );
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `A=1 B="two words"`, or the old form of one pair, `A two words`.
fn pairs(instruction: &str, rest: &str) -> Result<Vec<(String, String)>, ChangeError> {
    let first = rest.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| ChangeError::NoPair {
                instruction: instruction.to_owned(),
                word: first.to_owned(),
            })?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    unquoted_words(rest)
        .ok_or_else(|| ChangeError::Quote {
            instruction: instruction.to_owned(),
        })?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(ChangeError::NoPair {
                instruction: instruction.to_owned(),
                word,
            }),
        })
        .collect()
}

/// Words with their quotes and backslashes taken off; nothing when a quote stays open.
fn unquoted_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == character => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests;
