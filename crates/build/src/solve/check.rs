//! The checks where a builder is at hand: what base images say of themselves, and what becomes of findings.
//!
//! A build checks when it is over, because by then every base is known and nothing had to wait; unless its author wants
//! findings to fail it, in which case they have to be known before anything is built. `check` alone brings no layers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, stream};
use shipway_container::{Images, PullOptions, PullPolicy};
use shipway_oci::{ImageConfig, Platform, Reference, with_causes};

use super::builder::{Build, Builder};
use super::site::blocking;
use super::source::Source;
use crate::dockerfile::{Dockerfile, parse_as_far_as_possible};
use crate::error::{BuildError, StepError};
use crate::lint::{self, Facts, Report};
use crate::named::NamedContext;
use crate::oci_layout::{LayoutImage, OciLayoutAddress};
use crate::plan::{Base, GlobalArguments, Names, Plan, PlannedStage, Wanted};
use crate::request::BuildRequest;

/// Base images that are asked for at the same time.
const AT_ONCE: usize = 8;

/// The configurations of base images, by the stages that begin with them.
#[derive(Default)]
pub(super) struct Bases(Mutex<BTreeMap<usize, ImageConfig>>);

impl Bases {
    pub(super) fn remember(&self, stage: usize, config: &ImageConfig) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(stage).or_insert_with(|| config.clone());
    }

    fn known(&self) -> BTreeMap<usize, ImageConfig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A Dockerfile that was checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What was found.
    pub report: Report,
}

impl Build<'_> {
    /// What the checks say, of the stages that the target needs.
    pub(super) fn report(&self) -> Report {
        let facts = Facts {
            arguments: &self.request.build_args,
            platform: &self.platform,
            target: self.request.target.as_deref(),
            unneeded_stages: false,
            contexts: &self.request.contexts,
            ignore: &self.ignore,
            bases: &self.checked.known(),
        };
        lint::check_parsed(&self.file, None, &facts)
    }

    /// Fails before anything is built if the author wants that.
    pub(super) async fn check_first(&self, plan: &Plan) -> Result<(), BuildError> {
        if !self.report().fails_build {
            return Ok(());
        }
        for planned in &plan.stages {
            if let Base::Image(name) = &planned.base {
                let stage = &self.file.stages[planned.index];
                let platform = self.platform_of(planned, stage)?;
                let image = self.image(name, &platform).await;
                let image = image.map_err(|error| self.failed(stage, error))?;
                self.checked.remember(planned.index, &image.config);
            }
        }
        let report = self.report();
        let rules = report.violations();
        if rules.is_empty() {
            return Ok(());
        }
        self.events.findings(&self.file.name, &report.findings);
        Err(BuildError::Checks { rules })
    }
}

impl Builder {
    /// Checks a Dockerfile without building it. Nothing is kept but what was looked up of base images.
    ///
    /// # Errors
    /// When the context or its files cannot be read. What is wrong with the Dockerfile is in the report.
    pub async fn check(&self, request: BuildRequest) -> Result<Checked, BuildError> {
        let request = self.fetched(request).await?;
        let (reading, store) = (request.clone(), self.store.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let hold = store.hold().map_err(|source| BuildError::Store { source })?;
            Source::read(&reading).map(|source| (source, hold))
        });
        // What is looked up is not collected before it is read.
        let (source, _hold) = reading.await.map_err(|_| BuildError::Interrupted)??;
        let (file, error) = parse_as_far_as_possible(&source.bytes, &source.name);
        let platform = request.platforms.first().cloned().unwrap_or_else(Platform::host);
        let looked_up = match &error {
            None => self.look_up(&file, &request, &platform).await,
            Some(_) => LookedUp::default(),
        };
        let facts = Facts {
            arguments: &request.build_args,
            platform: &platform,
            target: request.target.as_deref(),
            unneeded_stages: true,
            contexts: &request.contexts,
            ignore: &source.ignore,
            bases: &looked_up.bases,
        };
        let mut report = lint::check_parsed(&file, error, &facts);
        if let (None, Some((stage, message))) = (&report.error, looked_up.missing) {
            report.error = Some(file.stages[stage].location.error(&file.name, message));
        }
        Ok(Checked {
            name: source.name,
            bytes: source.bytes,
            report,
        })
    }

    /// What base images say of themselves. A plan that fails is the checks' to tell.
    async fn look_up(&self, file: &Dockerfile, request: &BuildRequest, platform: &Platform) -> LookedUp {
        let target = request.target.as_deref();
        let Ok(arguments) = GlobalArguments::new(file, &request.build_args, platform, target) else {
            return LookedUp::default();
        };
        let names = Names {
            file,
            arguments: &arguments,
            contexts: &request.contexts,
            platform,
        };
        match Plan::new(names, &target.map_or(Wanted::Every, Wanted::Named)) {
            Ok(plan) => self.bases(&plan, request, platform).await,
            Err(_) => LookedUp::default(),
        }
    }

    /// What the images say of themselves with which the stages of a plan begin.
    pub(super) async fn bases(&self, plan: &Plan, request: &BuildRequest, platform: &Platform) -> LookedUp {
        let mut found = LookedUp::default();
        let images = Images::new(self.store.clone(), self.client.clone());
        let lookups = plan.stages.iter().filter_map(|planned| {
            let base = base_of(planned, request)?;
            let platform = match &planned.platform {
                Some(text) => text.parse().ok()?,
                None => platform.clone(),
            };
            let (images, index) = (&images, planned.index);
            Some(async move {
                let config = match base {
                    BaseImage::Named(name) => configuration(images, request, &name, platform).await,
                    BaseImage::InLayout(address) => in_layout(address, platform).await,
                };
                (index, config)
            })
        });
        // Collected first: a stream over the closure itself would not be `Send` for every lifetime.
        let lookups: Vec<_> = lookups.collect();
        let mut answers = stream::iter(lookups).buffered(AT_ONCE);
        while let Some((index, answer)) = answers.next().await {
            match answer {
                Ok(config) => {
                    found.bases.insert(index, config);
                }
                Err(error) => {
                    found.missing.get_or_insert_with(|| (index, with_causes(&error)));
                }
            }
        }
        found
    }
}

/// What was learnt of base images.
#[derive(Default)]
pub(super) struct LookedUp {
    /// By the stages that begin with them.
    pub(super) bases: BTreeMap<usize, ImageConfig>,
    /// The first stage whose base cannot be had, and why.
    missing: Option<(usize, String)>,
}

/// The image that a stage begins with.
enum BaseImage {
    Named(String),
    InLayout(OciLayoutAddress),
}

fn base_of(planned: &PlannedStage, request: &BuildRequest) -> Option<BaseImage> {
    match &planned.base {
        Base::Image(name) => Some(BaseImage::Named(name.clone())),
        Base::Context(name) | Base::Instead(name) => match request.contexts.get(name)? {
            NamedContext::Image(reference) => Some(BaseImage::Named(reference.to_string())),
            NamedContext::OciLayout(address) => Some(BaseImage::InLayout(address.clone())),
            _ => None,
        },
        Base::Scratch | Base::Stage(_) => None,
    }
}

async fn in_layout(address: OciLayoutAddress, platform: Platform) -> Result<ImageConfig, StepError> {
    let found = blocking(move || Ok(LayoutImage::find(&address, &platform)?));
    Ok(found.await?.config)
}

async fn configuration(
    images: &Images,
    request: &BuildRequest,
    name: &str,
    platform: Platform,
) -> Result<ImageConfig, StepError> {
    let scope = &request.scope;
    if name.starts_with("sha256:") {
        let found = images.find_by_id(scope, name).await;
        let image = found
            .map_err(|source| StepError::Images { source })?
            .ok_or_else(|| StepError::NoImage { id: name.to_owned() })?;
        return Ok(image.config);
    }
    let reference = Reference::parse(name).map_err(|source| StepError::Reference {
        text: name.to_owned(),
        source,
    })?;
    let options = PullOptions {
        platform: Some(platform),
        credentials: request.credentials.credentials(&reference.registry),
        policy: if request.pull {
            PullPolicy::Always
        } else {
            PullPolicy::IfMissing
        },
        ..PullOptions::default()
    };
    let image = images.describe(scope, &reference, options).await;
    let image = image.map_err(|source| StepError::Pull {
        source: Box::new(source),
    })?;
    Ok(image.config)
}
