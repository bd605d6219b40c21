//! One job from its payload to its outcome, as a walk through stages.
//!
//! The stages, their order and what follows which failure are GitLab's: a script that fails or is canceled is still
//! followed by `after_script`, a job that took too long is not; artifacts are kept by how the script ended, also after an order to
//! stop; nothing a later stage does repairs an earlier failure. Whatever happens, the pod is closed last, and with it everything the
//! job started or wrote.
//!
//! A stage that is told to stop is dropped where it stands. That is safe because everything it has begun lives in the
//! pod, or in a directory on the machine that is removed when no thread works in it any more.

mod bounds;
mod claim;
mod configured;
mod fetch;
mod on_machine;
mod prepare;
mod setup;
mod state;
mod workplace;

pub use claim::{DeadJobs, JobClaim, JobMarks, disarm_dead_jobs, forget_dead_jobs};
pub use prepare::host_name;
pub(crate) use workplace::Workplace;

use crate::artifacts::{self, Kept};
use crate::builds::BUILDS;
use crate::cache;
use crate::configuration::Executor;
use crate::outcome::{JobError, JobOutcome, JobStatus};
use crate::script::ScriptSource;
use crate::variables::Variables;
use crate::{ArtifactStore, CacheStore, Cancellation, RunnerContext, Sources, Stage, Trace};
use bounds::Bounds;
use on_machine::{OwnDirectory, PlannedDirectory};
use shipway_container::{ExcessSignal, Pod};
use shipway_oci::with_causes;
use shipway_pipeline::job::{JobPayload, Step};
use state::State;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What `after_script` may take of the job's time where the job does not say.
const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The variables by which a job bounds its own scripts.
const SCRIPT_LIMIT: &str = "RUNNER_SCRIPT_TIMEOUT";
const AFTER_SCRIPT_LIMIT: &str = "RUNNER_AFTER_SCRIPT_TIMEOUT";
/// The step that runs after the others, whatever became of them.
const AFTER_SCRIPT: &str = "after_script";

/// What a job is run with, besides the runner's context.
pub struct JobRun<'a> {
    /// The job.
    pub payload: &'a JobPayload,
    /// What marks it as running. It ends with the job, and with it what the job's token is good for.
    pub claim: JobClaim,
    /// The project's files.
    pub sources: Arc<dyn Sources>,
    /// Where earlier jobs left theirs, and this one leaves its own.
    pub artifacts: &'a dyn ArtifactStore,
    /// Where earlier pipelines left theirs; without one the job's `cache` is passed over.
    pub caches: Option<&'a dyn CacheStore>,
    /// Where it is told.
    pub trace: &'a Trace,
    /// How it is stopped.
    pub cancellation: &'a Cancellation,
}

/// Runs a job. Never fails: what goes wrong is the job's outcome, and said in its trace.
pub async fn run_job(context: &RunnerContext, run: JobRun<'_>) -> JobOutcome {
    let began = Instant::now();
    let (trace, cancellation) = (run.trace.clone(), run.cancellation.clone());
    let excess = ExcessSignal::default();
    let mut job = Job::new(context, run, excess.clone());
    let verdict = tokio::select! {
        biased;
        // Before what follows from it: the pod is gone by then.
        source = excess.told() => Err(JobError::Excess { source }),
        verdict = job.walk() => verdict,
        () = cancellation.aborted() => Err(JobError::Canceled),
    };
    job.clean_up().await;
    let Job {
        run, kept, differs, ..
    } = job;
    prepare::forget(context, run.claim).await;
    let status = verdict
        .as_ref()
        .map_or_else(JobError::status, |()| JobStatus::Success);
    match &status {
        JobStatus::Success => trace.good("Job succeeded"),
        JobStatus::Failed { message, .. } => {
            trace.error(format!("Job failed: {message}"));
            if let Some(hint) = verdict.as_ref().err().and_then(JobError::hint) {
                trace.say(format!("Hint: {hint}"));
            }
        }
        JobStatus::Canceled => trace.error("Job failed: canceled"),
    }
    let trace_failure = trace.finish().err().map(|error| error.to_string());
    let Kept { dotenv, archive } = kept;
    JobOutcome {
        status,
        duration: began.elapsed(),
        dotenv,
        artifacts: archive,
        differs,
        trace_failure,
    }
}

/// A job on its way.
struct Job<'a> {
    context: &'a RunnerContext,
    run: JobRun<'a>,
    variables: Variables,
    bounds: Bounds<'a>,
    stage: Option<Stage>,
    /// Of the shell executor, until it is made.
    planned: Option<PlannedDirectory>,
    directory: Option<OwnDirectory>,
    pod: Option<Pod>,
    excess: ExcessSignal,
    workplace: Option<Workplace>,
    kept: Kept,
    differs: bool,
}

impl<'a> Job<'a> {
    fn new(context: &'a RunnerContext, run: JobRun<'a>, excess: ExcessSignal) -> Self {
        let bounds = Bounds::begin(run.payload.runner_info.timeout, run.cancellation);
        let planned = match context.settings.executor {
            Executor::Container => None,
            Executor::Shell => Some(PlannedDirectory::new(context)),
        };
        let builds = planned.as_ref().map_or(Path::new(BUILDS), PlannedDirectory::path);
        let variables = prepare::variables(context, run.payload, bounds.limit(), builds);
        let mut secrets = variables.secrets();
        secrets.push(run.payload.token.clone());
        secrets.extend(
            run.payload
                .credentials
                .iter()
                .map(|credential| credential.password.clone()),
        );
        run.trace.mask(secrets);
        let kept = Kept::default();
        Self {
            context,
            run,
            variables,
            bounds,
            stage: None,
            planned,
            directory: None,
            pod: None,
            excess,
            workplace: None,
            kept,
            differs: false,
        }
    }

    async fn walk(&mut self) -> Result<(), JobError> {
        let mut state = State::Prepare;
        loop {
            state = match state {
                State::Prepare => state.after(self.prepare().await),
                State::Fetch => state.after(self.fetch().await),
                State::Script => state.after(self.script().await),
                State::AfterScript(verdict) => State::Keep(self.after_script(verdict).await),
                State::Keep(verdict) => State::Ended(self.keep(verdict).await),
                State::Ended(verdict) => return verdict,
            };
        }
    }

    /// The project's files and what earlier jobs left.
    async fn fetch(&mut self) -> Result<(), JobError> {
        self.begin(Stage::GetSources);
        let trace = self.run.trace.clone();
        let Some(workplace) = &mut self.workplace else {
            return Err(JobError::Canceled);
        };
        if !self.run.payload.hooks.is_empty() {
            trace.warn("hooks are not run: the sources are not fetched by a script here");
        }
        self.differs = fetch::report(workplace.take_fetched(), &trace)?;
        if let (false, Some(caches)) = (self.run.payload.cache.is_empty(), self.run.caches) {
            begin(&mut self.stage, &trace, Stage::RestoreCache);
            let restoring = cache::restore(
                workplace.builds(),
                self.run.payload,
                &self.variables,
                caches,
                &trace,
            );
            self.bounds.within(restoring).await?;
        }
        let dependencies = &self.run.payload.dependencies;
        if !dependencies.is_empty() {
            begin(&mut self.stage, &trace, Stage::DownloadArtifacts);
            let restoring = artifacts::restore(workplace.builds(), dependencies, self.run.artifacts, &trace);
            self.bounds.within(restoring).await?;
        }
        Ok(())
    }

    /// `before_script` and `script`.
    async fn script(&mut self) -> Result<(), JobError> {
        self.begin(Stage::StepScript);
        let steps: Vec<&Step> = self
            .run
            .payload
            .steps
            .iter()
            .filter(|step| step.name != AFTER_SCRIPT)
            .collect();
        let own = self.own_limit(SCRIPT_LIMIT);
        let mut stop = std::pin::pin!(self.bounds.reached_by_script(own));
        for step in steps {
            let verdict = self.run_step(step, &mut stop).await;
            if verdict.is_err() && !(step.allow_failure && matches!(verdict, Err(JobError::Script { .. }))) {
                return verdict;
            }
        }
        Ok(())
    }

    /// What a variable of the job allows a script; one that makes no sense is said and passed over.
    fn own_limit(&self, name: &str) -> Option<Duration> {
        bounds::own_limit(name, self.variables.get(name)).unwrap_or_else(|problem| {
            self.run.trace.warn(problem);
            None
        })
    }

    /// `after_script`: another shell, its own time, and no say in how the job ended unless the job wants it so.
    async fn after_script(&mut self, verdict: Result<(), JobError>) -> Result<(), JobError> {
        let Some(step) = self
            .run
            .payload
            .steps
            .iter()
            .find(|step| step.name == AFTER_SCRIPT)
        else {
            return verdict;
        };
        self.begin(Stage::AfterScript);
        let status = verdict
            .as_ref()
            .map_or_else(JobError::status, |()| JobStatus::Success);
        self.variables.set("CI_JOB_STATUS", status.as_str());
        let own = self.own_limit(AFTER_SCRIPT_LIMIT).unwrap_or(AFTER_SCRIPT_TIMEOUT);
        let stop = self.bounds.over_for_script(own);
        match self.run_step(step, stop).await {
            // The job's time is over, whatever its script came to.
            Err(error @ JobError::Timeout { .. }) => Err(error),
            Err(error)
                if verdict.is_ok()
                    && self.variables.get("AFTER_SCRIPT_IGNORE_ERRORS").as_deref() == Some("false") =>
            {
                Err(error)
            }
            Err(error) => {
                self.run.trace.warn(format!(
                    "after_script failed, but the job goes on unaffected: {error}"
                ));
                verdict
            }
            Ok(()) => verdict,
        }
    }

    /// Artifacts, by how the script ended.
    async fn keep(&mut self, verdict: Result<(), JobError>) -> Result<(), JobError> {
        let status = verdict
            .as_ref()
            .map_or_else(JobError::status, |()| JobStatus::Success);
        // No time is left to keep anything.
        if matches!(verdict, Err(JobError::Timeout { .. })) {
            return verdict;
        }
        let Some(workplace) = &self.workplace else {
            return verdict;
        };
        let JobRun {
            payload,
            artifacts: store,
            caches,
            trace,
            ..
        } = &self.run;
        let (bounds, builds) = (self.bounds, workplace.builds());
        let success = status == JobStatus::Success;
        if let Some(caches) = caches
            && cache::due(payload, &self.variables, &status)
        {
            begin(&mut self.stage, trace, Stage::ArchiveCache);
            let keeping = cache::keep(builds, payload, &self.variables, &status, *caches, trace);
            if let Err(error) = bounds.in_time(keeping).await {
                return after(verdict, error, trace);
            }
        }
        if artifacts::due(payload, &status) {
            let stage = if success {
                Stage::UploadArtifactsOnSuccess
            } else {
                Stage::UploadArtifactsOnFailure
            };
            begin(&mut self.stage, trace, stage);
            let keeping = artifacts::keep(builds, payload, &self.variables, &status, *store, trace);
            match bounds.in_time(keeping).await {
                Ok(kept) => self.kept = kept,
                Err(error) => return after(verdict, error, trace),
            }
        }
        verdict
    }

    async fn run_step(&self, step: &Step, stop: impl Future<Output = JobError>) -> Result<(), JobError> {
        let Some(workplace) = &self.workplace else {
            return Err(JobError::Canceled);
        };
        let environment = self
            .variables
            .script_environment(&workplace.builds().project_directory());
        let settings = &self.context.settings;
        let around = |script: &Option<String>| script.clone().filter(|_| step.name != AFTER_SCRIPT);
        let commands: Vec<String> = around(&settings.pre_build_script)
            .into_iter()
            .chain(step.script.iter().cloned())
            .chain(around(&settings.post_build_script))
            .collect();
        let script = ScriptSource {
            environment: &environment,
            commands: &commands,
        }
        .text();
        workplace.run(script, self.run.trace, stop).await
    }

    /// Everything the job started ends here, in an order in which nothing outlives what it needs.
    async fn clean_up(&mut self) {
        self.begin(Stage::CleanupFileVariables);
        if let Some(workplace) = self.workplace.take() {
            workplace.close().await;
        }
        if let Some(pod) = self.pod.take() {
            pod.close().await;
        }
        if let Some(directory) = self.directory.take() {
            directory.remove().await;
        }
        if let Some(stage) = self.stage.take() {
            self.run.trace.end(stage);
        }
    }

    fn begin(&mut self, stage: Stage) {
        begin(&mut self.stage, self.run.trace, stage);
    }
}

/// The script's failure is the job's; a failure after it only adds to it.
fn after(verdict: Result<(), JobError>, error: JobError, trace: &Trace) -> Result<(), JobError> {
    if verdict.is_ok() {
        return Err(error);
    }
    trace.error(with_causes(&error));
    verdict
}

/// Ends the stage before and begins the next.
fn begin(current: &mut Option<Stage>, trace: &Trace, stage: Stage) {
    if let Some(before) = current.replace(stage) {
        trace.end(before);
    }
    trace.begin(stage);
}
