//! What a Dockerfile offers to whoever builds it: its targets, and the parameters that one of them takes. `docker build
//! --call=targets` and `--call=outline` ask for them.
//!
//! Pure. What base images say of themselves is given; where one is not known, variables of it are empty. The rules of what is listed
//! are BuildKit's: arguments that a FROM line or a stage uses, with the values that this build gives them, each once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use shipway_oci::{ImageConfig, Platform};

use crate::dockerfile::{Dockerfile, DockerfileError, Expander, Instruction, MountKind, RunCommand, Step};
use crate::lint::Lines;
use crate::plan::{
    Arguments, Base, Declarations, Effects, GlobalArguments, Names, Plan, PlannedStage, give_path,
};

/// A stage that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, in small letters.
    pub name: Option<String>,
    /// Whether it is built when nothing else is asked for.
    pub is_default: bool,
    /// What the comment above it says, if that begins with its name.
    pub description: Option<String>,
    /// What it is based on, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Where its FROM stands.
    pub lines: Lines,
}

/// What one target takes. Everything is in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name, in small letters.
    pub name: Option<String>,
    /// What the comment above it says, if that begins with its name.
    pub description: Option<String>,
    /// Build arguments that have a say.
    pub arguments: Vec<OutlinedArgument>,
    /// Secrets that its steps mount.
    pub secrets: Vec<OutlinedMount>,
    /// Agents that its steps mount.
    pub ssh: Vec<OutlinedMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinedArgument {
    /// Its name.
    pub name: String,
    /// What it is in this build; empty without a value.
    pub value: String,
    /// What the comment above its ARG says, if that begins with its name.
    pub description: Option<String>,
    /// Where its ARG stands.
    pub lines: Lines,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinedMount {
    /// By which it is given.
    pub id: String,
    /// Whether the step fails without it.
    pub required: bool,
    /// Where the first RUN that mounts it stands.
    pub lines: Lines,
}

/// The targets of a file, in its order.
pub(crate) fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, &crate::dockerfile::Stage)| Target {
        name: stage.name.clone(),
        is_default: index == last,
        description: described(&stage.written.comments, stage.name.as_deref()),
        base: stage.base.clone(),
        platform: stage.platform.clone(),
        lines: Lines::from(&stage.location),
    };
    file.stages.iter().enumerate().map(target).collect()
}

/// What a target takes. `bases` are the configurations of base images, by the stages that begin with them.
///
/// # Errors
/// What would keep the file from being built, as far as it can be told without building.
pub(crate) fn outline(
    names: Names<'_>,
    plan: &Plan,
    bases: &BTreeMap<usize, ImageConfig>,
) -> Result<Outline, DockerfileError> {
    let global = of_the_file(names);
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    for planned in &plan.stages {
        let end = walk(names, planned, bases, &ends)?;
        ends.insert(planned.index, end);
    }
    let target = &names.file.stages[plan.target];
    let mut all = Outline {
        name: target.name.clone(),
        description: described(&target.written.comments, target.name.as_deref()),
        ..Outline::default()
    };
    collect(
        plan,
        plan.target,
        (&ends, &global),
        &mut BTreeSet::new(),
        &mut all,
    );
    all.arguments
        .sort_by(|a, b| (a.lines.first, &a.name).cmp(&(b.lines.first, &b.name)));
    all.secrets.sort_by_key(|secret| secret.lines.first);
    all.ssh.sort_by_key(|agent| agent.lines.first);
    Ok(all)
}

/// What is known at the end of a stage.
#[derive(Clone)]
struct End {
    config: ImageConfig,
    declarations: Declarations,
    /// By name, those of the stage's base included.
    known: BTreeMap<String, Known>,
    used: BTreeSet<String>,
    secrets: Vec<OutlinedMount>,
    ssh: Vec<OutlinedMount>,
}

/// An argument, with the others that its default names.
#[derive(Clone)]
struct Known {
    argument: OutlinedArgument,
    needs: BTreeSet<String>,
}

/// The arguments in front of the first FROM.
fn of_the_file(names: Names<'_>) -> BTreeMap<String, Known> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for line in &names.file.arguments {
        for declared in &line.declared {
            let mut needs = matched(names, declared.default.as_deref());
            if needs.remove(&declared.name)
                && let Some(before) = known.get(&declared.name)
            {
                needs.extend(before.needs.iter().cloned());
            }
            let argument = OutlinedArgument {
                name: declared.name.clone(),
                value: names.arguments.lookup(&declared.name).unwrap_or_default(),
                description: described(&line.written.comments, Some(&declared.name)),
                lines: Lines::from(&line.location),
            };
            known.insert(declared.name.clone(), Known { argument, needs });
        }
    }
    known
}

/// The names of the arguments of the file that a text of it uses.
fn matched(names: Names<'_>, text: Option<&str>) -> BTreeSet<String> {
    let found = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        let value = names.arguments.lookup(name)?;
        found.borrow_mut().insert(name.to_owned());
        Some(value)
    };
    // What cannot be expanded is the plan's to tell.
    let _ = text.map(|text| Expander::new(names.file.escape, &lookup).word(text));
    found.into_inner()
}

fn walk(
    names: Names<'_>,
    planned: &PlannedStage,
    bases: &BTreeMap<usize, ImageConfig>,
    ends: &BTreeMap<usize, End>,
) -> Result<End, DockerfileError> {
    let stage = &names.file.stages[planned.index];
    let platform = planned.platform.as_deref().and_then(|text| text.parse().ok());
    let platform: Platform = platform.unwrap_or_else(|| names.platform.clone());
    let fresh = || End {
        config: bases
            .get(&planned.index)
            .cloned()
            .unwrap_or_else(|| ImageConfig::new(&platform)),
        declarations: Declarations::default(),
        known: BTreeMap::new(),
        used: BTreeSet::new(),
        secrets: Vec::new(),
        ssh: Vec::new(),
    };
    let mut end = match planned.base {
        Base::Stage(index) => ends.get(&index).cloned().unwrap_or_else(fresh),
        _ => fresh(),
    };
    if matches!(planned.base, Base::Instead(_)) {
        return Ok(end);
    }
    end.used.extend(matched(names, Some(&stage.base)));
    end.used.extend(matched(names, stage.platform.as_deref()));
    let config = std::mem::replace(&mut end.config, ImageConfig::new(&platform));
    let arguments = Arguments::new(names.arguments, end.declarations.clone());
    let mut effects = Effects::new(&names.file.name, names.file.escape, config, arguments);
    let begun = effects.begin();
    begun.map_err(|message| stage.location.error(&names.file.name, message))?;
    give_path(&mut effects.config.config.env);
    for step in &stage.steps {
        effects.apply(step)?;
        match &step.instruction {
            Instruction::Arg(_) => end.declare(step, &effects, names.arguments),
            Instruction::Run(run) => end.mount(step, run, &effects)?,
            _ => {}
        }
    }
    end.declarations = effects.arguments.declarations().clone();
    end.config = effects.config;
    Ok(end)
}

impl End {
    fn declare(&mut self, step: &Step, effects: &Effects<'_>, global: &GlobalArguments) {
        let Instruction::Arg(declared) = &step.instruction else {
            return;
        };
        for argument in declared {
            let name = &argument.name;
            self.used.insert(name.clone());
            // One that only repeats an argument of the file is told where the file has it.
            let repeats = argument.default.is_none() && !effects.arguments.is_given(name);
            if repeats && global.is_declared(name) {
                continue;
            }
            let known = Known {
                argument: OutlinedArgument {
                    name: name.clone(),
                    value: effects.arguments.get(name).unwrap_or_default(),
                    description: described(&step.written.comments, Some(name)),
                    lines: Lines::from(&step.location),
                },
                needs: BTreeSet::new(),
            };
            self.known.insert(name.clone(), known);
        }
    }

    fn mount(&mut self, step: &Step, run: &RunCommand, effects: &Effects<'_>) -> Result<(), DockerfileError> {
        for mount in &run.mounts {
            let expand = |text: &str| effects.word(step, text).map_err(|error| error.message);
            let mount = mount
                .expanded(expand)
                .map_err(|message| effects.error(step, message))?;
            let (all, id) = match mount.kind {
                MountKind::Secret => (&mut self.secrets, mount.secret_id()),
                MountKind::Ssh => (&mut self.ssh, mount.ssh_id()),
                MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => continue,
            };
            if !all.iter().any(|known| known.id == id) {
                all.push(OutlinedMount {
                    id: id.to_owned(),
                    required: mount.required,
                    lines: Lines::from(&step.location),
                });
            }
        }
        Ok(())
    }

    /// The arguments that have a say, with those that their defaults name.
    fn arguments<'a>(&'a self, global: &'a BTreeMap<String, Known>) -> Vec<&'a OutlinedArgument> {
        let mut used = BTreeSet::new();
        let mut found = Vec::new();
        let mut open: Vec<&String> = self.used.iter().collect();
        while let Some(name) = open.pop() {
            if used.insert(name)
                && let Some(known) = self.known.get(name).or_else(|| global.get(name))
            {
                open.extend(&known.needs);
                found.push(&known.argument);
            }
        }
        found
    }
}

/// A stage before those that it needs: of several with one name the nearest counts.
fn collect(
    plan: &Plan,
    index: usize,
    (ends, global): (&BTreeMap<usize, End>, &BTreeMap<String, Known>),
    seen: &mut BTreeSet<usize>,
    all: &mut Outline,
) {
    if !seen.insert(index) {
        return;
    }
    if let Some(end) = ends.get(&index) {
        for argument in end.arguments(global) {
            if !all.arguments.iter().any(|known| known.name == argument.name) {
                all.arguments.push(argument.clone());
            }
        }
        let mounts = [(&end.secrets, &mut all.secrets), (&end.ssh, &mut all.ssh)];
        for (found, told) in mounts {
            for mount in found {
                if !told.iter().any(|known| known.id == mount.id) {
                    told.push(mount.clone());
                }
            }
        }
    }
    let planned = plan.stages.iter().find(|stage| stage.index == index);
    for needed in planned.iter().flat_map(|stage| &stage.needs) {
        collect(plan, *needed, (ends, global), seen, all);
    }
}

/// What the comments above something say of it: the rest of the first that begins with its name.
fn described(comments: &[String], name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?;
    let rest = |comment: &String| Some(comment.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
    comments.iter().find_map(rest)
}

#[cfg(test)]
mod tests;
