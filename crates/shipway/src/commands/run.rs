//! `shipway run`: the pipeline of `.gitlab-ci.yml`, on this machine, images included.
//!
//! This file leads from the arguments to a plan; `drive` runs it, `view` shows it. What a pipeline means is decided in
//! the pipeline crate, what a job does in the runner's.

mod cache_keys;
mod doubt;
mod drive;
mod files;
mod git;
mod interrupt;
mod numbers;
mod origin;
mod plan;
mod runner;
mod selection;
mod situation;
mod summary;
mod turns;
mod variables;
mod view;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use shipway_build::Builder;
use shipway_container::Leftovers;
use shipway_oci::RegistryName;
use shipway_pipeline::{Compiled, RefKind, Situation, parse_duration};
use shipway_registry::client::RegistryCredentials;
use shipway_runner::configuration::{Executor, RunnerSettings};
use shipway_runner::retention::{self, Caches, Extent, PipelineClaim, PipelineOf, Retention};
use shipway_runner::{
    ArtifactDirectory, CacheDirectory, Containers, DeadJobs, HostCredentials, ImageFreshness, NoContainers,
    RunnerContext, Substitution, WorkTree, disarm_dead_jobs,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;

use crate::credentials::DockerCredentials;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;
use drive::{Drive, HISTORY};
pub(super) use git::WorkTreeFacts;
use origin::Claim;
pub(super) use plan::{PlanArguments, show};
use selection::Selection;

/// How long the end of a run waits for what is left of dead jobs to go.
const SWEEP_PATIENCE: Duration = Duration::from_secs(60);
/// The image of a job that names none.
const DEFAULT_IMAGE: &str = "alpine:latest";

/// Run the pipeline of .gitlab-ci.yml on this machine
///
/// Jobs see the tracked files as they are on disk, committed or not. Docker services are replaced by Shipway's own
/// engine; images that jobs push are kept here and served by `shipway serve`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Run only these jobs and those that their `needs` name; manual jobs run when they are named here
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    plan: PlanArguments,
    /// How many jobs run at once [default: the number of processors]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<usize>,
    /// How long a job may run that does not say, such as `90m` or `2h 30m`; a bare number is seconds
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    timeout: String,
    /// Refuse jobs that ask for a Docker service instead of giving them Shipway's engine
    #[arg(long)]
    no_substitute: bool,
    /// Work as the runner of this config.toml of gitlab-runner would
    #[arg(short = 'c', long, value_name = "FILE")]
    runner_config: Option<PathBuf>,
    /// Which `[[runners]]` section of it, by its name
    #[arg(long, value_name = "NAME", requires = "runner_config")]
    runner: Option<String>,
    /// How jobs are run: `docker`, each in a container of its own, or `shell`, by your own shell and without any
    /// isolation [default: docker, or what the configuration of the runner says]
    #[arg(long, value_name = "EXECUTOR", conflicts_with = "runner_config")]
    executor: Option<runner::ExecutorName>,
    /// Take this repository for the project of its path, although that was first run from elsewhere: both share caches,
    /// images and rights
    #[arg(long)]
    same_project: bool,
    /// Print what happens as lines of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the pipeline.
pub(crate) async fn execute(
    arguments: RunArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let timeout = timeout(&arguments.timeout)?;
    let runner = match &arguments.runner_config {
        None => None,
        Some(file) => Some(runner::choose(file, arguments.runner.as_deref())?),
    };
    let concurrency = match &runner {
        Some(runner) if arguments.concurrency.is_none() => runner.concurrency,
        _ => concurrency(arguments.concurrency)?,
    };
    let settings = match (runner, arguments.executor) {
        (Some(runner), _) => runner.settings,
        (None, executor) => RunnerSettings {
            executor: executor.map(Into::into).unwrap_or_default(),
            ..RunnerSettings::default()
        },
    };
    let directory = std::env::current_dir()
        .map_err(|error| Failure::caused(FailureKind::Place, "finding the current directory", &error))?;
    let facts = WorkTreeFacts::read(&directory)?;
    let number = numbers::take(&installation.data, 1)?;
    let compiled = plan(&arguments, &facts, number, &installation.registry_name)?;
    let doubt = doubt::doubt(&facts, &settings, &compiled.pipeline, |protected| {
        let compiled = arguments
            .plan
            .compile(protected, number, &installation.registry_name);
        Some(compiled.ok()?.ok()?.pipeline)
    });
    let selection = Selection::of(compiled, &arguments.jobs)?;
    for warning in selection.warnings().chain(doubt) {
        screen::warning(&warning);
    }
    let manner = Manner {
        settings,
        timeout,
        concurrency,
    };
    prepare_and_drive(&arguments, manner, installation, facts, selection).await
}

/// How jobs are run: by which settings, for how long and how many at once.
struct Manner {
    settings: RunnerSettings,
    timeout: Duration,
    concurrency: usize,
}

fn timeout(text: &str) -> Result<Duration, Failure> {
    let hint = "a number and a unit, such as `45s`, `90m` or `2h 30m`";
    let timeout = parse_duration(text)
        .map_err(|error| Failure::caused(FailureKind::Use, "the argument --timeout", &error).hint(hint))?;
    if timeout.is_zero() {
        let message = "the argument --timeout leaves jobs no time";
        return Err(Failure::new(FailureKind::Use, message).hint(hint));
    }
    Ok(timeout)
}

fn concurrency(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        Some(0) => Err(
            Failure::new(FailureKind::Use, "with --concurrency 0 no job could run")
                .hint("give 1 or more, or leave it out for one job on each processor"),
        ),
        Some(number) => Ok(number),
    }
}

async fn prepare_and_drive(
    arguments: &RunArguments,
    manner: Manner,
    installation: Installation,
    facts: WorkTreeFacts,
    selection: Selection,
) -> Result<ExitCode, Failure> {
    let digests = cache_keys::digests(&facts.root, selection.pipeline())?;
    // What never runs takes no path.
    let claim = if arguments.same_project {
        Claim::Same
    } else {
        Claim::Unsaid
    };
    origin::admit(&installation.data, &facts.project_path, &facts.origin, claim)?;
    let pushes = Arc::new(summary::Pushes::default());
    let installation = installation.observed(pushes.clone())?;
    let number = selection.pipeline().situation.pipeline.id;
    let place =
        |what: &'static str| move |error: std::io::Error| Failure::caused(FailureKind::Place, what, &error);
    let of = PipelineOf {
        project: facts.project_path.clone(),
        reference: reference(&selection.pipeline().situation),
    };
    let extent = if arguments.jobs.is_empty() {
        Extent::Whole
    } else {
        Extent::NamedJobs
    };
    let record = PipelineClaim::take(&installation.data, number, of, extent)
        .map_err(place("making the record of the pipeline"))?;
    let data = installation.data.clone();
    let (store, limits) = (installation.store.clone(), installation.settings.cache.clone());
    // Beside the jobs: it costs only room.
    tokio::task::spawn_blocking(move || {
        retention::expire(&data, &Retention::default(), Caches::Unused, false);
        super::cache::keep_within(&store, None, &limits);
    });
    let traces = installation.data.join("traces").join(number.to_string());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&traces)
        .map_err(place("making the directory for the traces"))?;
    let artifacts = ArtifactDirectory::open(installation.data.join("artifacts").join(number.to_string()))
        .map_err(place("making the directory for artifacts"))?;
    let caches = CacheDirectory::open(installation.data.join("caches"))
        .map_err(place("making the directory for caches"))?;
    let histories = installation.data.join("histories");
    let sources = WorkTree::new(&facts.root, HISTORY, &facts.remote_url, histories);
    let context = context(arguments, manner.settings, &installation).await?;
    let view = view::choose(
        arguments.json,
        selection
            .pipeline()
            .jobs
            .iter()
            .map(|job| job.name.as_str().len()),
    );
    let drive = Drive {
        context,
        access: installation.access.clone(),
        data: installation.data.clone(),
        artifacts,
        caches,
        sources: Arc::new(sources),
        digests,
        traces,
        timeout: manner.timeout,
        concurrency: manner.concurrency,
        listen: installation.settings.registry.listen,
        pushes,
        view,
        record,
    };
    let forgetting = sweep(&installation).await;
    let enough = interrupt::asked_to_end(SWEEP_PATIENCE);
    let (ended, is_swept) = with_sweep(drive.run(selection), forgetting, enough).await;
    if !is_swept {
        screen::warning(
            "image names of jobs that were killed are still there; the next run goes on removing them",
        );
    }
    ended
}

/// Does the work of a run beside the sweep, and then waits for what is left of that until it is enough: a process that ends
/// would leave it to the next one, and short runs would never get anywhere. Says whether it came to its end.
async fn with_sweep<T>(
    work: impl Future<Output = T>,
    forgetting: JoinHandle<()>,
    enough: impl Future<Output = ()>,
) -> (T, bool) {
    let ended = work.await;
    tokio::select! {
        _ = forgetting => (ended, true),
        () = enough => (ended, false),
    }
}

/// Takes from jobs whose process died what they could do harm with, and begins to remove the rest, which costs only room.
async fn sweep(installation: &Installation) -> JoinHandle<()> {
    let (data, store) = (installation.data.clone(), installation.store.clone());
    let disarming = tokio::task::spawn_blocking(move || disarm_dead_jobs(&data, &store));
    let dead = disarming.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "what killed jobs left was not looked for");
        DeadJobs::default()
    });
    let store = installation.store.clone();
    tokio::task::spawn_blocking(move || dead.forget(&store))
}

/// What a pipeline is for: a branch, a tag or a merge request, as git names them, so that none is taken for another.
fn reference(situation: &Situation) -> String {
    if let Some(request) = &situation.merge_request {
        return format!("refs/merge-requests/{}", request.iid);
    }
    match situation.ref_kind {
        RefKind::Branch => format!("refs/heads/{}", situation.ref_name),
        RefKind::Tag => format!("refs/tags/{}", situation.ref_name),
    }
}

/// Compiles the file; what is wrong with it is shown with its place.
fn plan(
    arguments: &RunArguments,
    facts: &WorkTreeFacts,
    number: u64,
    registry: &RegistryName,
) -> Result<Compiled, Failure> {
    let file = &arguments.plan.file;
    match arguments.plan.compile(facts, number, registry)? {
        Ok(compiled) => {
            if arguments.json && !compiled.warnings.is_empty() {
                view::tell_diagnostics(file, true, &compiled.warnings);
            }
            show(&compiled.warnings);
            Ok(compiled)
        }
        Err(diagnostics) => {
            if arguments.json {
                view::tell_diagnostics(file, false, &diagnostics);
            }
            show(&diagnostics);
            Err(Failure::new(
                FailureKind::Use,
                format!("`{file}` gives no pipeline"),
            ))
        }
    }
}

async fn context(
    arguments: &RunArguments,
    settings: RunnerSettings,
    installation: &Installation,
) -> Result<RunnerContext, Failure> {
    // What is fetched for a job obeys what the job itself obeys.
    let client = installation.job_client()?;
    let runtime = match settings.executor {
        Executor::Container => Ok(installation.runtime(client.clone()).await?),
        Executor::Shell => installation.find_runtime(client.clone(), Leftovers::Sweep).await,
    };
    Ok(RunnerContext {
        containers: runtime
            .map(|runtime| Containers {
                builder: Builder::new(runtime.clone(), installation.store.clone(), client.clone()),
                runtime,
            })
            .map_err(|missing| NoContainers {
                source: missing.into(),
            }),
        data: installation.data.clone(),
        store: installation.store.clone(),
        client,
        egress: installation.egress.clone(),
        authority: installation.authority.clone(),
        registry_name: installation.registry_name.clone(),
        certificates: Arc::new(installation.certificate_authority()?),
        credentials: Arc::new(UserCredentials(DockerCredentials::of_this_user())),
        substitution: if arguments.no_substitute {
            Substitution::Refuse
        } else {
            Substitution::Engine
        },
        freshness: ImageFreshness::IfNotPresent,
        default_image: settings
            .docker
            .image
            .clone()
            .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        settings,
    })
}

/// The credentials of who runs this.
struct UserCredentials(DockerCredentials);

impl HostCredentials for UserCredentials {
    fn find(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        self.0.find(registry)
    }

    fn ask_helper(&self, helper: &str, registry: &RegistryName) -> Option<RegistryCredentials> {
        DockerCredentials::from_helper(helper, registry)
    }
}

/// The moment, as GitLab writes it.
fn now() -> String {
    OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .ok()
        .and_then(|now| now.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{concurrency, timeout, with_sweep};
    use std::future::{pending, ready};
    use std::time::Duration;

    #[test]
    fn wrong_numbers_are_refused_with_a_hint() {
        assert_eq!(timeout("2h 30m").unwrap(), Duration::from_secs(9000));
        for wrong in ["5x", "", "0"] {
            let said = format!("{:?}", timeout(wrong).unwrap_err());
            assert!(said.contains("Use") && said.contains("`90m`"), "{said}");
        }
        assert_eq!(concurrency(Some(3)).unwrap(), 3);
        assert!(concurrency(None).unwrap() > 0);
        let said = format!("{:?}", concurrency(Some(0)).unwrap_err());
        assert!(said.contains("Use") && said.contains("1 or more"), "{said}");
    }

    #[tokio::test]
    async fn a_run_ends_when_the_sweep_has_ended_or_takes_too_long() {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let sweep = tokio::spawn(async { drop(released.await) });
        let mut run = std::pin::pin!(with_sweep(ready(7), sweep, pending()));
        assert!(
            futures::poll!(&mut run).is_pending(),
            "the sweep is not waited for"
        );
        release.send(()).unwrap();
        assert_eq!(run.await, (7, true));

        let endless = tokio::spawn(pending());
        assert_eq!(with_sweep(ready(7), endless, ready(())).await, (7, false));
    }
}
