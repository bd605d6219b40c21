//! A whole build: Dockerfile, ignore file, plan, stages, image.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use shipway_container::{DEFAULT_PATH, Egress, Images, PullOptions, PullPolicy, PullSource, Runtime};
use shipway_oci::{ImageConfig, Platform, Reference, with_causes};
use shipway_registry::{Client, EgressPolicy};
use shipway_store::Store;

use super::behind::{Behind, Limits};
use super::cache::Cache;
use super::commit::Committer;
use super::site::Site;
use super::stage::{Snapshot, Stage};
use crate::context::{ContextError, View};
use crate::dockerfile::{Dockerfile, limits, parse};
use crate::error::{BuildError, StepError};
use crate::events::{BuildEvents, Step};
use crate::export::{FIXED_EPOCH, export, timestamp};
use crate::gzip::Compressor;
use crate::ignore::IgnoreList;
use crate::plan::{Base, GlobalArguments, Plan, PlannedStage, Wanted};
use crate::request::{BuildRequest, Built, DockerfileSource};

/// Builds images. Clones are the same.
#[derive(Clone)]
pub struct Builder {
    runtime: Runtime,
    store: Store,
    client: Client,
    compressor: Compressor,
    limits: Limits,
}

/// One build under way.
pub(super) struct Build<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) file: Arc<Dockerfile>,
    pub(super) global: GlobalArguments,
    pub(super) total: usize,
    pub(super) view: Arc<View>,
    pub(super) site: Site,
    pub(super) committer: Committer,
    pub(super) cache: Cache,
    client: Client,
    /// Where fetched files wait.
    pub(super) spool: PathBuf,
    /// The time in the image's configuration.
    pub(super) created: String,
    pub(super) events: &'a dyn BuildEvents,
    /// What is still done for steps that are over.
    pub(super) behind: Behind,
    images: Images,
    platform: Platform,
    finished: Mutex<BTreeMap<usize, Arc<Snapshot>>>,
    warnings: Mutex<Vec<String>>,
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
        // On the heap: the state of a build is too large for the futures of its callers.
        Box::pin(self.solve(request, events)).await
    }

    async fn solve(&self, request: BuildRequest, events: &dyn BuildEvents) -> Result<Built, BuildError> {
        let reading = request.clone();
        let (file, view) = tokio::task::spawn_blocking(move || read(&reading))
            .await
            .map_err(|_| BuildError::Interrupted)??;
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let global = GlobalArguments::new(&file, &request.build_args, &platform, request.target.as_deref())?;
        let wanted = request.target.as_deref().map_or(Wanted::Last, Wanted::Named);
        let plan = Plan::new(&file, &global, &wanted)?;
        let given_epoch = request.source_date_epoch.or_else(|| epoch_argument(&request));
        let epoch = given_epoch.unwrap_or(FIXED_EPOCH);
        let site = Site::new(self.runtime.clone(), request.pod.clone(), request.egress.clone());
        let store = self.store.metered(site.written());
        let cache = Cache {
            store: store.clone(),
            scope: request.cache_scope.clone(),
            read: !request.no_cache,
        };
        let build = Build {
            total: plan.total,
            view: Arc::new(view),
            site,
            committer: Committer {
                store: store.clone(),
                compressor: self.compressor,
                cache: cache.clone(),
                limits: self.limits.clone(),
                epoch,
            },
            cache,
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
            platform,
            finished: Mutex::default(),
            warnings: Mutex::default(),
            request: &request,
            global,
            file: Arc::new(file),
        };
        let ahead = async {
            if request.no_cache && plan.changes_files(&build.file) {
                build.site.start_ahead().await;
            }
        };
        let (result, ()) = tokio::join!(build.run(&plan), ahead);
        let put = async {
            // Whatever became of the steps: what is under way is kept for later builds, and its failure may be what
            // interrupted a step.
            let settled = build.behind.settle().await;
            let image = match result {
                Err(error) if !error.is_interruption() => return Err(error),
                result => settled.and(result)?,
            };
            let layers = image.descriptors().await.map_err(|_| BuildError::Interrupted)?;
            let (scope, tags) = (request.scope.clone(), request.tags.clone());
            tokio::task::spawn_blocking(move || export(&store, &scope, &tags, &image.config, layers))
                .await
                .map_err(|_| BuildError::Interrupted)?
                .map_err(|source| BuildError::Export {
                    source: Box::new(source),
                })
        };
        let (exported, ()) = tokio::join!(put, build.site.close());
        let exported = match build.site.excess() {
            // Whatever failed then failed for it.
            Some(source) => exported.map_err(|_| BuildError::Excess { source })?,
            None => exported?,
        };
        let warnings = std::mem::take(&mut *build.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Built {
            manifest: exported.manifest,
            id: exported.id,
            warnings,
        })
    }
}

/// `--build-arg SOURCE_DATE_EPOCH=…`, which is how BuildKit's clients give it.
fn epoch_argument(request: &BuildRequest) -> Option<i64> {
    request
        .build_args
        .get("SOURCE_DATE_EPOCH")?
        .as_ref()?
        .parse()
        .ok()
}

/// The Dockerfile, and the context without what its ignore file names. Blocks.
fn read(request: &BuildRequest) -> Result<(Dockerfile, View), BuildError> {
    let context = |source| BuildError::Context { source };
    let most = limits::FILE_BYTES as u64;
    let (bytes, name, beside) = match &request.dockerfile {
        DockerfileSource::Bytes { bytes, name, .. } => (bytes.clone(), name.clone(), None),
        DockerfileSource::Path(path) => {
            let bytes = request.context.read(path, most).map_err(context)?;
            let bytes = bytes.ok_or_else(|| BuildError::NoDockerfile { path: path.clone() })?;
            (bytes, path.display().to_string(), Some(path.clone()))
        }
    };
    let file = parse(&bytes, &name)?;
    let ignore = ignore_list(request, beside.as_deref())?;
    let view = request.context.view(&ignore, request.modes).map_err(context)?;
    Ok((file, view))
}

/// `X.dockerignore` beside the Dockerfile X goes before `.dockerignore`.
fn ignore_list(request: &BuildRequest, dockerfile: Option<&Path>) -> Result<IgnoreList, BuildError> {
    const MOST: u64 = 1 << 20;
    if let DockerfileSource::Bytes {
        name,
        ignore: Some(bytes),
        ..
    } = &request.dockerfile
    {
        return IgnoreList::parse(bytes, &format!("{name}.dockerignore"))
            .map_err(|source| BuildError::Ignore { source });
    }
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([PathBuf::from(".dockerignore")]) {
        let found = request
            .context
            .read(&path, MOST)
            .map_err(|source: ContextError| BuildError::Context { source })?;
        if let Some(bytes) = found {
            return IgnoreList::parse(&bytes, &path.display().to_string())
                .map_err(|source| BuildError::Ignore { source });
        }
    }
    Ok(IgnoreList::default())
}

impl Build<'_> {
    pub(super) fn warn(&self, message: &str) {
        self.events.warning(message);
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message.to_owned());
    }

    /// The way to what ADD names: no further than a RUN would come.
    pub(super) fn fetcher(&self) -> Result<Client, StepError> {
        let steps = self.site.egress()?;
        let policy = Both(Arc::clone(self.client.egress()), steps);
        Ok(self.client.with_egress(Arc::new(policy)))
    }

    /// A stage that is built already.
    pub(super) fn finished(&self, index: usize) -> Option<Arc<Snapshot>> {
        self.finished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&index)
            .cloned()
    }

    async fn run(&self, plan: &Plan) -> Result<Snapshot, BuildError> {
        for message in self.view.skipped() {
            self.warn(message);
        }
        let unused = self.global.unused(&self.file);
        if !unused.is_empty() {
            self.warn(&format!(
                "one or more build arguments were not consumed: {}",
                unused.join(", ")
            ));
        }
        self.stages(plan).await?;
        let target = self.finished(plan.target).ok_or(BuildError::Interrupted)?;
        let mut image = (*target).clone();
        image.config.created = Some(self.created.clone());
        let labels = self
            .request
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        image.config.config.labels.extend(labels);
        Ok(image)
    }

    /// Builds the stages, each as soon as those it needs are done. The first failure drops the others.
    async fn stages(&self, plan: &Plan) -> Result<(), BuildError> {
        let mut number = 1;
        let mut waiting = VecDeque::new();
        for planned in &plan.stages {
            waiting.push_back((planned, number));
            number += 1 + self.file.stages[planned.index].steps.len();
        }
        let mut running = FuturesUnordered::new();
        loop {
            let ready = |(planned, _): &(&PlannedStage, usize)| {
                planned
                    .needs
                    .iter()
                    .all(|needed| self.finished(*needed).is_some())
            };
            while running.len() < self.request.parallel_stages.max(1) {
                let Some(next) = waiting.iter().position(ready).and_then(|at| waiting.remove(at)) else {
                    break;
                };
                let (planned, number) = next;
                running.push(Box::pin(async move {
                    (planned.index, self.stage(planned, number).await)
                }));
            }
            // The plan has no circles, so that something runs for as long as something waits.
            let Some((index, snapshot)) = running.next().await else {
                return Ok(());
            };
            let snapshot = Arc::new(snapshot?);
            self.finished
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(index, snapshot);
        }
    }

    async fn stage(&self, planned: &PlannedStage, first: usize) -> Result<Snapshot, BuildError> {
        let source = &self.file.stages[planned.index];
        let name = source.name.clone().unwrap_or_else(|| planned.index.to_string());
        let info = Step {
            index: first,
            total: self.total,
            text: &source.text,
            stage: &name,
            line: source.location.line,
        };
        let failed = |error: StepError| BuildError::Step {
            file: self.file.name.clone(),
            line: source.location.line,
            text: source.text.clone(),
            source: Box::new(error),
        };
        self.events.step_started(&info);
        let platform = match &planned.platform {
            Some(text) => text.parse::<Platform>().map_err(|source| {
                failed(StepError::Platform {
                    text: text.clone(),
                    source,
                })
            })?,
            None => self.platform.clone(),
        };
        let mut base = match &planned.base {
            Base::Scratch => nothing(&platform),
            Base::Stage(index) => (*self.finished(*index).ok_or(BuildError::Interrupted)?).clone(),
            Base::Image(text) => self.image(text, &platform).await.map_err(failed)?,
        };
        give_path(&mut base.config.config.env);
        let mut stage = Stage::new(self, planned.index, name.clone(), &base, platform);
        self.events.step_finished(&info, &stage.id());
        stage.run_triggers(first, source.location.line).await?;
        for (number, step) in (first + 1..).zip(&source.steps) {
            stage.run_step(number, step).await?;
        }
        Ok(stage.snapshot())
    }

    /// An image by its name or id, pulled when it is not here.
    pub(super) async fn image(&self, text: &str, platform: &Platform) -> Result<Snapshot, StepError> {
        let scope = &self.request.scope;
        if text.starts_with("sha256:") {
            let found = self.images.find_by_id(scope, text).await;
            let image = found
                .map_err(|source| StepError::Images { source })?
                .ok_or_else(|| StepError::NoImage { id: text.to_owned() })?;
            return Ok(Snapshot::of(image.config, image.layers));
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
        Ok(Snapshot::of(pulled.image.config, pulled.image.layers))
    }
}

/// What `FROM scratch` begins with.
fn nothing(platform: &Platform) -> Snapshot {
    let mut config = ImageConfig::new(platform);
    config.config.working_dir = "/".to_owned();
    Snapshot::of(config, Vec::new())
}

/// Every image has a `PATH`, so that `ENV PATH=/own:$PATH` adds to the usual one and does not replace it.
fn give_path(env: &mut Vec<String>) {
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
}

/// What the builder's own client may reach, of what steps may.
struct Both(Arc<dyn EgressPolicy>, Egress);

impl EgressPolicy for Both {
    fn permits(&self, address: SocketAddr) -> bool {
        self.0.permits(address) && self.1.permits(address)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("store", self.store.id())
            .finish_non_exhaustive()
    }
}
