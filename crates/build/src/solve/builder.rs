//! A whole build: Dockerfile, ignore file, plan, stages, image.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shipway_container::{Image, Images, PullOptions, PullPolicy, PullSource, Runtime};
use shipway_oci::{ImageConfig, Platform, Reference, with_causes};
use shipway_registry::Client;
use shipway_store::{Scope, Store};

use super::behind::{Behind, Limits};
use super::cache::{Cache, Lookup};
use super::check::Bases;
use super::commit::Committer;
use super::contexts::Loaded;
use super::pieces::LayerPieces;
use super::recorded::Recorded;
use super::remote;
use super::site::Site;
use super::source::read;
use super::stage::Snapshot;
use super::turn::UnderWay;
use crate::attest::{Attesting, Invocation, Recorder};
use crate::cache::{CacheSteps, INLINE_KEY, Imports, inline};
use crate::compression::Compressor;
use crate::context::View;
use crate::dockerfile::Dockerfile;
use crate::error::{BuildError, StepError};
use crate::events::BuildEvents;
use crate::export::{
    Composition, ExportError, FIXED_EPOCH, ImageOptions, Layers, PlatformImage, check, compose, timestamp,
};
use crate::git::Fetcher;
use crate::ignore::IgnoreList;
use crate::plan::{GlobalArguments, Names, Plan, Wanted};
use crate::request::{BuildRequest, Built, SOURCE_DATE_EPOCH, TIME_OF_THE_CONTEXT};

/// Builds images. Clones are the same.
#[derive(Clone)]
pub struct Builder {
    pub(super) runtime: Runtime,
    pub(super) store: Store,
    pub(super) client: Client,
    compressor: Compressor,
    limits: Limits,
}

/// One build under way.
pub(super) struct Build<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) file: Arc<Dockerfile>,
    pub(super) global: GlobalArguments,
    /// Instructions of the stages that are built; the triggers of a base may bring more.
    total: AtomicUsize,
    pub(super) view: Arc<View>,
    /// What is left out of the view.
    pub(super) ignore: IgnoreList,
    pub(super) checked: Bases,
    pub(super) site: &'a Site,
    pub(super) committer: Committer,
    pub(super) cache: Cache,
    pub(super) recorder: Arc<Recorder>,
    client: Client,
    /// Where fetched files wait.
    pub(super) spool: PathBuf,
    /// The time in the image's configuration.
    pub(super) created: String,
    pub(super) events: &'a dyn BuildEvents,
    /// What is still done for steps that are over.
    pub(super) behind: Behind,
    /// What the steps gave.
    pub(super) recorded: Recorded,
    images: Images,
    /// Of stages that say nothing else.
    pub(super) platform: Platform,
    pub(super) contexts: Loaded,
    /// Stages that are built.
    finished: Mutex<BTreeMap<usize, Arc<Snapshot>>>,
    /// The bases of stages that wait for what the triggers of their base need.
    pub(super) bases: Mutex<BTreeMap<usize, Snapshot>>,
    /// Of all platforms.
    warnings: &'a Mutex<Vec<String>>,
    /// Whether others are built beside it.
    pub(super) is_one_of_several: bool,
}

impl Builder {
    /// A builder that runs steps with `runtime`, keeps results in `store`, and pulls base images with `client`. What a
    /// Dockerfile adds by its address is fetched with it, too, but only from where its RUN steps may go.
    pub fn new(runtime: Runtime, store: Store, client: Client) -> Self {
        Self {
            runtime,
            store,
            client,
            compressor: Compressor::default(),
            limits: Limits::default(),
        }
    }

    /// The same with a number of compressing threads; images do not depend on it.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            compressor: Compressor::with_threads(threads),
            ..self
        }
    }

    /// The same with another way to registries: for an engine with settings of its own.
    #[must_use]
    pub fn with_client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Builds an image and names it.
    ///
    /// # Errors
    /// When the Dockerfile, the context or a step is at fault; what earlier steps made stays in the cache.
    pub async fn build(&self, request: BuildRequest, events: &dyn BuildEvents) -> Result<Built, BuildError> {
        let request = dated(self.fetched(request).await?)?;
        let imports = self.imports(&request).await;
        let mut given_up = Vec::new();
        loop {
            let notes = imports.notes().iter().chain(&given_up);
            let notes = notes.cloned().collect();
            // On the heap: the state of a build is too large for the futures of its callers.
            match Box::pin(self.solve(request.clone(), &imports, notes, events)).await {
                Err(error) => match imports.give_up() {
                    failed if failed.is_empty() => return Err(error),
                    // Each is given up twice at most: for what it has, and for what it only knows.
                    failed => given_up.extend(failed),
                },
                built => return built,
            }
        }
    }

    async fn solve(
        &self,
        request: BuildRequest,
        imports: &Arc<Imports>,
        notes: Vec<String>,
        events: &dyn BuildEvents,
    ) -> Result<Built, BuildError> {
        let (platforms, invocation) = (platforms(&request), Invocation::begin());
        let attested = request.sbom || request.provenance.is_some();
        check(&platforms.iter().collect::<Vec<_>>(), attested, &request.image).map_err(exporting)?;
        let (reading, store) = (request.clone(), self.store.clone());
        let memory = self.runtime.data().join("context-hashes");
        let reading = tokio::task::spawn_blocking(move || {
            // Before anything is asked for, and until the image is named.
            let hold = store.hold().map_err(|source| BuildError::Store { source })?;
            read(&reading, &memory).map(|(file, source, view)| (file, source, view, hold))
        });
        let (file, source, view, hold) = reading.await.map_err(|_| BuildError::Interrupted)??;
        events.dockerfile(&file.name, &String::from_utf8_lossy(&source.bytes));
        let (file, view) = (Arc::new(file), Arc::new(view));
        let epoch = request.source_date_epoch.unwrap_or(FIXED_EPOCH);
        let site = Site::new(self.runtime.clone(), request.pod.clone(), request.egress.clone());
        let store = self.store.metered(site.written());
        let cache = Cache {
            store: store.clone(),
            scope: request.cache_scope.clone(),
            lookup: match request.no_cache {
                false => Lookup::All,
                true => Lookup::Own(Arc::default()),
            },
            imports: Arc::clone(imports),
            under_way: UnderWay::default(),
            earlier: Arc::default(),
        };
        let compression = request.image.compression.of_steps();
        let pieces = Arc::new(LayerPieces::new(cache.clone(), compression));
        let warnings = Mutex::default();
        let begin = |platform: &Platform| -> Result<(Build<'_>, Plan), BuildError> {
            let target = request.target.as_deref();
            let global = GlobalArguments::new(&file, &request.build_args, platform, target)?;
            let names = Names {
                file: &file,
                arguments: &global,
                contexts: &request.contexts,
                platform,
            };
            let plan = Plan::new(names, &target.map_or(Wanted::Last, Wanted::Named))?;
            let recorder = Arc::new(Recorder::new(&request, &invocation));
            let build = Build {
                total: AtomicUsize::new(plan.total),
                view: Arc::clone(&view),
                ignore: source.ignore.clone(),
                checked: Bases::default(),
                site: &site,
                committer: Committer {
                    store: store.clone(),
                    compressor: self.compressor,
                    compression,
                    cache: cache.clone(),
                    limits: self.limits.clone(),
                    recorder: Arc::clone(&recorder),
                    pieces: Arc::clone(&pieces),
                    epoch,
                },
                cache: cache.clone(),
                recorder,
                images: Images::new(store.clone(), self.client.clone()),
                client: self.client.clone(),
                spool: self.runtime.data().to_owned(),
                created: timestamp(
                    request
                        .source_date_epoch
                        .or(request.created)
                        .unwrap_or(FIXED_EPOCH),
                ),
                events,
                behind: Behind::default(),
                recorded: Recorded::default(),
                platform: platform.clone(),
                contexts: Loaded::default(),
                finished: Mutex::default(),
                bases: Mutex::default(),
                warnings: &warnings,
                is_one_of_several: platforms.len() > 1,
                request: &request,
                global,
                file: Arc::clone(&file),
            };
            Ok((build, plan))
        };
        let solving = async {
            let (mut images, mut steps) = (Vec::with_capacity(platforms.len()), CacheSteps::default());
            let mut last = None;
            for platform in &platforms {
                // What does not depend on the platform, the next one finds.
                if let Some((build, result)) = last.take() {
                    let build: Build<'_> = build;
                    let (image, taken) = build.settled(result, &source.bytes).await?;
                    images.push(image);
                    steps = steps.and(taken);
                }
                let (build, plan) = begin(platform)?;
                build.check_first(&plan).await?;
                let needs_trees = plan.needs_trees(&file);
                if images.is_empty() {
                    notes.iter().for_each(|note| build.warn(note));
                    build.tell_what_is_unusual();
                }
                let ahead = async {
                    if request.no_cache && needs_trees {
                        site.start_ahead().await;
                    }
                };
                let work = async { tokio::join!(build.run(plan), ahead).0 };
                let result = tokio::select! {
                    biased;
                    () = request.cancellation.cancelled() => Err(BuildError::Canceled),
                    result = work => result,
                };
                // The findings for one platform are those for all, but for what its bases say.
                let findings = build.report().findings;
                if images.is_empty() && !findings.is_empty() {
                    events.findings(&file.name, &findings);
                }
                last = Some((build, result));
            }
            Ok::<_, BuildError>((images, steps, last))
        };
        let done = solving.await;
        let remembering = {
            let view = Arc::clone(&view);
            tokio::task::spawn_blocking(move || view.remember())
        };
        let put = async {
            let (mut images, mut steps, last) = done?;
            if let Some((build, result)) = last {
                let (image, taken) = build.settled(result, &source.bytes).await?;
                images.push(image);
                steps = steps.and(taken);
            }
            let (scope, tags) = (request.scope.clone(), request.tags.clone());
            let (options, keep) = (request.image.clone(), request.keep_image);
            let layers = self.layers(&store, &request.cache_scope);
            let export = move || {
                let composition = compose(&layers, &images, &options, &tags)?;
                if keep {
                    composition.put(&store, &scope, &tags)?;
                }
                Ok((composition, images, steps))
            };
            tokio::task::spawn_blocking(export)
                .await
                .map_err(|_| BuildError::Interrupted)?
                .map_err(exporting)
        };
        // A lost thread has remembered nothing, which is no matter.
        let (exported, (), _) = tokio::join!(put, site.close(), remembering);
        let (composition, images, steps) = match site.excess() {
            // Whatever failed then failed for it.
            Some(source) => exported.map_err(|_| BuildError::Excess { source })?,
            None => exported?,
        };
        let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Built {
            manifest: composition.root.digest.clone(),
            id: composition.id.clone(),
            composition,
            images,
            cache_scope: request.cache_scope.clone(),
            _hold: Arc::new(hold),
            warnings,
            steps,
            pieces: pieces.count(),
        })
    }

    /// Writes the documents of what was built in another way. Blocks.
    ///
    /// # Errors
    /// When the options contradict each other, or the store fails.
    pub fn compose(
        &self,
        built: &Built,
        options: &ImageOptions,
        names: &[Reference],
    ) -> Result<Composition, ExportError> {
        compose(
            &self.layers(&self.store, &built.cache_scope),
            &built.images,
            options,
            names,
        )
    }

    fn layers(&self, store: &Store, scope: &Scope) -> Layers {
        Layers {
            store: store.clone(),
            scope: scope.clone(),
            compressor: self.compressor,
        }
    }
}

/// Those asked for, each once, or this machine's.
pub(super) fn platforms(request: &BuildRequest) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for platform in &request.platforms {
        if !platforms.iter().any(|other| other.matches(platform)) {
            platforms.push(platform.clone());
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    platforms
}

fn exporting(source: ExportError) -> BuildError {
    BuildError::Export {
        source: Box::new(source),
    }
}

/// The request with the `SOURCE_DATE_EPOCH` of its build arguments, which is how BuildKit's clients give it. The word `context` was
/// understood when that was fetched; a directory has no time of its own.
fn dated(mut request: BuildRequest) -> Result<BuildRequest, BuildError> {
    if let Some(text) = request.argument(SOURCE_DATE_EPOCH)
        && !matches!(text, "" | TIME_OF_THE_CONTEXT)
    {
        let seconds = text.parse::<i64>();
        let text = text.to_owned();
        request.source_date_epoch = Some(seconds.map_err(|source| BuildError::Epoch { text, source })?);
    }
    Ok(request)
}

impl Build<'_> {
    pub(super) fn warn(&self, message: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        // Each platform would say it again.
        if self.is_one_of_several && warnings.iter().any(|warning| warning == message) {
            return;
        }
        self.events.warning(message);
        warnings.push(message.to_owned());
    }

    /// The way to what ADD names: no further than a RUN would come.
    pub(super) fn fetcher(&self) -> Result<Client, StepError> {
        remote::way(&self.client, self.site)
    }

    /// The way to repositories.
    pub(super) fn git(&self) -> Result<Fetcher, StepError> {
        remote::git(&self.client, self.site, &self.spool, self.request)
    }

    /// A stage that is built already.
    pub(super) fn finished(&self, index: usize) -> Option<Arc<Snapshot>> {
        self.finished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&index)
            .cloned()
    }

    /// The platform, where the build is for several.
    pub(super) fn platform_name(&self) -> Option<String> {
        self.is_one_of_several.then(|| self.platform.to_string())
    }

    /// What names stand for.
    pub(super) fn names(&self) -> Names<'_> {
        Names {
            file: &self.file,
            arguments: &self.global,
            contexts: &self.request.contexts,
            platform: &self.platform,
        }
    }

    /// Instructions of all stages that are built, as far as is known.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn set_total(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(super) fn finish(&self, index: usize, snapshot: Snapshot) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.insert(index, Arc::new(snapshot));
    }

    /// The image that the steps gave, once all of it is in the store, and what an export of the cache is made of.
    /// `dockerfile` is what was read.
    async fn settled(
        &self,
        result: Result<Snapshot, BuildError>,
        dockerfile: &[u8],
    ) -> Result<(PlatformImage, CacheSteps), BuildError> {
        if let Err(BuildError::Canceled) = result {
            return Err(BuildError::Canceled);
        }
        // Whatever became of the steps: what is under way is kept for later builds, and its failure may be what
        // interrupted a step.
        let settled = self.behind.settle().await;
        let image = match result {
            Err(error) if !error.is_interruption() => return Err(error),
            result => settled.and(result)?,
        };
        let layers = image.descriptors().await.map_err(|_| BuildError::Interrupted)?;
        let own = self.recorded.diff_ids().into_values().flatten().collect();
        let steps = self.recorded.steps(&image.config.rootfs.diff_ids).await;
        let steps = steps.map_err(|_| BuildError::Interrupted)?;
        let attesting = Attesting::new(&self.recorder, self.request, &self.file.name, dockerfile);
        let store = self.committer.store.clone();
        let attested = move || {
            Ok(PlatformImage {
                platform: image.config.platform(),
                own,
                attestations: attesting.over(&store, &image.config, &layers)?,
                config: image.config,
                layers,
            })
        };
        tokio::task::spawn_blocking(attested)
            .await
            .map_err(|_| BuildError::Interrupted)?
            .map(|image| (image, steps))
            .map_err(exporting)
    }

    /// What is to be told of a build whatever the platform.
    fn tell_what_is_unusual(&self) {
        for message in self.view.skipped() {
            self.warn(message);
        }
        if let Some(syntax) = &self.file.syntax {
            let message = format!("`# syntax={syntax}` is not fetched: the syntax is the built-in one");
            self.events.note(&message);
        }
        let unused = self.global.unused(&self.file);
        if !unused.is_empty() {
            self.warn(&format!(
                "one or more build arguments were not consumed: {}",
                unused.join(", ")
            ));
        }
    }

    async fn run(&self, plan: Plan) -> Result<Snapshot, BuildError> {
        let target = plan.target;
        self.stages(plan).await?;
        let target = self.finished(target).ok_or(BuildError::Interrupted)?;
        let mut image = (*target).clone();
        image.config.created = Some(self.created.clone());
        let labels = self
            .request
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        image.config.config.labels.extend(labels);
        // That of the base is of other steps.
        image.config.other.remove(INLINE_KEY);
        if let Some(cache) = self
            .request
            .wants_inline_cache()
            .then(|| inline(&self.recorded.diff_ids()))
            .flatten()
        {
            image.config.other.insert(INLINE_KEY.to_owned(), cache);
        }
        Ok(image)
    }

    /// An image by its name or id, pulled when it is not here.
    pub(super) async fn image(&self, text: &str, platform: &Platform) -> Result<Snapshot, StepError> {
        let scope = &self.request.scope;
        if text.starts_with("sha256:") {
            let found = self.images.find_by_id(scope, text).await;
            let image = found
                .map_err(|source| StepError::Images { source })?
                .ok_or_else(|| StepError::NoImage { id: text.to_owned() })?;
            self.recorder.image(None, &image);
            return self.snapshot(image).await;
        }
        let reference = Reference::parse(text).map_err(|source| StepError::Reference {
            text: text.to_owned(),
            source,
        })?;
        let options = PullOptions {
            platform: Some(platform.clone()),
            credentials: self.request.credentials.credentials(&reference.registry),
            policy: if self.request.pull {
                PullPolicy::Always
            } else {
                PullPolicy::IfMissing
            },
            ..PullOptions::default()
        };
        let pulled = self
            .images
            .pull(scope, &reference, options, self.events.pull_progress())
            .await
            .map_err(|source| StepError::Pull {
                source: Box::new(source),
            })?;
        if let PullSource::Imported { unreachable } = &pulled.source {
            let why = unreachable
                .as_ref()
                .map(|error| format!(", because {}", with_causes(error)))
                .unwrap_or_default();
            self.warn(&format!("the imported {} is used{why}", reference.familiar()));
        }
        self.recorder.image(Some(&reference), &pulled.image);
        self.snapshot(pulled.image).await
    }

    /// What begins with an image. Its layers are asked for, so that the build holds them whatever becomes of the image's names.
    async fn snapshot(&self, image: Image) -> Result<Snapshot, StepError> {
        let (store, layers) = (self.cache.store.clone(), image.layers.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let mut layers = layers.iter();
            layers.try_for_each(|layer| store.blob(&layer.digest).map(drop))
        });
        asked
            .await
            .map_err(|_| StepError::Interrupted)?
            .map_err(|source| StepError::Store { source })?;
        Ok(Snapshot::of(image.config, image.layers))
    }
}

/// What `FROM scratch` begins with.
pub(super) fn nothing(platform: &Platform) -> Snapshot {
    let mut config = ImageConfig::new(platform);
    config.config.working_dir = "/".to_owned();
    Snapshot::of(config, Vec::new())
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("store", self.store.id())
            .finish_non_exhaustive()
    }
}
