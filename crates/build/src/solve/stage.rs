//! One stage: from its base through its instructions.

use shipway_container::LayerPath;
use shipway_oci::{Descriptor, Digest, History, ImageConfig, Platform, chain_id_over, chain_ids};

use super::behind::LayerBlob;
use super::builder::Build;
use super::commit::{Changes, Committed, NewLayer};
use super::contexts::Material;
use super::place::Upper;
use super::site::{Scratch, blocking};
use super::state::StateName;
use super::turn::{self, Taken};
use crate::dockerfile::{Instruction, Step, parse_trigger};
use crate::error::{BuildError, StepError};
use crate::events::{self, Position};
use crate::plan::{Arguments, BaseInput, CacheKey, Declarations, Effects, Inputs, workdir_key};

/// A file system and how to run it: what a stage starts from and ends as.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) config: ImageConfig,
    pub(crate) layers: Vec<LayerBlob>,
    /// The build arguments that a stage declared; of an image none.
    pub(crate) arguments: Declarations,
}

impl Snapshot {
    /// One whose layers are in the store.
    pub(super) fn of(config: ImageConfig, layers: Vec<Descriptor>) -> Self {
        let layers = layers
            .into_iter()
            .map(|layer| LayerBlob::There(Box::new(layer)))
            .collect();
        Self {
            config,
            layers,
            arguments: Declarations::default(),
        }
    }

    /// Its layers, bottom first, once all are in the store.
    pub(super) async fn descriptors(&self) -> Result<Vec<Descriptor>, StepError> {
        let mut descriptors = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            descriptors.push(layer.descriptor().await?);
        }
        Ok(descriptors)
    }

    /// The chain id of the whole; nothing for an empty file system.
    pub(crate) fn chain(&self) -> Option<Digest> {
        chain_ids(&self.config.rootfs.diff_ids).pop()
    }
}

/// Whether a step got as far as writing.
pub(super) enum Wrote {
    Something,
    Nothing,
}

/// What a step's files are put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The present state.
    Over,
    /// Nothing, so that the layer fits over anything.
    Apart,
}

/// Where the files of a step have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// In a file system: something may look at them there.
    InTree,
    /// In their layer, and nowhere else if that can be.
    InLayer,
}

/// A stage being built.
pub(super) struct Stage<'a> {
    pub(super) build: &'a Build<'a>,
    /// Its index in the file.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) platform: Platform,
    pub(super) effects: Effects<'a>,
    pub(super) layers: Vec<LayerBlob>,
    /// What it is based on, by name and by content.
    pub(super) base: String,
    base_chain: Option<Digest>,
    /// The chain id of the present state; nothing for an empty file system.
    chain: Option<Digest>,
    state: StateName,
    /// The place of the last step that has begun, among those that are counted.
    pub(super) position: Position,
    /// What the plan says of the step under way.
    pub(super) files: Files,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        build: &'a Build<'a>,
        index: usize,
        name: String,
        base: &Snapshot,
        platform: Platform,
    ) -> Self {
        let arguments = Arguments::new(&build.global, base.arguments.clone());
        let effects = Effects::new(
            &build.file.name,
            build.file.escape,
            base.config.clone(),
            arguments,
        );
        Self {
            build,
            index,
            name,
            platform,
            effects,
            layers: base.layers.clone(),
            base: String::new(),
            base_chain: base.chain(),
            chain: base.chain(),
            state: StateName::of(&base.config),
            position: Position { number: 0, total: 0 },
            files: Files::InTree,
        }
    }

    pub(super) fn base_input(&self) -> BaseInput<'_> {
        BaseInput {
            name: &self.base,
            chain: self.base_chain.as_ref(),
        }
    }

    /// The chain id of the present state; nothing for an empty file system.
    pub(super) fn chain(&self) -> Option<Digest> {
        self.chain.clone()
    }

    /// What the present state is called.
    pub(super) fn state(&self) -> &Digest {
        self.state.as_digest()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            config: self.effects.config.clone(),
            layers: self.layers.clone(),
            arguments: self.effects.arguments.declarations().clone(),
        }
    }

    /// Runs the triggers that the base's author left.
    pub(super) async fn run_triggers(&mut self, number: usize, line: u32) -> Result<(), BuildError> {
        let triggers = std::mem::take(&mut self.effects.config.config.on_build);
        for (trigger, text) in (1..).zip(triggers) {
            let mut step = parse_trigger(
                &text,
                &format!("{} (ONBUILD trigger of the base)", self.build.file.name),
            )?;
            step.location.line = line;
            step.location.end_line = line;
            self.run_step(number, trigger, &step).await?;
        }
        Ok(())
    }

    /// Runs one instruction; `trigger` says which of the base's it is, 0 none.
    pub(super) async fn run_step(
        &mut self,
        number: usize,
        trigger: usize,
        step: &Step,
    ) -> Result<(), BuildError> {
        let (name, platform) = (self.name.clone(), self.build.platform_name());
        let info = events::Step {
            index: number,
            total: self.build.total(),
            text: &step.text,
            stage: &name,
            line: step.location.line,
            last_line: step.location.end_line,
            trigger,
            position: step.instruction.makes_files().then(|| {
                self.position.number += 1;
                self.position
            }),
            stages: self.build.file.stages.len(),
            base: None,
            platform: platform.as_deref(),
        };
        self.build.events.step_started(&info);
        let layers = self.layers.len();
        if let Err(error) = self.carry_out(&info, step).await {
            self.build.events.step_failed(&info, &error);
            return Err(error);
        }
        self.build.events.step_finished(&info, self.state());
        let layer = match self.layers.len() > layers {
            true => self.effects.config.rootfs.diff_ids.last().cloned(),
            false => None,
        };
        self.build.recorder.step(shipway_attest::Step {
            number,
            stage: self.name.clone(),
            line: step.location.line,
            instruction: step.text.clone(),
            cached: false,
            layer,
        });
        Ok(())
    }

    async fn carry_out(&mut self, info: &events::Step<'_>, step: &Step) -> Result<(), BuildError> {
        match &step.instruction {
            Instruction::Run(run) => self.run(info, step, run).await,
            Instruction::Copy(transfer) => self.copy(info, step, transfer, None).await,
            Instruction::Add(transfer, options) => self.copy(info, step, transfer, Some(options)).await,
            Instruction::Workdir(_) => {
                let text = self.effects.apply(step)?.unwrap_or_default();
                self.workdir(info, step, text).await
            }
            _ => {
                let text = self.effects.apply(step)?.unwrap_or_default();
                self.record(text, None);
                Ok(())
            }
        }
    }

    async fn workdir(
        &mut self,
        info: &events::Step<'_>,
        step: &Step,
        text: String,
    ) -> Result<(), BuildError> {
        let directory = self.effects.working_directory();
        if directory == "/" {
            self.record(text, None);
            return Ok(());
        }
        let user = self.effects.config.config.user.clone();
        let parent = self.chain();
        let key = workdir_key(
            parent.as_ref(),
            &self.platform,
            self.build.committer.epoch,
            &directory,
            &user,
        );
        let inputs = Inputs::of_workdir(
            &directory,
            &user,
            self.base_input(),
            parent.as_ref(),
            &self.platform,
            self.build.committer.epoch,
        );
        if let Some(known) = self.find(info, step, &key, inputs).await? {
            self.record(text, known);
            return Ok(());
        }
        let layer = self
            .in_upper(&key, Form::Over, move |placing| {
                placing.make_directory(&directory, &user)
            })
            .await
            .map_err(|source| self.failed(step, source))?;
        let layer = self.keep(step, &key, layer);
        self.record(text, layer);
        Ok(())
    }

    /// What an earlier build made of this step, or another one makes of it now, told to who watches. Of a step that is not known it is
    /// this build's turn from now on, until it is kept.
    pub(super) async fn find(
        &self,
        info: &events::Step<'_>,
        step: &Step,
        key: &CacheKey,
        inputs: Inputs,
    ) -> Result<Option<Option<NewLayer>>, BuildError> {
        let passed_over = self.build.request.no_cache_stages.contains(&self.name);
        let mut found = match passed_over {
            true => None,
            false => self.look_up(info, step, key).await?,
        };
        if found.is_none() {
            let mut turn = None;
            if self.build.cache.reads() && !passed_over {
                let place = turn::place(&self.build.spool, &self.build.cache.scope, key);
                let taken = turn::take(place, || self.build.events.waiting(info)).await;
                match taken.map_err(|source| self.failed(step, source))? {
                    Taken::AtOnce(taken) => turn = Some(taken),
                    Taken::AfterOthers(taken) => {
                        turn = Some(taken);
                        found = self.look_up(info, step, key).await?;
                    }
                    Taken::TooLate => {}
                }
            }
            if found.is_none() {
                self.explain(info, &inputs).await;
                self.build.cache.under_way.add(*key, inputs, turn);
            }
        }
        if let Some(layer) = &found {
            self.build.recorded.add(*key, layer.clone());
            self.build.events.cached(info);
            self.build.recorder.cached(info.index);
        }
        Ok(found)
    }

    async fn look_up(
        &self,
        info: &events::Step<'_>,
        step: &Step,
        key: &CacheKey,
    ) -> Result<Option<Option<NewLayer>>, BuildError> {
        let (cache, wanted) = (self.build.cache.clone(), *key);
        let found = blocking(move || cache.find(&wanted))
            .await
            .map_err(|source| self.failed(step, source))?;
        tracing::debug!(%key, found = found.is_some(), line = info.line, "looked up a step");
        Ok(found)
    }

    async fn explain(&self, info: &events::Step<'_>, inputs: &Inputs) {
        if !self.build.request.explain || !self.build.cache.reads() {
            return;
        }
        let (cache, inputs) = (self.build.cache.clone(), inputs.clone());
        // Nothing depends on it: a thread that ends early leaves the step unexplained.
        if let Ok(miss) = blocking(move || Ok(cache.why(&inputs))).await {
            self.build.events.missed(info, &miss);
        }
    }

    /// Leaves what this step made to be kept for later builds, behind the steps that follow.
    pub(super) fn keep(&self, step: &Step, key: &CacheKey, committed: Option<Committed>) -> Option<NewLayer> {
        let (layer, work) = match committed {
            Some(Committed { layer, work, .. }) => (Some(layer), work),
            None => {
                let (cache, key) = (self.build.cache.clone(), *key);
                (None, tokio::task::spawn_blocking(move || cache.keep(&key, None)))
            }
        };
        let (file, line, text) = (
            self.build.file.name.clone(),
            step.location.line,
            step.text.clone(),
        );
        self.build.behind.add(work, move |source| BuildError::Step {
            file,
            line,
            text,
            source: Box::new(source),
        });
        self.build.recorded.add(*key, layer.clone());
        layer
    }

    /// Appends a step's result to the state.
    pub(super) fn record(&mut self, created_by: String, layer: Option<NewLayer>) {
        self.state
            .follow(&created_by, layer.as_ref().map(|layer| &layer.diff_id));
        let config = &mut self.effects.config;
        config.history.push(History {
            created: Some(self.build.created.clone()),
            created_by: Some(created_by),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        if let Some(layer) = layer {
            self.chain = Some(chain_id_over(self.chain.as_ref(), &layer.diff_id));
            config.rootfs.diff_ids.push(layer.diff_id);
            self.layers.push(layer.blob);
        }
    }

    /// Runs `work` on a fresh upper directory, over the present state or apart from it, and makes a layer of what it did.
    pub(super) async fn in_upper(
        &self,
        key: &CacheKey,
        form: Form,
        work: impl FnOnce(&super::place::Placing) -> Result<Wrote, StepError> + Send + 'static,
    ) -> Result<Option<Committed>, StepError> {
        let pod = self.build.site.pod().await?.clone();
        let layers = match form {
            Form::Over => self.build.site.layers(&self.snapshot()).await?,
            Form::Apart => Vec::new(),
        };
        let (committer, key) = (self.build.committer.clone(), *key);
        let permit = committer.limits.begin_layer().await?;
        let keeping = pod.clone();
        let (scratch, layer) = blocking(move || {
            let failed = |source| StepError::Keeper {
                action: "make room for the step",
                source,
            };
            let scratch = Scratch::make(&keeping, "step").map_err(failed)?;
            let upper = match form {
                Form::Over => Upper::Over(scratch.path.clone()),
                Form::Apart => {
                    let tree = scratch.path.join("fs");
                    let made = keeping.keeper().make_directory(&tree, 0o755, (0, 0));
                    made.map_err(failed)?;
                    Upper::Apart(scratch.path.clone())
                }
            };
            let placing = super::place::Placing {
                keeper: keeping.keeper(),
                layers: layers.iter().map(|layer| layer.as_path().to_owned()).collect(),
                upper,
                epoch: committer.epoch,
            };
            let layer = work(&placing).and_then(|wrote| match wrote {
                Wrote::Something => {
                    let changes = Changes {
                        upper: scratch.path.clone(),
                        below: placing.layers.clone(),
                        made: Vec::new(),
                    };
                    committer.commit(&keeping.keeper(), &changes, &key, permit)
                }
                Wrote::Nothing => Ok(None),
            });
            if !matches!(layer, Ok(Some(_))) {
                scratch.remove();
            }
            Ok((scratch, layer?))
        })
        .await?;
        if let Some(committed) = &layer {
            self.adopt(&pod, &scratch.path, committed).await?;
            self.build.site.discard(scratch).await?;
        }
        Ok(layer)
    }

    /// Makes an upper directory the unpacked form of the layer that was read from it.
    pub(super) async fn adopt(
        &self,
        pod: &shipway_container::Pod,
        upper: &std::path::Path,
        committed: &Committed,
    ) -> Result<LayerPath, StepError> {
        let chain = chain_id_over(self.chain.as_ref(), &committed.layer.diff_id);
        pod.adopt_layer(&upper.join("fs"), &chain, committed.holds)
            .await
            .map_err(|source| StepError::Layers { source })
    }

    pub(super) fn failed(&self, step: &Step, source: StepError) -> BuildError {
        BuildError::Step {
            file: self.build.file.name.clone(),
            line: step.location.line,
            text: step.text.clone(),
            source: Box::new(source),
        }
    }

    /// What `--from=` or `from=` names.
    pub(super) async fn source(&self, name: &str) -> Result<Material, StepError> {
        let meaning = self.build.names().source(self.index, name);
        let meaning = meaning.map_err(|what| StepError::Name { what })?;
        self.build.material(meaning, &self.platform).await
    }
}
