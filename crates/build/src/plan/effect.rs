//! What an instruction does to an image's configuration.
//!
//! Everything but RUN, COPY, ADD and the directory that WORKDIR makes is decided here, from text and configuration
//! alone, so a build whose files come from the cache needs nothing else.
//!
//! A line of a few bytes may name values of megabytes, and there may be half a million of them: what a stage keeps is bounded by
//! what a configuration may have, what all expansions of a build give by [`limits::EXPANSIONS_BYTES`].

use shipway_container::{DEFAULT_PATH, Signal};
use shipway_oci::{ExecutionConfig, Healthcheck, ImageConfig, MAX_CONFIG_BYTES};

use super::arguments::Arguments;
use super::port::PortSpec;
use crate::dockerfile::{CommandLine, DockerfileError, ExpandError, Expander, Instruction, Step, limits};

/// A configuration being changed by the steps of one stage.
pub(crate) struct Effects<'a> {
    file: &'a str,
    escape: char,
    pub(crate) config: ImageConfig,
    pub(crate) arguments: Arguments<'a>,
    /// An ENTRYPOINT drops the base's CMD, but not the stage's own.
    cmd_set: bool,
    /// About the bytes of the configuration, the base's included.
    kept: usize,
}

impl<'a> Effects<'a> {
    pub(crate) fn new(file: &'a str, escape: char, config: ImageConfig, arguments: Arguments<'a>) -> Self {
        let kept = config.to_json().map_or(0, |json| json.len());
        Self {
            file,
            escape,
            config,
            arguments,
            cmd_set: false,
            kept,
        }
    }

    /// Counts what the stage begins with: many stages may begin with one large image.
    ///
    /// # Errors
    /// The message, when the stages of this build hold too much or this one begins with more than it may have.
    pub(crate) fn begin(&self) -> Result<(), String> {
        if self.config.config.env.len() > limits::VARIABLES {
            return Err(format!("the base has more than {} variables", limits::VARIABLES));
        }
        if self.config.config.on_build.len() > limits::INSTRUCTIONS {
            return Err(format!(
                "the base has more than {} ONBUILD triggers",
                limits::INSTRUCTIONS
            ));
        }
        let begins_with = self.kept + self.arguments.size();
        self.arguments
            .charge(begins_with)
            .map_err(|error| error.to_string())
    }

    /// Makes room in the configuration for what its history says of a step.
    ///
    /// # Errors
    /// When the image would have more configuration than an image may have.
    pub(crate) fn keep(&mut self, step: &Step, text: &str) -> Result<(), DockerfileError> {
        self.kept = self.with(step, text.len())?;
        Ok(())
    }

    /// Whether there is room for so many bytes, in the history and in the place that they are for.
    fn fits(&self, step: &Step, more: usize) -> Result<(), DockerfileError> {
        self.with(step, more.saturating_mul(2)).map(drop)
    }

    fn with(&self, step: &Step, more: usize) -> Result<usize, DockerfileError> {
        match self.kept.saturating_add(more) {
            within if within <= MAX_CONFIG_BYTES => Ok(within),
            _ => Err(self.error(
                step,
                format!(
                    "with this instruction the image's configuration has more than {MAX_CONFIG_BYTES} bytes"
                ),
            )),
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

    /// The names of all variables: the environment's first, in its order.
    pub(crate) fn variable_names(&self) -> Vec<String> {
        let env = self.config.config.env.iter();
        let names = env.map(|entry| entry.split('=').next().unwrap_or(entry).to_owned());
        let arguments = self.arguments.with_values().map(str::to_owned);
        names.chain(arguments).collect()
    }

    pub(crate) fn escape(&self) -> char {
        self.escape
    }

    /// Expands one word of a step.
    pub(crate) fn word(&self, step: &Step, text: &str) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        let expander = Expander::new(self.escape, &lookup);
        let word = expander.word(text);
        self.charged(step, &expander, word, String::len)
    }

    fn charged<T>(
        &self,
        step: &Step,
        expander: &Expander<'_>,
        expanded: Result<T, ExpandError>,
        length: impl Fn(&T) -> usize,
    ) -> Result<T, DockerfileError> {
        let charged = expanded.and_then(|expanded| {
            let cost = length(&expanded).saturating_add(expander.cost());
            self.arguments.charge(cost).map(|()| expanded)
        });
        charged.map_err(|error| self.error(step, error.to_string()))
    }

    /// Expands one word of a step to any number.
    pub(crate) fn words(&self, step: &Step, text: &str) -> Result<Vec<String>, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        let expander = Expander::new(self.escape, &lookup);
        let words = expander.words(text);
        self.charged(step, &expander, words, |words| {
            words.iter().map(String::len).sum()
        })
    }

    /// Expands the body of a heredoc.
    pub(crate) fn body(&self, step: &Step, text: &str) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.variable(name);
        let expander = Expander::for_heredocs(&lookup);
        let body = expander.body(text);
        self.charged(step, &expander, body, String::len)
    }

    /// What the history says of a RUN: the arguments of the stage with their values, as `|2 A=1 B=2`, then the command.
    pub(crate) fn run_history(&self, argv: &[String]) -> String {
        let arguments = self.arguments.in_order();
        let mut words = vec!["RUN".to_owned()];
        if !arguments.is_empty() {
            words.push(format!("|{}", arguments.len()));
        }
        words.extend(arguments.iter().map(|name| {
            let value = self.variable(name).unwrap_or_default();
            format!("{name}={value}")
        }));
        words.extend(argv.iter().cloned());
        words.join(" ")
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
        let text = self.applied(step)?;
        if let Some(text) = &text {
            self.kept = self.with(step, 2 * text.len())?;
        }
        Ok(text)
    }

    fn applied(&mut self, step: &Step) -> Result<Option<String>, DockerfileError> {
        Ok(Some(match &step.instruction {
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(..) => return Ok(None),
            Instruction::Arg(declared) => {
                let mut text = String::from("ARG");
                for argument in declared {
                    // The default of an argument that was given may be what cannot be expanded.
                    let used = argument
                        .default
                        .as_deref()
                        .filter(|_| !self.arguments.is_given(&argument.name));
                    let default = used.map(|text| self.word(step, text)).transpose()?;
                    self.arguments.declare(&argument.name, default);
                    text.push(' ');
                    text.push_str(&argument.name);
                    if let Some(value) = self.arguments.get(&argument.name) {
                        text.push('=');
                        text.push_str(&value);
                    }
                    self.fits(step, text.len())?;
                    self.countable(step, self.arguments.len())?;
                }
                text
            }
            Instruction::Env(pairs) => {
                // All values of one ENV are expanded before any of them is set.
                let (mut text, mut length) = (String::from("ENV"), 0);
                let mut expanded = Vec::with_capacity(pairs.len());
                for pair in pairs {
                    let name = self.word(step, &pair.name)?;
                    if name.is_empty() {
                        return Err(self.error(step, "ENV names can not be blank"));
                    }
                    let value = self.word(step, &pair.value)?;
                    length += name.len() + value.len();
                    self.fits(step, length)?;
                    expanded.push((name, value));
                }
                for (name, value) in expanded {
                    let entry = format!("{name}={value}");
                    text.push(' ');
                    text.push_str(&entry);
                    set_variable(&mut self.execution().env, &name, entry);
                    self.countable(step, self.config.config.env.len())?;
                    self.arguments.variable_set(&name);
                }
                text
            }
            Instruction::Label(pairs) => {
                let mut text = String::from("LABEL");
                for pair in pairs {
                    let (name, value) = (self.word(step, &pair.name)?, self.word(step, &pair.value)?);
                    text.push_str(&format!(" {name}={value}"));
                    self.fits(step, text.len())?;
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
                let mut length = 0;
                let volume = |text: &String| {
                    let volume = self.word(step, text)?;
                    length += volume.len();
                    self.fits(step, length).map(|()| volume)
                };
                let volumes = volumes.iter().map(volume).collect::<Result<Vec<_>, _>>()?;
                if volumes.iter().any(|volume| volume.trim().is_empty()) {
                    return Err(self.error(step, "VOLUME specified can not be an empty string"));
                }
                let text = format!("VOLUME [{}]", volumes.join(" "));
                self.execution().volumes.extend(volumes);
                text
            }
            Instruction::Expose(ports) => {
                let (mut all, mut length) = (Vec::new(), 0);
                for word in ports {
                    for port in self.words(step, word)? {
                        let spec = PortSpec::parse(&port).map_err(|message| self.error(step, message))?;
                        all.extend(spec.each().inspect(|port| length += port.len()));
                        self.fits(step, length)?;
                    }
                }
                let text = format!("EXPOSE [{}]", all.join(" "));
                self.execution().exposed_ports.extend(all);
                text
            }
            Instruction::StopSignal(signal) => {
                let signal = self.word(step, signal)?;
                signal
                    .parse::<Signal>()
                    .map_err(|error| self.error(step, error.to_string()))?;
                let text = format!("STOPSIGNAL {signal}");
                self.execution().stop_signal = Some(signal);
                text
            }
            Instruction::Cmd(command) => {
                let argv = self.argv(command);
                let text = format!("CMD {}", json(&argv));
                self.execution().cmd = Some(argv).filter(|argv| !argv.is_empty());
                self.cmd_set = true;
                text
            }
            Instruction::Entrypoint(command) => {
                let argv = self.argv(command);
                let text = format!("ENTRYPOINT {}", json(&argv));
                let cmd_set = self.cmd_set;
                let execution = self.execution();
                execution.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
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

    /// Looking for one of them goes through all.
    fn countable(&self, step: &Step, count: usize) -> Result<(), DockerfileError> {
        match count > limits::VARIABLES {
            true => Err(self.error(
                step,
                format!("more than {} variables in one stage", limits::VARIABLES),
            )),
            false => Ok(()),
        }
    }

    fn argv(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(argv) => argv.clone(),
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

/// Every image has a `PATH`, so that `ENV PATH=/own:$PATH` adds to the usual one and does not replace it.
pub(crate) fn give_path(env: &mut Vec<String>) {
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
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
mod bounds;
#[cfg(test)]
mod tests;
