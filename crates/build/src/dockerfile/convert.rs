//! Syntax to typed instruction: one function per family, every refusal with its place.

use super::duration::parse_duration;
use super::error::{DockerfileError, Location, SourceText};
use super::flags::Flags;
use super::heredoc::Heredoc;
use super::instruction::{
    AddOptions, ArgDeclaration, Assignment, CommandLine, Healthcheck, Instruction, RunCommand, Security,
    Separator, Source, Step, StepNetwork, Transfer,
};
use super::mount::MountText;
use super::syntax::{Arguments, Keyword, Node};

/// Gives a node of a stage its type. FROM is the caller's.
pub(crate) fn step(source: &SourceText<'_>, node: &Node) -> Result<Step, DockerfileError> {
    let converting = Converting { source, node };
    let mut flags = Flags::of(source, node);
    let instruction = converting.instruction(&mut flags)?;
    flags.done()?;
    Ok(Step {
        instruction,
        text: node.text.clone(),
        written: node.written.clone(),
        location: location(source, node),
    })
}

/// Where a node begins and ends.
pub(crate) fn location(source: &SourceText<'_>, node: &Node) -> Location {
    Location {
        end_line: node.end_line,
        ..source.location(node.position)
    }
}

struct Converting<'a> {
    source: &'a SourceText<'a>,
    node: &'a Node,
}

impl Converting<'_> {
    fn error(&self, message: impl Into<String>) -> DockerfileError {
        self.source.error(self.node.arguments_at, message)
    }

    fn name(&self) -> &'static str {
        self.node.keyword.name()
    }

    fn instruction(&self, flags: &mut Flags<'_>) -> Result<Instruction, DockerfileError> {
        Ok(match self.node.keyword {
            Keyword::Add => {
                let options = AddOptions {
                    checksum: flags.value("checksum")?,
                    keep_git_dir: flags.switch("keep-git-dir")?,
                    unpack: flags.switch("unpack")?,
                };
                Instruction::Add(self.transfer(flags, false)?, options)
            }
            Keyword::Copy => Instruction::Copy(self.transfer(flags, true)?),
            Keyword::Arg => Instruction::Arg(self.arguments()?),
            Keyword::Cmd => Instruction::Cmd(self.command_line()?),
            Keyword::Entrypoint => Instruction::Entrypoint(self.command_line()?),
            Keyword::Env => Instruction::Env(self.assignments()?),
            Keyword::Label => Instruction::Label(self.assignments()?),
            Keyword::Expose => {
                let mut ports = self.words(1)?;
                ports.sort();
                Instruction::Expose(ports)
            }
            Keyword::Volume => Instruction::Volume(self.volumes()?),
            Keyword::Healthcheck => Instruction::Healthcheck(self.healthcheck(flags)?),
            Keyword::Maintainer => Instruction::Maintainer(self.text()?),
            Keyword::StopSignal => Instruction::StopSignal(self.text()?),
            Keyword::User => Instruction::User(self.text()?),
            Keyword::Workdir => Instruction::Workdir(self.text()?),
            Keyword::OnBuild => self.trigger()?,
            Keyword::Run => Instruction::Run(self.run(flags)?),
            Keyword::Shell => match &self.node.arguments {
                Arguments::Json(words) if !words.is_empty() => Instruction::Shell(words.clone()),
                _ => return Err(self.error("SHELL requires the JSON form: SHELL [\"/bin/sh\", \"-c\"]")),
            },
            Keyword::From => return Err(self.error("FROM isn't allowed here")),
        })
    }

    fn text(&self) -> Result<String, DockerfileError> {
        match &self.node.arguments {
            Arguments::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.error(format!("{} requires exactly one argument", self.name()))),
        }
    }

    fn words(&self, least: usize) -> Result<Vec<String>, DockerfileError> {
        match &self.node.arguments {
            Arguments::Words(words) | Arguments::Json(words) if words.len() >= least => Ok(words.clone()),
            _ if least == 1 => Err(self.error(format!("{} requires at least one argument", self.name()))),
            _ => Err(self.error(format!("{} requires at least {least} arguments", self.name()))),
        }
    }

    fn volumes(&self) -> Result<Vec<String>, DockerfileError> {
        let volumes: Vec<String> = self
            .words(1)?
            .iter()
            .map(|volume| volume.trim().to_owned())
            .collect();
        if volumes.iter().any(String::is_empty) {
            return Err(self.error("VOLUME specified can not be an empty string"));
        }
        Ok(volumes)
    }

    fn assignments(&self) -> Result<Vec<Assignment>, DockerfileError> {
        let Arguments::Pairs(pairs) = &self.node.arguments else {
            return Ok(Vec::new());
        };
        if pairs.is_empty() {
            return Err(self.error(format!(
                "{} requires at least one argument: name=value",
                self.name()
            )));
        }
        if pairs.iter().any(|pair| pair.name.is_empty()) {
            return Err(self.error(format!("{} names can not be blank", self.name())));
        }
        Ok(pairs
            .iter()
            .map(|pair| Assignment {
                name: pair.name.clone(),
                value: pair.value.clone(),
                separator: if pair.equals {
                    Separator::Equals
                } else {
                    Separator::Space
                },
            })
            .collect())
    }

    fn arguments(&self) -> Result<Vec<ArgDeclaration>, DockerfileError> {
        self.words(1)?
            .into_iter()
            .map(|word| {
                let (name, default) = match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.clone(), None),
                };
                if name.is_empty() {
                    return Err(self.error(format!("ARG names can not be blank: `{word}`")));
                }
                Ok(ArgDeclaration { name, default })
            })
            .collect()
    }

    fn command_line(&self) -> Result<CommandLine, DockerfileError> {
        match &self.node.arguments {
            Arguments::Json(words) => Ok(CommandLine::Exec(words.clone())),
            // Without a word it is the shell's empty command, as it is to BuildKit.
            Arguments::Text(text) => Ok(CommandLine::Shell(text.clone())),
            _ => Err(self.error(format!("{} requires at least one argument", self.name()))),
        }
    }

    fn trigger(&self) -> Result<Instruction, DockerfileError> {
        let Arguments::Nested(inner) = &self.node.arguments else {
            return Err(self.error("ONBUILD requires an instruction"));
        };
        // Checked now, so that the image's author sees the mistake and not its users.
        step(self.source, &inner.0)?;
        let mut text = inner.0.text.clone();
        for heredoc in &inner.0.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        Ok(Instruction::OnBuild(text))
    }

    fn run(&self, flags: &mut Flags<'_>) -> Result<RunCommand, DockerfileError> {
        let mounts = flags
            .repeated("mount")?
            .iter()
            .map(|text| MountText::parse(text).map_err(|message| self.error(message)))
            .collect::<Result<_, _>>()?;
        let network = match flags.value("network")?.as_deref() {
            None | Some("default") => StepNetwork::Default,
            Some("none") => StepNetwork::None,
            Some("host") => StepNetwork::Host,
            Some(other) => {
                return Err(self.error(format!("--network={other}: it must be default, none or host")));
            }
        };
        let security = match flags.value("security")?.as_deref() {
            None | Some("sandbox") => Security::Sandbox,
            Some("insecure") => Security::Insecure,
            Some(other) => {
                return Err(self.error(format!("--security={other}: it must be sandbox or insecure")));
            }
        };
        let command = self.command_line()?;
        if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
            return Err(self.error("RUN requires at least one argument"));
        }
        Ok(RunCommand {
            command,
            heredocs: self.node.heredocs.clone(),
            mounts,
            network,
            security,
        })
    }

    fn transfer(&self, flags: &mut Flags<'_>, copy: bool) -> Result<Transfer, DockerfileError> {
        let from = if copy { flags.value("from")? } else { None };
        let chown = flags.value("chown")?;
        let chmod = flags.value("chmod")?;
        let exclude = flags.repeated("exclude")?;
        let parents = if copy {
            flags.switch("parents")?.unwrap_or(false)
        } else {
            false
        };
        let link = flags.switch("link")?.unwrap_or(false);
        let mut words = self.words(2)?;
        let destination = words.pop().unwrap_or_default();
        if Heredoc::parse(&destination).is_some() && !self.node.heredocs.is_empty() {
            return Err(self.error(format!("{} needs a destination behind its heredocs", self.name())));
        }
        let mut heredocs = self.node.heredocs.iter();
        let mut sources: Vec<Source> = words
            .into_iter()
            .map(|word| match Heredoc::parse(&word).and_then(|_| heredocs.next()) {
                Some(heredoc) => Source::Inline(heredoc.clone()),
                None => Source::Path(word),
            })
            .collect();
        // The order in which BuildKit copies: of several files for one name the last one stays.
        sources.sort_by_key(|source| matches!(source, Source::Inline(_)));
        Ok(Transfer {
            from,
            sources,
            destination,
            chown,
            chmod,
            exclude,
            parents,
            link,
        })
    }

    fn healthcheck(&self, flags: &mut Flags<'_>) -> Result<Healthcheck, DockerfileError> {
        let Arguments::Health { kind, command } = &self.node.arguments else {
            return Err(self.error("HEALTHCHECK requires CMD or NONE"));
        };
        let mut duration = |name: &'static str| -> Result<Option<i64>, DockerfileError> {
            let Some(text) = flags.value(name)? else {
                return Ok(None);
            };
            match parse_duration(&text) {
                // Zero is what it is without.
                Some(0) => Ok(None),
                Some(nanoseconds) if nanoseconds >= 1_000_000 => Ok(Some(nanoseconds)),
                _ => Err(self.error(format!(
                    "--{name}={text} is not a duration of 1ms or more, such as 30s"
                ))),
            }
        };
        let mut check = Healthcheck {
            interval: duration("interval")?,
            timeout: duration("timeout")?,
            start_period: duration("start-period")?,
            start_interval: duration("start-interval")?,
            ..Healthcheck::default()
        };
        if let Some(text) = flags.value("retries")? {
            let retries = text.parse::<i32>().ok().filter(|&retries| retries >= 0);
            let retries = retries.ok_or_else(|| self.error(format!("--retries={text} is not a number")))?;
            check.retries = Some(i64::from(retries)).filter(|&retries| retries > 0);
        }
        check.test = match (kind.to_ascii_uppercase().as_str(), command.as_ref()) {
            ("NONE", Arguments::Text(text)) if text.is_empty() => {
                return Ok(Healthcheck {
                    test: vec!["NONE".to_owned()],
                    ..Healthcheck::default()
                });
            }
            ("NONE", _) => return Err(self.error("HEALTHCHECK NONE takes no arguments")),
            ("CMD", Arguments::Json(words)) if !words.is_empty() => std::iter::once("CMD".to_owned())
                .chain(words.iter().cloned())
                .collect(),
            ("CMD", Arguments::Text(text)) if !text.is_empty() => vec!["CMD-SHELL".to_owned(), text.clone()],
            ("CMD", _) => return Err(self.error("missing command after HEALTHCHECK CMD")),
            (other, _) => return Err(self.error(format!("unknown type `{other}` in HEALTHCHECK (try CMD)"))),
        };
        Ok(check)
    }
}
