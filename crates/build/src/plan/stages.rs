//! Which stages the target needs, and in which order.

use std::collections::BTreeSet;

use super::names::{Meaning, Names, sources};
use crate::dockerfile::{Dockerfile, DockerfileError, Expander, Stage, Step, did_you_mean};
use crate::named::ContextName;

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    /// Another stage, by its index in the file.
    Stage(usize),
    /// An image, as written, variables expanded.
    Image(String),
    /// What the caller gave in the place of the image.
    Context(ContextName),
    /// What the caller gave in the place of the whole stage: its steps are passed over.
    Instead(ContextName),
}

/// A stage that will be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedStage {
    /// Index in the file.
    pub(crate) index: usize,
    pub(crate) base: Base,
    /// `--platform`, expanded.
    pub(crate) platform: Option<String>,
    /// The stages it takes files from, its base included.
    pub(crate) needs: BTreeSet<usize>,
}

/// Stages in an order in which each comes after those it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) stages: Vec<PlannedStage>,
    /// The stage whose image is asked for: always the last one.
    pub(crate) target: usize,
    /// Instructions in those stages, FROM included.
    pub(crate) total: usize,
}

/// Which stage is asked for.
pub(crate) enum Wanted<'a> {
    Last,
    Named(&'a str),
    /// All of them; the last one is the target.
    Every,
}

impl Plan {
    /// Whether there are steps that need a file system to work in.
    pub(crate) fn needs_trees(&self, file: &Dockerfile) -> bool {
        self.stages.iter().any(|stage| {
            let steps = &file.stages[stage.index].steps;
            let mut changing = (0..steps.len()).filter(|step| steps[*step].instruction.makes_files());
            changing.any(|step| !self.needs_no_tree(file, stage, step))
        })
    }

    /// Whether a step of a stage can be made without its files ever lying in a file system: they are put on nothing, and nobody looks at
    /// them behind it. What it takes may need one all the same.
    pub(crate) fn needs_no_tree(&self, file: &Dockerfile, stage: &PlannedStage, step: usize) -> bool {
        let is_needed = |other: &PlannedStage| other.needs.contains(&stage.index);
        let (before, from) = file.stages[stage.index].steps.split_at(step);
        let Some((this, behind)) = from.split_first() else {
            return false;
        };
        let is_linked = |step: &Step| step.instruction.copies_context().is_some_and(|copy| copy.link);
        let is_on_nothing =
            stage.base == Base::Scratch && !before.iter().any(|step| step.instruction.makes_files());
        this.instruction.copies_context().is_some()
            && (is_linked(this) || is_on_nothing)
            && behind
                .iter()
                .all(|step| !step.instruction.makes_files() || is_linked(step))
            && !self.stages.iter().any(is_needed)
    }

    pub(crate) fn new(names: Names<'_>, wanted: &Wanted<'_>) -> Result<Self, DockerfileError> {
        let file = names.file;
        let asked = match wanted {
            Wanted::Last | Wanted::Every => file.stages.len() - 1,
            Wanted::Named(name) => find_target(file, name)?,
        };
        let target = match names.of_stage(asked) {
            Ok(Meaning::Stage(other)) => other,
            // A context in the place of the whole stage is made an image of by the stage itself.
            Ok(_) => asked,
            Err(message) => return Err(file.stages[asked].location.error(&file.name, message)),
        };
        let mut planning = Planning::new(names);
        if matches!(wanted, Wanted::Every) {
            (0..file.stages.len()).try_for_each(|index| planning.visit(index))?;
        }
        planning.visit(target)?;
        Ok(Self {
            total: planning.done.iter().map(|stage| stage.steps(file)).sum(),
            stages: planning.done,
            target,
        })
    }

    /// Adds the stages that the triggers of a planned stage's base take files from, and gives those that are new, in order.
    /// What is known only when the base is there.
    pub(crate) fn grow(
        &mut self,
        names: Names<'_>,
        index: usize,
        needed: &BTreeSet<usize>,
    ) -> Result<Vec<PlannedStage>, DockerfileError> {
        let mut planning = Planning::new(names);
        planning.finished = self.stages.iter().map(|stage| stage.index).collect();
        for needed in needed {
            planning.visit(*needed)?;
        }
        let new = planning.done;
        self.total += new.iter().map(|stage| stage.steps(names.file)).sum::<usize>();
        self.stages.extend(new.iter().cloned());
        if let Some(stage) = self.stages.iter_mut().find(|stage| stage.index == index) {
            stage.needs.extend(needed);
        }
        if self.needs_itself(index) {
            let location = &names.file.stages[index].location;
            let message = "the ONBUILD triggers of its base need a stage that needs this one";
            return Err(location.error(&names.file.name, message));
        }
        Ok(new)
    }

    fn needs_itself(&self, index: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            let planned = self.stages.iter().find(|stage| stage.index == next);
            for needed in planned.iter().flat_map(|stage| &stage.needs) {
                if *needed == index {
                    return true;
                }
                if seen.insert(*needed) {
                    open.push(*needed);
                }
            }
        }
        false
    }
}

impl PlannedStage {
    /// How many instructions it runs, FROM included.
    pub(crate) fn steps(&self, file: &Dockerfile) -> usize {
        match self.base {
            Base::Instead(_) => 1,
            _ => 1 + file.stages[self.index].steps.len(),
        }
    }
}

fn find_target(file: &Dockerfile, name: &str) -> Result<usize, DockerfileError> {
    let by_name = file
        .stages
        .iter()
        .rposition(|stage| stage.name.as_deref() == Some(&*name.to_ascii_lowercase()));
    let by_index = || {
        name.parse::<usize>()
            .ok()
            .filter(|&index| index < file.stages.len())
    };
    by_name.or_else(by_index).ok_or_else(|| {
        let names: Vec<&str> = file
            .stages
            .iter()
            .filter_map(|stage| stage.name.as_deref())
            .collect();
        let known = if names.is_empty() {
            "no stage has a name".to_owned()
        } else {
            format!("stages: {}", names.join(", "))
        };
        let hint = did_you_mean(&name.to_ascii_lowercase(), names.iter().copied());
        let last = file.stages.last();
        DockerfileError {
            file: file.name.clone(),
            line: last.map_or(1, |stage| stage.location.line),
            column: 1,
            message: format!("target stage `{name}` could not be found{hint} ({known})"),
            source_line: last
                .map(|stage| stage.location.source_line.clone())
                .unwrap_or_default(),
        }
    })
}

struct Planning<'a> {
    names: Names<'a>,
    done: Vec<PlannedStage>,
    finished: BTreeSet<usize>,
    open: BTreeSet<usize>,
}

impl<'a> Planning<'a> {
    fn new(names: Names<'a>) -> Self {
        Self {
            names,
            done: Vec::new(),
            finished: BTreeSet::new(),
            open: BTreeSet::new(),
        }
    }

    fn visit(&mut self, index: usize) -> Result<(), DockerfileError> {
        if self.finished.contains(&index) {
            return Ok(());
        }
        let file = self.names.file;
        let stage = &file.stages[index];
        if !self.open.insert(index) {
            return Err(stage.location.error(
                &file.name,
                "this stage needs itself, directly or by way of others",
            ));
        }
        let mut planned = self.plan(index, stage)?;
        if let Base::Stage(base) = planned.base {
            self.visit(base)?;
            planned.needs.insert(base);
        }
        if !matches!(planned.base, Base::Instead(_)) {
            for needed in self.sources(index, stage)? {
                self.visit(needed)?;
                planned.needs.insert(needed);
            }
        }
        self.finished.insert(index);
        self.done.push(planned);
        Ok(())
    }

    fn plan(&self, index: usize, stage: &Stage) -> Result<PlannedStage, DockerfileError> {
        let file = self.names.file;
        let failed = |message: String| stage.location.error(&file.name, message);
        let lookup = |name: &str| self.names.arguments.lookup(name);
        let expand = |text: &str| {
            Expander::new(file.escape, &lookup)
                .word(text)
                .map_err(|error| failed(error.to_string()))
        };
        let base = match self.names.of_stage(index).map_err(failed)? {
            Meaning::Context(name) => Base::Instead(name),
            _ => {
                let name = expand(&stage.base)?;
                if name.is_empty() {
                    return Err(failed(format!(
                        "base name ({}) should not be blank: give the ARG in it a value",
                        stage.base
                    )));
                }
                match self.names.base(index, &name).map_err(failed)? {
                    Meaning::Stage(earlier) => Base::Stage(earlier),
                    Meaning::Context(name) => Base::Context(name),
                    Meaning::Image(name) if name == "scratch" => Base::Scratch,
                    Meaning::Image(name) => Base::Image(name),
                }
            }
        };
        let platform = stage.platform.as_deref().map(expand).transpose()?;
        if let (Some(""), Some(written)) = (platform.as_deref(), &stage.platform) {
            let name = written.trim_start_matches(['$', '{']).trim_end_matches('}');
            let hint = did_you_mean(name, self.names.arguments.names());
            let message = format!("--platform={written} is empty: give the ARG in it a value{hint}");
            return Err(failed(message));
        }
        Ok(PlannedStage {
            index,
            base,
            platform,
            needs: BTreeSet::new(),
        })
    }

    fn sources(&self, index: usize, stage: &Stage) -> Result<Vec<usize>, DockerfileError> {
        let file = self.names.file;
        let mut needed = Vec::new();
        for step in &stage.steps {
            for name in sources(step) {
                if name.contains('$') {
                    let message = format!(
                        "--from={name}: variables are not supported here, define a stage with FROM and name that"
                    );
                    return Err(step.location.error(&file.name, message));
                }
                let found = self.names.source(index, name);
                if let Meaning::Stage(found) =
                    found.map_err(|message| step.location.error(&file.name, message))?
                {
                    needed.push(found);
                }
            }
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests;
