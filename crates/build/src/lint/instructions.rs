//! Single instructions: forms that do something else than they seem to, and those of which only the last counts.

use super::findings::Here;
use super::ignored;
use super::ports;
use super::rule::Rule;
use crate::dockerfile::{
    Assignment, CommandLine, DockerfileError, Instruction, Location, Separator, Source, Step, Transfer,
};
use crate::ignore::IgnoreList;
use crate::plan::Effects;

/// Words of a name that make it one of a secret.
const SECRETS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Words that make it one of something else again.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// What came before in the stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    cmd: Option<Location>,
    entrypoint: Option<Location>,
    healthcheck: Option<Location>,
    /// Whether a WORKDIR stands in this stage or in one that it is based on.
    pub(super) workdir: bool,
}

impl Seen {
    /// At the start of a stage, given what its base has.
    pub(super) fn after_base(workdir: bool) -> Self {
        Self {
            workdir,
            ..Self::default()
        }
    }
}

/// One step, before it takes effect.
///
/// # Errors
/// When a word cannot be expanded.
pub(super) fn check(
    step: &Step,
    effects: &Effects<'_>,
    ignore: &IgnoreList,
    seen: &mut Seen,
    here: &mut Here<'_, '_>,
) -> Result<(), DockerfileError> {
    match &step.instruction {
        Instruction::Cmd(command) => {
            once(step, &mut seen.cmd, here);
            json_form(step, command, effects, here);
        }
        Instruction::Entrypoint(command) => {
            once(step, &mut seen.entrypoint, here);
            json_form(step, command, effects, here);
        }
        Instruction::Healthcheck(_) => once(step, &mut seen.healthcheck, here),
        Instruction::Workdir(directory) => {
            let directory = effects.word(step, directory)?;
            if !seen.workdir && !directory.starts_with('/') {
                let detail =
                    format!("`{directory}` is relative to the base image's WORKDIR, which may change");
                here.add(Rule::WorkdirRelativePath, &step.location, detail);
            }
            seen.workdir = true;
        }
        Instruction::Env(pairs) => {
            separators(step, pairs, here);
            for pair in pairs {
                secret(step, "ENV", &effects.word(step, &pair.name)?, here);
            }
        }
        Instruction::Label(pairs) => separators(step, pairs, here),
        Instruction::Arg(declared) => {
            for argument in declared {
                secret(step, "ARG", &argument.name, here);
            }
        }
        Instruction::Expose(words) => {
            for word in words {
                for port in effects.words(step, word)? {
                    ports::check(step, &port, here);
                }
            }
        }
        Instruction::Copy(transfer) if transfer.from.is_none() => {
            sources(step, transfer, effects, ignore, here)?;
        }
        Instruction::Add(transfer, _) => sources(step, transfer, effects, ignore, here)?,
        _ => {}
    }
    Ok(())
}

/// The earlier one is the one that does nothing.
fn once(step: &Step, before: &mut Option<Location>, here: &mut Here<'_, '_>) {
    if let Some(before) = before.replace(step.location.clone()) {
        let keyword = &step.written.keyword;
        let detail = format!("only the last {keyword} of a stage counts, and this is not the last");
        here.add(Rule::MultipleInstructionsDisallowed, &before, detail);
    }
}

fn json_form(step: &Step, command: &CommandLine, effects: &Effects<'_>, here: &mut Here<'_, '_>) {
    let own_shell = effects
        .config
        .config
        .shell
        .as_ref()
        .is_some_and(|shell| !shell.is_empty());
    if matches!(command, CommandLine::Shell(_)) && !own_shell {
        let keyword = &step.written.keyword;
        let detail = format!("{keyword} should be a JSON array: a shell in between does not pass signals on");
        here.add(Rule::JSONArgsRecommended, &step.location, detail);
    }
}

fn separators(step: &Step, pairs: &[Assignment], here: &mut Here<'_, '_>) {
    if pairs.iter().any(|pair| pair.separator == Separator::Space) {
        let keyword = &step.written.keyword;
        let detail = format!("write `{keyword} NAME=VALUE` instead of the old `{keyword} NAME VALUE`");
        here.add(Rule::LegacyKeyValueFormat, &step.location, detail);
    }
}

fn secret(step: &Step, keyword: &str, name: &str, here: &mut Here<'_, '_>) {
    let has_one_of = |words: &[&str]| {
        name.split('_')
            .any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
    };
    if has_one_of(&SECRETS) && !has_one_of(&HARMLESS) {
        let detail = format!("{keyword} keeps `{name}` readable in the image: mount secrets instead");
        here.add(Rule::SecretsUsedInArgOrEnv, &step.location, detail);
    }
}

fn sources(
    step: &Step,
    transfer: &Transfer,
    effects: &Effects<'_>,
    ignore: &IgnoreList,
    here: &mut Here<'_, '_>,
) -> Result<(), DockerfileError> {
    for source in &transfer.sources {
        if let Source::Path(path) = source {
            ignored::check(step, &effects.word(step, path)?, ignore, here);
        }
    }
    Ok(())
}
