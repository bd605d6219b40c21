//! Which stage is built when, and how a stage begins.
//!
//! Stages run as soon as those they need are done. What the triggers of a base need is known when the base is there: such
//! a stage steps back, the plan grows, and the stage goes on where it was when the others are done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::PoisonError;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use shipway_oci::Platform;

use super::builder::{Build, nothing};
use super::contexts::Material;
use super::stage::{Files, Snapshot, Stage};
use crate::dockerfile::{self, parse_trigger};
use crate::error::{BuildError, StepError};
use crate::events::{Position, Step};
use crate::plan::{Base, Meaning, Plan, PlannedStage, give_path, sources};

/// A stage that waits, and the number of its first step.
struct Waiting {
    planned: PlannedStage,
    first: usize,
}

/// How far a stage got.
enum Progress {
    Done(Box<Snapshot>),
    /// Its base is there, whose triggers take files from these stages.
    Needs(BTreeSet<usize>),
}

impl Build<'_> {
    /// Builds the stages of a plan. The first failure drops the others.
    pub(super) async fn stages(&self, mut plan: Plan) -> Result<(), BuildError> {
        let mut next_number = 1;
        let mut waiting = VecDeque::new();
        let mut enqueue = |planned: PlannedStage, waiting: &mut VecDeque<Waiting>| {
            let first = next_number;
            next_number += planned.steps(&self.file);
            waiting.push_back(Waiting { planned, first });
        };
        for planned in &plan.stages {
            enqueue(planned.clone(), &mut waiting);
        }
        let mut running = FuturesUnordered::new();
        loop {
            let ready = |waiting: &Waiting| {
                let mut needs = waiting.planned.needs.iter();
                needs.all(|needed| self.finished(*needed).is_some())
            };
            while running.len() < self.request.parallel_stages.max(1) {
                let Some(next) = waiting.iter().position(ready).and_then(|at| waiting.remove(at)) else {
                    break;
                };
                let steps = 0..self.file.stages[next.planned.index].steps.len();
                let without_tree: BTreeSet<usize> = steps
                    .filter(|step| plan.needs_no_tree(&self.file, &next.planned, *step))
                    .collect();
                running.push(Box::pin(async move {
                    let progress = self.stage(&next.planned, next.first, &without_tree).await;
                    (next, progress)
                }));
            }
            // The plan has no circles, so that something runs for as long as something waits.
            let Some((mut stage, progress)) = running.next().await else {
                return Ok(());
            };
            match progress? {
                Progress::Done(snapshot) => self.finish(stage.planned.index, *snapshot),
                Progress::Needs(needed) => {
                    let new = plan.grow(self.names(), stage.planned.index, &needed)?;
                    self.set_total(plan.total);
                    for planned in new {
                        enqueue(planned, &mut waiting);
                    }
                    stage.planned.needs.extend(needed);
                    waiting.push_back(stage);
                }
            }
        }
    }

    /// Builds one stage. The steps in `without_tree` need none for their files.
    async fn stage(
        &self,
        planned: &PlannedStage,
        first: usize,
        without_tree: &BTreeSet<usize>,
    ) -> Result<Progress, BuildError> {
        let source = &self.file.stages[planned.index];
        let name = source.name.clone().unwrap_or_else(|| planned.index.to_string());
        let fetches = matches!(planned.base, Base::Image(_) | Base::Context(_) | Base::Instead(_));
        let counted =
            |steps: &[dockerfile::Step]| steps.iter().filter(|step| step.instruction.makes_files()).count();
        let platform_name = self.platform_name();
        let total = usize::from(fetches) + counted(&source.steps);
        let info = Step {
            index: first,
            total: self.total(),
            text: &source.text,
            stage: &name,
            line: source.location.line,
            last_line: source.location.end_line,
            trigger: 0,
            position: fetches.then_some(Position { number: 1, total }),
            stages: self.file.stages.len(),
            base: match &planned.base {
                Base::Image(name) if source.text.contains('$') => Some(name),
                _ => None,
            },
            platform: platform_name.as_deref(),
        };
        let platform = self.platform_of(planned, source)?;
        let begun = self
            .bases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&planned.index);
        let base = match begun {
            Some(base) => base,
            None => {
                self.events.step_started(&info);
                let base = self.base(planned, &platform, &info).await;
                let base = base.inspect_err(|error| self.events.step_failed(&info, error))?;
                let needed = self.needed_by_triggers(planned.index, &base);
                if !needed.is_empty() {
                    let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
                    bases.insert(planned.index, base);
                    return Ok(Progress::Needs(needed));
                }
                base
            }
        };
        let mut stage = Stage::new(self, planned.index, name.clone(), &base, platform);
        stage.base = match &planned.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Stage(index) => {
                let named = &self.file.stages[*index].name;
                named.clone().unwrap_or_else(|| index.to_string())
            }
            Base::Image(text) => text.clone(),
            Base::Context(name) | Base::Instead(name) => name.to_string(),
        };
        self.events.step_finished(&info, stage.state());
        stage.position = Position {
            number: usize::from(fetches),
            total: total + counted(&self.triggers(&base)),
        };
        let begun = stage.effects.begin();
        begun.map_err(|message| source.location.error(&self.file.name, message))?;
        stage.run_triggers(first, source.location.line).await?;
        if !matches!(planned.base, Base::Instead(_)) {
            for (index, step) in source.steps.iter().enumerate() {
                stage.files = match without_tree.contains(&index) {
                    true => Files::InLayer,
                    false => Files::InTree,
                };
                stage.run_step(first + 1 + index, 0, step).await?;
            }
        }
        Ok(Progress::Done(Box::new(stage.snapshot())))
    }

    pub(super) fn platform_of(
        &self,
        planned: &PlannedStage,
        stage: &dockerfile::Stage,
    ) -> Result<Platform, BuildError> {
        match &planned.platform {
            None => Ok(self.platform.clone()),
            Some(text) => text.parse().map_err(|source| {
                let text = text.clone();
                self.failed(stage, StepError::Platform { text, source })
            }),
        }
    }

    /// What a stage begins with.
    async fn base(
        &self,
        planned: &PlannedStage,
        platform: &Platform,
        info: &Step<'_>,
    ) -> Result<Snapshot, BuildError> {
        let source = &self.file.stages[planned.index];
        let mut base = match &planned.base {
            Base::Scratch => nothing(platform),
            Base::Stage(index) => (*self.finished(*index).ok_or(BuildError::Interrupted)?).clone(),
            Base::Image(text) => {
                let image = self.image(text, platform).await;
                image.map_err(|error| self.failed(source, error))?
            }
            Base::Context(name) | Base::Instead(name) => {
                let material = self.context(name, platform).await;
                match material.map_err(|error| self.failed(source, error))? {
                    Material::Root(root) => (*root).clone(),
                    Material::Files(view) => {
                        let empty = nothing(platform);
                        let mut stage = Stage::new(
                            self,
                            planned.index,
                            info.stage.to_owned(),
                            &empty,
                            platform.clone(),
                        );
                        stage.take_all(info, source, name, view).await?;
                        stage.snapshot()
                    }
                }
            }
        };
        if !matches!(planned.base, Base::Scratch | Base::Stage(_)) {
            self.checked.remember(planned.index, &base.config);
        }
        give_path(&mut base.config.config.env);
        Ok(base)
    }

    /// The stages that the triggers of a base take files from and that are not built. A trigger that is none fails when
    /// it is run.
    fn needed_by_triggers(&self, index: usize, base: &Snapshot) -> BTreeSet<usize> {
        let steps = self.triggers(base);
        let meanings = steps
            .iter()
            .flat_map(sources)
            .filter_map(|name| self.names().source(index, name).ok());
        meanings
            .filter_map(|meaning| match meaning {
                Meaning::Stage(stage) => Some(stage),
                _ => None,
            })
            .filter(|stage| self.finished(*stage).is_none())
            .collect()
    }

    /// The triggers of a base that can be read.
    fn triggers(&self, base: &Snapshot) -> Vec<dockerfile::Step> {
        let triggers = base.config.config.on_build.iter();
        triggers
            .filter_map(|text| parse_trigger(text, &self.file.name).ok())
            .collect()
    }

    /// The failure of a FROM.
    pub(super) fn failed(&self, stage: &dockerfile::Stage, source: StepError) -> BuildError {
        BuildError::Step {
            file: self.file.name.clone(),
            line: stage.location.line,
            text: stage.text.clone(),
            source: Box::new(source),
        }
    }
}
