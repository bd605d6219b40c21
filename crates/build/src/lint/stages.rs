//! Each stage from its base through its instructions, as the build would go, but for what RUN and COPY do to files.

use std::collections::BTreeMap;

use shipway_oci::{ImageConfig, Platform};

use super::findings::Findings;
use super::instructions::{self, Seen};
use super::variables;
use super::{Facts, base};
use crate::dockerfile::{
    ArgDeclaration, Dockerfile, DockerfileError, Instruction, Stage, Step, parse_trigger,
};
use crate::plan::{
    self, Arguments, Declarations, Effects, GlobalArguments, Names, Plan, PlannedStage, Wanted, give_path,
};

/// What a stage leaves to those that are based on it.
#[derive(Clone)]
struct End {
    config: ImageConfig,
    arguments: Declarations,
    base: variables::Base,
    workdir: bool,
}

/// Every stage that is wanted.
///
/// # Errors
/// What would keep the file from being built, as far as it can be told without building.
pub(super) fn check(
    file: &Dockerfile,
    facts: &Facts<'_>,
    findings: &mut Findings<'_>,
) -> Result<(), DockerfileError> {
    base::check_defaults(file, facts, findings);
    let global = GlobalArguments::new(file, facts.arguments, facts.platform, facts.target)?;
    for stage in &file.stages {
        base::check_arguments(file, stage, &global, findings);
    }
    let wanted = match facts.target {
        Some(name) => Wanted::Named(name),
        None if facts.unneeded_stages => Wanted::Every,
        None => Wanted::Last,
    };
    let names = Names {
        file,
        arguments: &global,
        contexts: facts.contexts,
        platform: facts.platform,
    };
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    for planned in Plan::new(names, &wanted)?.stages {
        let stage = &file.stages[planned.index];
        let start = start(file, stage, &planned, facts, &ends, findings)?;
        let end = match planned.base {
            plan::Base::Instead(_) => start,
            _ => Walk { file, facts, stage }.through(&global, start, findings)?,
        };
        ends.insert(planned.index, end);
    }
    Ok(())
}

fn start(
    file: &Dockerfile,
    stage: &Stage,
    planned: &PlannedStage,
    facts: &Facts<'_>,
    ends: &BTreeMap<usize, End>,
    findings: &mut Findings<'_>,
) -> Result<End, DockerfileError> {
    let platform = match &planned.platform {
        Some(text) => text
            .parse::<Platform>()
            .map_err(|error| stage.location.error(&file.name, error.to_string()))?,
        None => facts.platform.clone(),
    };
    let nothing = |base| End {
        config: ImageConfig::new(&platform),
        arguments: Declarations::default(),
        base,
        workdir: false,
    };
    Ok(match &planned.base {
        plan::Base::Scratch => nothing(variables::Base::Known),
        // Stages come after those that they need.
        plan::Base::Stage(index) => ends
            .get(index)
            .cloned()
            .unwrap_or_else(|| nothing(variables::Base::Unknown)),
        plan::Base::Image(_) | plan::Base::Context(_) | plan::Base::Instead(_) => {
            match facts.bases.get(&planned.index) {
                None => nothing(variables::Base::Unknown),
                Some(config) => {
                    if let plan::Base::Image(name) = &planned.base {
                        base::check_image(stage, &platform, name, config, findings);
                    }
                    End {
                        config: config.clone(),
                        ..nothing(variables::Base::Known)
                    }
                }
            }
        }
    })
}

struct Walk<'a> {
    file: &'a Dockerfile,
    facts: &'a Facts<'a>,
    stage: &'a Stage,
}

impl Walk<'_> {
    fn through(
        &self,
        global: &GlobalArguments,
        start: End,
        findings: &mut Findings<'_>,
    ) -> Result<End, DockerfileError> {
        let arguments = Arguments::new(global, start.arguments);
        let mut effects = Effects::new(&self.file.name, self.file.escape, start.config, arguments);
        give_path(&mut effects.config.config.env);
        let begun = effects.begin();
        begun.map_err(|message| self.stage.location.error(&self.file.name, message))?;
        let mut seen = Seen::after_base(start.workdir);
        for text in std::mem::take(&mut effects.config.config.on_build) {
            let name = format!("{} (ONBUILD trigger of the base)", self.file.name);
            let mut step = parse_trigger(&text, &name)?;
            step.location.clone_from(&self.stage.location);
            step.written.comments.clone_from(&self.stage.written.comments);
            self.step(&step, &mut effects, start.base, &mut seen, findings)?;
        }
        for step in &self.stage.steps {
            self.step(step, &mut effects, start.base, &mut seen, findings)?;
        }
        Ok(End {
            arguments: effects.arguments.declarations().clone(),
            config: effects.config,
            base: start.base,
            workdir: seen.workdir,
        })
    }

    fn step(
        &self,
        step: &Step,
        effects: &mut Effects<'_>,
        base: variables::Base,
        seen: &mut Seen,
        findings: &mut Findings<'_>,
    ) -> Result<(), DockerfileError> {
        if let Instruction::Arg(declared) = &step.instruction
            && declared.len() > 1
        {
            // Each sees those before it.
            for argument in declared {
                self.step(&alone(step, argument), effects, base, seen, findings)?;
            }
            return Ok(());
        }
        let mut here = findings.beside(&step.written.comments);
        if !self.is_given(step) {
            variables::check(step, effects, base, &mut here)?;
        }
        instructions::check(step, effects, self.facts.ignore, seen, &mut here)?;
        effects.apply(step).map(|_| ())
    }

    /// Whether it is an ARG whose default is not looked at.
    fn is_given(&self, step: &Step) -> bool {
        let Instruction::Arg(declared) = &step.instruction else {
            return false;
        };
        let given = |name: &str| self.facts.arguments.get(name).is_some_and(Option::is_some);
        declared.iter().all(|argument| given(&argument.name))
    }
}

/// Without the instruction's text: it has all of them, and no rule for ARG looks at it.
fn alone(step: &Step, argument: &ArgDeclaration) -> Step {
    Step {
        instruction: Instruction::Arg(vec![argument.clone()]),
        text: String::new(),
        written: step.written.clone(),
        location: step.location.clone(),
    }
}
