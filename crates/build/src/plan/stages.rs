//! Which stages the target needs, and in which order.

use std::collections::BTreeSet;

use super::arguments::GlobalArguments;
use crate::dockerfile::{Dockerfile, DockerfileError, Expander, Instruction, Stage};

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    /// An earlier stage, by its index in the file.
    Stage(usize),
    /// An image, as written, variables expanded.
    Image(String),
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
}

impl Plan {
    /// Whether there are steps that change files.
    pub(crate) fn changes_files(&self, file: &Dockerfile) -> bool {
        let mut steps = self
            .stages
            .iter()
            .flat_map(|stage| &file.stages[stage.index].steps);
        steps.any(|step| {
            matches!(
                step.instruction,
                Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(..) | Instruction::Workdir(_)
            )
        })
    }

    pub(crate) fn new(
        file: &Dockerfile,
        arguments: &GlobalArguments,
        wanted: &Wanted<'_>,
    ) -> Result<Self, DockerfileError> {
        let target = match wanted {
            Wanted::Last => file.stages.len() - 1,
            Wanted::Named(name) => find_target(file, name)?,
        };
        let mut planning = Planning {
            file,
            arguments,
            done: Vec::new(),
            finished: BTreeSet::new(),
            open: BTreeSet::new(),
        };
        planning.visit(target)?;
        let stages = planning.done;
        let total = stages
            .iter()
            .map(|stage| 1 + file.stages[stage.index].steps.len())
            .sum();
        Ok(Self {
            stages,
            target,
            total,
        })
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
            names.join(", ")
        };
        let last = file.stages.last();
        DockerfileError {
            file: file.name.clone(),
            line: last.map_or(1, |stage| stage.location.line),
            column: 1,
            message: format!("target stage `{name}` could not be found (stages: {known})"),
            source_line: last
                .map(|stage| stage.location.source_line.clone())
                .unwrap_or_default(),
        }
    })
}

/// The stage that `--from=` or `from=` names: a name, the last stage that has it, or a number of an earlier stage.
pub(crate) fn from_stage(file: &Dockerfile, current: usize, name: &str) -> Result<Option<usize>, String> {
    let lower = name.to_ascii_lowercase();
    if let Some(index) = file
        .stages
        .iter()
        .rposition(|stage| stage.name.as_deref() == Some(&lower))
    {
        return Ok(Some(index));
    }
    match name.parse::<usize>() {
        Ok(index) if index < current => Ok(Some(index)),
        Ok(index) => Err(format!(
            "invalid from value {index}: only stages before this one have been built"
        )),
        Err(_) => Ok(None),
    }
}

struct Planning<'a> {
    file: &'a Dockerfile,
    arguments: &'a GlobalArguments,
    done: Vec<PlannedStage>,
    finished: BTreeSet<usize>,
    open: BTreeSet<usize>,
}

impl Planning<'_> {
    fn visit(&mut self, index: usize) -> Result<(), DockerfileError> {
        if self.finished.contains(&index) {
            return Ok(());
        }
        let stage = &self.file.stages[index];
        if !self.open.insert(index) {
            return Err(stage.location.error(
                &self.file.name,
                "this stage needs itself, directly or by way of others",
            ));
        }
        let mut planned = self.plan(index, stage)?;
        if let Base::Stage(base) = planned.base {
            self.visit(base)?;
            planned.needs.insert(base);
        }
        for needed in self.sources(index, stage)? {
            self.visit(needed)?;
            planned.needs.insert(needed);
        }
        self.finished.insert(index);
        self.done.push(planned);
        Ok(())
    }

    fn plan(&self, index: usize, stage: &Stage) -> Result<PlannedStage, DockerfileError> {
        let lookup = |name: &str| self.arguments.lookup(name);
        let expand = |text: &str| {
            Expander::new(self.file.escape, &lookup)
                .word(text)
                .map_err(|error| stage.location.error(&self.file.name, error.to_string()))
        };
        let base = expand(&stage.base)?;
        if base.is_empty() {
            let message = format!(
                "base name ({}) should not be blank: give the ARG in it a value",
                stage.base
            );
            return Err(stage.location.error(&self.file.name, message));
        }
        let lower = base.to_ascii_lowercase();
        let earlier = self.file.stages[..index]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&lower));
        let base = match earlier {
            Some(earlier) => Base::Stage(earlier),
            None if base == "scratch" => Base::Scratch,
            None => Base::Image(base),
        };
        let platform = stage
            .platform
            .as_deref()
            .map(expand)
            .transpose()?
            .filter(|platform| !platform.is_empty());
        Ok(PlannedStage {
            index,
            base,
            platform,
            needs: BTreeSet::new(),
        })
    }

    fn sources(&self, index: usize, stage: &Stage) -> Result<Vec<usize>, DockerfileError> {
        let mut needed = Vec::new();
        for step in &stage.steps {
            let names: Vec<&str> = match &step.instruction {
                Instruction::Copy(transfer) => transfer.from.as_deref().into_iter().collect(),
                Instruction::Run(run) => run
                    .mounts
                    .iter()
                    .filter_map(|mount| mount.from.as_deref())
                    .collect(),
                _ => continue,
            };
            for name in names {
                if name.contains('$') {
                    let message = format!(
                        "--from={name}: variables are not supported here, define a stage with FROM and name that"
                    );
                    return Err(step.location.error(&self.file.name, message));
                }
                let found = from_stage(self.file, index, name)
                    .map_err(|message| step.location.error(&self.file.name, message))?;
                needed.extend(found);
            }
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shipway_oci::Platform;

    use super::*;
    use crate::dockerfile::parse;

    fn plan(text: &str, target: Option<&str>) -> Result<Vec<(usize, Base)>, String> {
        let file = parse(text.as_bytes(), "Dockerfile").expect("a file");
        let arguments = GlobalArguments::new(&file, &BTreeMap::new(), &Platform::new("linux", "amd64"), None)
            .expect("expandable");
        let wanted = target.map_or(Wanted::Last, Wanted::Named);
        let plan = Plan::new(&file, &arguments, &wanted).map_err(|error| error.message)?;
        Ok(plan
            .stages
            .into_iter()
            .map(|stage| (stage.index, stage.base))
            .collect())
    }

    #[test]
    fn only_needed_stages_in_order() {
        let text = "ARG V=3\nFROM a:$V AS one\nFROM b AS unused\nFROM scratch AS three\nCOPY --from=later /x /y\n\
                    FROM ONE AS later\nFROM three\nRUN --mount=from=0,target=/m true\nCOPY --from=0 /a /b\n\
                    COPY --from=nginx /c /d";
        let image = |name: &str| Base::Image(name.to_owned());
        assert_eq!(
            plan(text, None).expect("a plan"),
            [
                (0, image("a:3")),
                (3, Base::Stage(0)),
                (2, Base::Scratch),
                (4, Base::Stage(2))
            ]
        );
        assert_eq!(plan(text, Some("Unused")).expect("a plan"), [(1, image("b"))]);
        assert_eq!(plan(text, Some("0")).expect("a plan"), [(0, image("a:3"))]);
        assert!(
            plan(text, Some("nope"))
                .expect_err("unknown")
                .contains("one, unused, three, later")
        );
    }

    #[test]
    fn of_stages_with_one_name_a_base_is_the_one_before_and_a_source_the_last() {
        let text = "FROM a AS x\nFROM x AS x\nFROM scratch\nCOPY --from=x /a /a";
        let stages = plan(text, None).expect("a plan");
        assert_eq!(
            stages,
            [
                (0, Base::Image("a".to_owned())),
                (1, Base::Stage(0)),
                (2, Base::Scratch)
            ]
        );
    }

    #[test]
    fn circles_and_blank_bases_are_refused() {
        let circle = "FROM a AS x\nCOPY --from=y /a /a\nFROM b AS y\nCOPY --from=x /a /a\n";
        assert!(plan(circle, None).expect_err("a circle").contains("needs itself"));
        assert!(
            plan("FROM a\nCOPY --from=0 /a /a", None)
                .expect_err("itself")
                .contains("invalid from value")
        );
        assert!(
            plan("ARG V=b\nFROM b AS b\nFROM a\nARG V\nCOPY --from=$V /a /a", None)
                .expect_err("a variable")
                .contains("define a stage")
        );
        assert!(plan("ARG V\nFROM $V", None).expect_err("blank").contains("blank"));
    }
}
