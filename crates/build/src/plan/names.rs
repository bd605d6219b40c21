//! What a name in FROM, `--from=` and `from=` stands for: a stage, a named context, or an image.
//!
//! Apart from [`super::stages`] because a stage asks again while it runs, when the triggers of its base are known.

use shipway_oci::Platform;

use super::arguments::GlobalArguments;
use crate::dockerfile::{Dockerfile, Expander, Instruction, Stage, Step};
use crate::named::{ContextName, NamedContext, NamedContexts};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A stage, by its index in the file.
    Stage(usize),
    /// What the caller gave this name.
    Context(ContextName),
    /// An image, as written.
    Image(String),
}

/// The names of one build.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) file: &'a Dockerfile,
    pub(crate) arguments: &'a GlobalArguments,
    pub(crate) contexts: &'a NamedContexts,
    /// Of stages that say nothing else.
    pub(crate) platform: &'a Platform,
}

impl<'a> Names<'a> {
    /// The stage of this name; of several the last.
    pub(crate) fn stage(&self, name: &str) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let mut stages = self.file.stages.iter();
        stages.rposition(|stage| stage.name.as_deref() == Some(&lower))
    }

    /// What the base of a stage stands for, variables expanded: of stages with one name, the one before it.
    pub(crate) fn base(&self, index: usize, name: &str) -> Result<Meaning, String> {
        let lower = name.to_ascii_lowercase();
        let earlier = self.file.stages[..index]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&lower));
        match earlier {
            Some(earlier) => self.of_stage(earlier),
            None => self.of_text(name, &self.platform_of(&self.file.stages[index])),
        }
    }

    /// What `--from=` or `from=` in a stage names: a stage, or by its number an earlier one; what is none is an image.
    pub(crate) fn source(&self, current: usize, name: &str) -> Result<Meaning, String> {
        if let Some(index) = self.stage(name) {
            return self.of_stage(index);
        }
        match name.parse::<usize>() {
            Ok(index) if index < current => self.of_stage(index),
            Ok(index) => Err(format!(
                "invalid from value {index}: only stages before this one have been built"
            )),
            Err(_) => self.of_text(name, &self.platform_of(&self.file.stages[current])),
        }
    }

    /// A stage, or what the caller put in its place.
    pub(crate) fn of_stage(&self, index: usize) -> Result<Meaning, String> {
        let stage = &self.file.stages[index];
        let given = match &stage.name {
            Some(name) => self.given(name, &self.platform_of(stage))?,
            None => None,
        };
        Ok(given.unwrap_or(Meaning::Stage(index)))
    }

    fn of_text(&self, name: &str, platform: &Platform) -> Result<Meaning, String> {
        let given = self.given(name, platform)?;
        Ok(given.unwrap_or_else(|| Meaning::Image(name.to_owned())))
    }

    fn given(&self, name: &str, platform: &Platform) -> Result<Option<Meaning>, String> {
        let written = ContextName::written(name);
        let Some((context, value)) = written.and_then(|written| written.find(platform, self.contexts)) else {
            return Ok(None);
        };
        match value {
            NamedContext::Stage(stage) => match self.stage(stage) {
                Some(index) => Ok(Some(Meaning::Stage(index))),
                None => Err(format!(
                    "the named context `{context}` is `target:{stage}`, and no stage has that name"
                )),
            },
            _ => Ok(Some(Meaning::Context(context.clone()))),
        }
    }

    /// The platform that a stage is built for; a text that is none fails when the stage begins.
    fn platform_of(&self, stage: &Stage) -> Platform {
        let lookup = |name: &str| self.arguments.lookup(name);
        let written = stage.platform.as_deref();
        let expanded = written.and_then(|text| Expander::new(self.file.escape, &lookup).word(text).ok());
        expanded
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| self.platform.clone())
    }
}

/// The names from which a step takes files.
pub(crate) fn sources(step: &Step) -> Vec<&str> {
    match &step.instruction {
        Instruction::Copy(transfer) => transfer.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mount.from.as_deref())
            .collect(),
        _ => Vec::new(),
    }
}
