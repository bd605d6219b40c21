//! One stage: from its base through its instructions.

use std::sync::Arc;

use shipway_container::LayerPath;
use shipway_oci::{Descriptor, Digest, History, ImageConfig, Platform, chain_ids};

use super::behind::LayerBlob;
use super::builder::Build;
use super::commit::{Committed, NewLayer};
use super::site::{Scratch, blocking};
use crate::dockerfile::{Instruction, Step, parse_trigger};
use crate::error::{BuildError, StepError};
use crate::events;
use crate::plan::{Arguments, CacheKey, Declarations, Effects, workdir_key};

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

/// A stage being built.
pub(super) struct Stage<'a> {
    pub(super) build: &'a Build<'a>,
    /// Its index in the file.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) platform: Platform,
    pub(super) effects: Effects<'a>,
    pub(super) layers: Vec<LayerBlob>,
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
        }
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
        for text in triggers {
            let mut step = parse_trigger(
                &text,
                &format!("{} (ONBUILD trigger of the base)", self.build.file.name),
            )?;
            step.location.line = line;
            self.run_step(number, &step).await?;
        }
        Ok(())
    }

    /// Runs one instruction.
    pub(super) async fn run_step(&mut self, number: usize, step: &Step) -> Result<(), BuildError> {
        let info = Info {
            index: number,
            total: self.build.total,
            stage: self.name.clone(),
        };
        let info = info.of(step);
        self.build.events.step_started(&info);
        match &step.instruction {
            Instruction::Run(run) => self.run(&info, step, run).await?,
            Instruction::Copy(transfer) => self.copy(&info, step, transfer, None).await?,
            Instruction::Add(transfer, options) => self.copy(&info, step, transfer, Some(options)).await?,
            Instruction::Workdir(_) => {
                let text = self.effects.apply(step)?.unwrap_or_default();
                self.workdir(&info, step, text).await?;
            }
            _ => {
                let text = self.effects.apply(step)?.unwrap_or_default();
                self.record(text, None);
            }
        }
        self.build.events.step_finished(&info, &self.id());
        Ok(())
    }

    /// The id that an image of the state so far would have.
    pub(super) fn id(&self) -> Digest {
        Digest::sha256(&self.effects.config.to_json().unwrap_or_default())
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
        let parent = self.snapshot().chain();
        let key = workdir_key(
            parent.as_ref(),
            &self.platform,
            self.build.committer.epoch,
            &directory,
            &user,
        );
        if let Some(known) = self.find(info, step, &key).await? {
            self.record(text, known);
            return Ok(());
        }
        let layer = self
            .in_upper(&key, move |placing| placing.make_directory(&directory, &user))
            .await
            .map_err(|source| self.failed(step, source))?;
        let layer = self.keep(step, &key, layer);
        self.record(text, layer);
        Ok(())
    }

    /// What an earlier build made of this step, told to who watches.
    pub(super) async fn find(
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
        if found.is_some() {
            self.build.events.cached(info);
        }
        Ok(found)
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
        layer
    }

    /// Appends a step's result to the state.
    pub(super) fn record(&mut self, created_by: String, layer: Option<NewLayer>) {
        let config = &mut self.effects.config;
        config.history.push(History {
            created: Some(self.build.created.clone()),
            created_by: Some(created_by),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        if let Some(layer) = layer {
            config.rootfs.diff_ids.push(layer.diff_id);
            self.layers.push(layer.blob);
        }
    }

    /// Runs `work` on a fresh upper directory over the present state and makes a layer of what it did.
    pub(super) async fn in_upper(
        &self,
        key: &CacheKey,
        work: impl FnOnce(&super::place::Placing) -> Result<Wrote, StepError> + Send + 'static,
    ) -> Result<Option<Committed>, StepError> {
        let pod = self.build.site.pod().await?.clone();
        let layers = self.build.site.layers(&self.snapshot()).await?;
        let (committer, key) = (self.build.committer.clone(), *key);
        let permit = committer.limits.begin_layer().await?;
        let keeping = pod.clone();
        let (scratch, layer) = blocking(move || {
            let failed = |source| StepError::Keeper {
                action: "make room for the step",
                source,
            };
            let scratch = Scratch::make(&keeping, "step").map_err(failed)?;
            let placing = super::place::Placing {
                keeper: keeping.keeper(),
                layers: layers.iter().map(|layer| layer.as_path().to_owned()).collect(),
                upper: scratch.path.clone(),
                epoch: committer.epoch,
            };
            let layer = work(&placing).and_then(|wrote| match wrote {
                Wrote::Something => committer.commit(&keeping.keeper(), &scratch.path, &[], &key, permit),
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
        let mut diff_ids = self.effects.config.rootfs.diff_ids.clone();
        diff_ids.push(committed.layer.diff_id.clone());
        let chain = chain_ids(&diff_ids).pop().ok_or(StepError::Interrupted)?;
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

    /// The files of another stage or of an image.
    pub(super) async fn source(&self, name: &str) -> Result<Arc<Snapshot>, StepError> {
        match crate::plan::from_stage(&self.build.file, self.index, name) {
            Ok(Some(index)) => self
                .build
                .finished(index)
                .ok_or_else(|| StepError::StageNotBuilt {
                    stage: name.to_owned(),
                }),
            Ok(None) => match self.build.image(name, &self.platform).await {
                Ok(snapshot) => Ok(Arc::new(snapshot)),
                // With a host, a path or a tag nobody meant a stage.
                Err(source @ (StepError::Reference { .. } | StepError::Pull { .. }))
                    if !name.contains(['/', ':', '@']) =>
                {
                    Err(StepError::NoStage {
                        name: name.to_owned(),
                        source: Box::new(source),
                    })
                }
                Err(error) => Err(error),
            },
            Err(what) => Err(StepError::Unsupported { what }),
        }
    }
}

struct Info {
    index: usize,
    total: usize,
    stage: String,
}

impl Info {
    fn of<'s>(&'s self, step: &'s Step) -> events::Step<'s> {
        events::Step {
            index: self.index,
            total: self.total,
            text: &step.text,
            stage: &self.stage,
            line: step.location.line,
        }
    }
}
