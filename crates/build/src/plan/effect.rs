//! What an instruction does to an image's configuration.
//!
//! Everything but RUN, COPY, ADD and the directory that WORKDIR makes is decided here, from text and configuration
//! alone, so a build whose files come from the cache needs nothing else.

use shipway_oci::{ExecutionConfig, Healthcheck, ImageConfig};

use super::arguments::Arguments;
use crate::dockerfile::{CommandLine, DockerfileError, Expander, Instruction, Step};

/// A configuration being changed by the steps of one stage.
pub(crate) struct Effects<'a> {
    file: &'a str,
    escape: char,
    pub(crate) config: ImageConfig,
    pub(crate) arguments: Arguments<'a>,
    /// An ENTRYPOINT drops the base's CMD, but not the stage's own.
    cmd_set: bool,
}

impl<'a> Effects<'a> {
    pub(crate) fn new(file: &'a str, escape: char, config: ImageConfig, arguments: Arguments<'a>) -> Self {
        Self {
            file,
            escape,
            config,
            arguments,
            cmd_set: false,
        }
    }

    fn execution(&mut self) -> &mut ExecutionConfig {
        &mut self.config.config
    }

    /// A variable as a Dockerfile sees it: of an ENV and an ARG the later one, the base's environment being the earliest.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        if let Some(value) = self.arguments.over_variable(name) {
            return Some(value.to_owned());
        }
        let prefix = |entry: &&String| entry.split_once('=').is_some_and(|(found, _)| found == name);
        let set = self.config.config.env.iter().rev().find(prefix);
        match set.and_then(|entry| entry.split_once('=')) {
            Some((_, value)) => Some(value.to_owned()),
            None => self.arguments.get(name),
        }
    }

    /// Expands one word of a step.
    pub(crate) fn word(&self, step: &Step, text: &str) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        Expander::new(self.escape, &lookup)
            .word(text)
            .map_err(|error| self.error(step, error.to_string()))
    }

    /// Expands one word of a step to any number.
    fn words(&self, step: &Step, text: &str) -> Result<Vec<String>, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        Expander::new(self.escape, &lookup)
            .words(text)
            .map_err(|error| self.error(step, error.to_string()))
    }

    /// Expands the body of a heredoc.
    pub(crate) fn body(&self, step: &Step, text: &str) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        Expander::new(self.escape, &lookup)
            .body(text)
            .map_err(|error| self.error(step, error.to_string()))
    }

    /// The error of a step.
    pub(crate) fn error(&self, step: &Step, message: impl Into<String>) -> DockerfileError {
        step.location.error(self.file, message)
    }

    /// The working directory of the next step: absolute.
    pub(crate) fn working_directory(&self) -> String {
        join_path("/", &self.config.config.working_dir)
    }

    /// Applies a step. The text is what the image's history says of it; `None` for the steps that change files,
    /// whose history their maker writes.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<Option<String>, DockerfileError> {
        Ok(Some(match &step.instruction {
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(..) => return Ok(None),
            Instruction::Arg(declared) => {
                let mut text = String::from("ARG");
                for argument in declared {
                    let default = argument
                        .default
                        .as_deref()
                        .map(|text| self.word(step, text))
                        .transpose()?;
                    text.push(' ');
                    text.push_str(&argument.name);
                    if let Some(default) = &default {
                        text.push('=');
                        text.push_str(default);
                    }
                    self.arguments.declare(&argument.name, default);
                }
                text
            }
            Instruction::Env(pairs) => {
                // All values of one ENV are expanded before any of them is set.
                let mut text = String::from("ENV");
                let mut expanded = Vec::with_capacity(pairs.len());
                for pair in pairs {
                    let name = self.word(step, &pair.name)?;
                    if name.is_empty() {
                        return Err(self.error(step, "ENV names can not be blank"));
                    }
                    expanded.push((name, self.word(step, &pair.value)?));
                }
                for (name, value) in expanded {
                    let entry = format!("{name}={value}");
                    text.push(' ');
                    text.push_str(&entry);
                    set_variable(&mut self.execution().env, &name, entry);
                    self.arguments.variable_set(&name);
                }
                text
            }
            Instruction::Label(pairs) => {
                let mut text = String::from("LABEL");
                for pair in pairs {
                    let (name, value) = (self.word(step, &pair.name)?, self.word(step, &pair.value)?);
                    text.push_str(&format!(" {name}={value}"));
                    self.execution().labels.insert(name, value);
                }
                text
            }
            Instruction::User(user) => {
                let user = self.word(step, user)?;
                let text = format!("USER {user}");
                self.execution().user = user;
                text
            }
            Instruction::Workdir(directory) => {
                let directory = join_path(&self.working_directory(), &self.word(step, directory)?);
                let text = format!("WORKDIR {directory}");
                self.execution().working_dir = directory;
                text
            }
            Instruction::Volume(volumes) => {
                let volumes = volumes
                    .iter()
                    .map(|text| self.word(step, text))
                    .collect::<Result<Vec<_>, _>>()?;
                if volumes.iter().any(|volume| volume.trim().is_empty()) {
                    return Err(self.error(step, "VOLUME specified can not be an empty string"));
                }
                let text = format!("VOLUME [{}]", volumes.join(" "));
                self.execution().volumes.extend(volumes);
                text
            }
            Instruction::Expose(ports) => {
                let mut all = Vec::new();
                for word in ports {
                    for port in self.words(step, word)? {
                        let found = exposed(&port).ok_or_else(|| {
                            self.error(
                                step,
                                format!("invalid port `{port}`: write 80, 80/udp or 8000-8010/tcp"),
                            )
                        })?;
                        all.extend(found);
                    }
                }
                let text = format!("EXPOSE [{}]", all.join(" "));
                self.execution().exposed_ports.extend(all);
                text
            }
            Instruction::StopSignal(signal) => {
                let signal = self.word(step, signal)?;
                let number = signal
                    .parse::<u32>()
                    .is_ok_and(|number| (1..=64).contains(&number));
                let name = signal
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '-');
                if !number && (!name || signal.is_empty() || signal.starts_with(|c: char| c.is_ascii_digit()))
                {
                    return Err(self.error(
                        step,
                        format!("invalid signal `{signal}`: write SIGTERM, TERM or 15"),
                    ));
                }
                let text = format!("STOPSIGNAL {signal}");
                self.execution().stop_signal = Some(signal);
                text
            }
            Instruction::Cmd(command) => {
                let argv = self.argv(command);
                let text = format!("CMD {}", json(&argv));
                self.execution().cmd = Some(argv);
                self.cmd_set = true;
                text
            }
            Instruction::Entrypoint(command) => {
                let argv = self.argv(command);
                let text = format!("ENTRYPOINT {}", json(&argv));
                let cmd_set = self.cmd_set;
                let execution = self.execution();
                execution.entrypoint = Some(argv);
                if !cmd_set {
                    execution.cmd = None;
                }
                text
            }
            Instruction::Shell(shell) => {
                self.execution().shell = Some(shell.clone());
                format!("SHELL {}", json(shell))
            }
            Instruction::Healthcheck(check) => {
                self.execution().healthcheck = Some(Healthcheck {
                    test: check.test.clone(),
                    interval: check.interval,
                    timeout: check.timeout,
                    start_period: check.start_period,
                    start_interval: check.start_interval,
                    retries: check.retries,
                    ..Healthcheck::default()
                });
                step.text.clone()
            }
            Instruction::OnBuild(trigger) => {
                self.execution().on_build.push(trigger.clone());
                format!("ONBUILD {trigger}")
            }
            Instruction::Maintainer(author) => {
                let author = author.clone();
                let text = format!("MAINTAINER {author}");
                self.config.author = Some(author);
                text
            }
        }))
    }

    fn argv(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) if text.is_empty() => Vec::new(),
            CommandLine::Shell(text) => {
                let shell = self.config.config.shell.clone().filter(|shell| !shell.is_empty());
                let mut argv = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                argv.push(text.clone());
                argv
            }
        }
    }
}

fn json(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

/// Sets a variable in place, so that the order of a base's environment stays.
fn set_variable(env: &mut Vec<String>, name: &str, entry: String) {
    let same = |found: &String| found.split_once('=').map_or(found.as_str(), |(found, _)| found) == name;
    match env.iter_mut().find(|found| same(found)) {
        Some(found) => *found = entry,
        None => env.push(entry),
    }
}

/// `80`, `80/udp`, `8000-8010`, as the configuration lists them.
fn exposed(port: &str) -> Option<Vec<String>> {
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `path` seen from `base`, cleaned; absolute when `base` is.
pub(crate) fn join_path(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
