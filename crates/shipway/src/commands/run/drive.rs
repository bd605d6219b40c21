//! A pipeline from its plan to its end: starts what the schedule allows, tells it what happened, until nothing is left.
//!
//! One loop owns the schedule; jobs run as tasks that know nothing of each other. What a job leaves for later ones
//! (variables, archives) is handed over here, by job, because only the pipeline knows who may have it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use shipway_access::Access;
use shipway_oci::{RepositoryName, with_causes};
use shipway_pipeline::job::{ArtifactsFile, Dependency, FileDigests, JobPayload, PayloadFacts, RunnerFacts};
use shipway_pipeline::schedule::{JobResult, Schedule, ScheduleError, Status};
use shipway_pipeline::variables::{Variable, slug};
use shipway_pipeline::{JobName, Pipeline};
use shipway_runner::retention::PipelineClaim;
use shipway_runner::{
    ArtifactDirectory, CacheDirectory, Cancellation, FailureReason, JobClaim, JobOutcome, JobRun, JobStatus,
    JobToken, RunnerContext, Trace, WorkTree, run_job,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::interrupt::Interrupts;
use super::selection::Selection;
use super::summary::{JobLine, Pushes, Summary};
use super::turns::{PATIENCE, Turn};
use super::view::{JobEnd, JobLabel, JobListener, View, brief};
use super::{now, numbers};
use crate::failure::{Failure, FailureKind};

/// How much history jobs get, as new projects on GitLab have it.
pub(super) const HISTORY: u32 = 20;

/// What pipelines are run with.
pub(super) struct Drive {
    pub(super) context: RunnerContext,
    pub(super) access: Access,
    pub(super) data: PathBuf,
    pub(super) artifacts: ArtifactDirectory,
    pub(super) caches: CacheDirectory,
    pub(super) sources: Arc<WorkTree>,
    pub(super) digests: FileDigests,
    pub(super) traces: PathBuf,
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) listen: SocketAddr,
    pub(super) pushes: Arc<Pushes>,
    pub(super) view: Arc<dyn View>,
    /// Of this pipeline, for those who later remove what it leaves.
    pub(super) record: PipelineClaim,
}

/// What a finished job has for later ones.
struct Left {
    number: u64,
    archive: bool,
    dotenv: Vec<Variable>,
}

/// A job that ended.
struct Ended {
    name: JobName,
    label: JobLabel,
    /// Where its trace is, if it has one.
    trace: Option<PathBuf>,
    outcome: JobOutcome,
}

/// What the summary says of a job that ran.
struct Told {
    failure: Option<String>,
    trace: Option<PathBuf>,
}

/// A pipeline on its way.
struct Course {
    drive: Arc<Drive>,
    pipeline: Arc<Pipeline>,
    project: RepositoryName,
    schedule: Schedule,
    running: JoinSet<Ended>,
    stops: HashMap<JobName, Cancellation>,
    left: HashMap<JobName, Left>,
    /// Jobs that left an archive, by their numbers: one that was tried again has several.
    archives: BTreeMap<u64, String>,
    told: HashMap<JobName, Told>,
    due: HashMap<JobName, Instant>,
    /// Turns that jobs of resource groups have.
    turns: HashMap<JobName, Turn>,
    /// Jobs whose turn another run has.
    waiting: HashSet<JobName>,
    cancellation: Cancellation,
}

impl Drive {
    /// Runs the jobs of a selection.
    pub(super) async fn run(self, selection: Selection) -> Result<ExitCode, Failure> {
        let began = Instant::now();
        let pipeline = Arc::new(selection.into_pipeline());
        let path = pipeline.situation.project.path.to_ascii_lowercase();
        let project = path.parse().map_err(|error| {
            Failure::caused(
                FailureKind::Use,
                &format!("the project's path `{path}` as an image name"),
                &error,
            )
        })?;
        let cancellation = Cancellation::default();
        let interrupts = Interrupts::listen(cancellation.clone(), self.view.clone())?;
        let mut course = Course {
            schedule: Schedule::new(&pipeline),
            drive: Arc::new(self),
            pipeline,
            project,
            running: JoinSet::new(),
            stops: HashMap::new(),
            left: HashMap::new(),
            archives: BTreeMap::new(),
            told: HashMap::new(),
            due: HashMap::new(),
            turns: HashMap::new(),
            waiting: HashSet::new(),
            cancellation,
        };
        course.drive.view.started(&course.pipeline);
        course.follow().await?;
        let asked_to_end = interrupts.code();
        drop(interrupts);
        Ok(course.conclude(began.elapsed(), asked_to_end))
    }

    /// One job, from its number to its outcome. A job that cannot even be described fails as one.
    async fn run_one(
        self: Arc<Self>,
        payload: JobPayload,
        label: JobLabel,
        claim: JobClaim,
        token: JobToken,
        cancellation: Cancellation,
    ) -> (Option<PathBuf>, JobOutcome) {
        let path = self
            .traces
            .join(format!("{}-{}.log", label.id, slug(&label.name)));
        let listener = Arc::new(JobListener {
            view: self.view.clone(),
            job: label,
        });
        let (trace, outcome) = match File::create(&path) {
            Ok(file) => {
                let trace = Trace::new(file, vec![listener]);
                let run = JobRun {
                    payload: &payload,
                    claim,
                    sources: self.sources.clone(),
                    artifacts: &self.artifacts,
                    caches: Some(&self.caches),
                    trace: &trace,
                    cancellation: &cancellation,
                };
                let outcome = run_job(&self.context, run).await;
                (Some(path), outcome)
            }
            Err(error) => {
                let message = format!("the trace `{}` cannot be written: {error}", path.display());
                (None, broken(message))
            }
        };
        drop(token);
        (trace, outcome)
    }
}

impl Course {
    async fn follow(&mut self) -> Result<(), Failure> {
        let (mut canceled, cancellation) = (false, self.cancellation.clone());
        loop {
            if !canceled {
                self.start_what_may().await?;
            }
            if self.running.is_empty() && (canceled || self.schedule.is_settled()) {
                return Ok(());
            }
            let next_due = self.due.values().min().copied();
            tokio::select! {
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    let ended = ended.map_err(|error| Failure::caused(FailureKind::Internal, "running a job", &error))?;
                    self.take(ended)?;
                }
                () = sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => self.ripen()?,
                () = sleep(PATIENCE), if !canceled && !self.waiting.is_empty() => {}
                () = cancellation.cancelled(), if !canceled => {
                    canceled = true;
                    self.schedule.cancel_all();
                }
            }
        }
    }

    async fn start_what_may(&mut self) -> Result<(), Failure> {
        for (name, wait) in self.schedule.delayed() {
            self.due.entry(name).or_insert_with(|| Instant::now() + wait);
        }
        for name in self.schedule.startable() {
            if self.running.len() >= self.drive.concurrency {
                break;
            }
            if !self.has_turn(&name)? {
                continue;
            }
            self.schedule
                .started(&name)
                .map_err(|error| broken_schedule(&error))?;
            self.start(name).await?;
        }
        Ok(())
    }

    /// Takes the turn that a job of a resource group needs; false while another run has it.
    fn has_turn(&mut self, name: &JobName) -> Result<bool, Failure> {
        let job = self.pipeline.job(name);
        let Some(group) = job.and_then(|job| job.resource_group.as_deref()) else {
            return Ok(true);
        };
        let taken = Turn::take(&self.drive.data, self.project.as_str(), group).map_err(|error| {
            Failure::caused(FailureKind::Place, "taking the turn of a resource group", &error)
        })?;
        if let Some(turn) = taken {
            self.waiting.remove(name);
            self.turns.insert(name.clone(), turn);
            return Ok(true);
        }
        if self.waiting.insert(name.clone()) {
            let note = format!("{name} waits: another run has the resource group `{group}`");
            self.drive.view.note(&note);
        }
        Ok(false)
    }

    /// The time of a delayed job has come.
    fn ripen(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let ripe: Vec<JobName> = self
            .due
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in ripe {
            self.due.remove(&name);
            // Somebody may have ended it meanwhile.
            if self.schedule.job_status(&name) == Some(Status::Scheduled) {
                self.schedule
                    .due(&name)
                    .map_err(|error| broken_schedule(&error))?;
            }
        }
        Ok(())
    }

    async fn start(&mut self, name: JobName) -> Result<(), Failure> {
        let claim = claim(self.drive.data.clone()).await?;
        let number = claim.job();
        let stage = self
            .pipeline
            .job(&name)
            .map(|job| job.stage.to_string())
            .unwrap_or_default();
        let label = JobLabel {
            id: number,
            name: name.to_string(),
            stage,
        };
        let lifetime = self
            .pipeline
            .job(&name)
            .and_then(|job| job.timeout)
            .unwrap_or(self.drive.timeout);
        let token = JobToken::issue(&self.drive.access, &self.project, &claim, lifetime)
            .map_err(|error| Failure::caused(FailureKind::Internal, "making a job's token", &*error))?;
        let facts = self.payload_facts(&name, number, &token);
        self.drive.view.job_started(&label);
        let stop = self.cancellation.child();
        let payload = self.pipeline.payload(&name, &facts);
        let drive = self.drive.clone();
        self.stops.insert(name.clone(), stop.clone());
        self.running.spawn(async move {
            let (trace, outcome) = match payload {
                Ok(payload) => drive.run_one(payload, label.clone(), claim, token, stop).await,
                Err(error) => (None, broken(with_causes(&error))),
            };
            Ended {
                name,
                label,
                trace,
                outcome,
            }
        });
        Ok(())
    }

    fn payload_facts(&self, name: &JobName, number: u64, token: &JobToken) -> PayloadFacts {
        let sources = self.pipeline.artifact_sources(name);
        let left: Vec<(&JobName, &Left)> = sources
            .into_iter()
            .filter_map(|source| Some((source, self.left.get(source)?)))
            .collect();
        let dependencies = left
            .iter()
            .filter(|(_, left)| left.archive)
            .map(|(source, left)| Dependency {
                id: left.number,
                name: source.to_string(),
                artifacts_file: Some(ArtifactsFile {
                    filename: "artifacts.tar".to_owned(),
                    size: 0,
                }),
                ..Dependency::default()
            });
        PayloadFacts {
            job_id: number,
            token: token.secret().expose().to_owned(),
            depth: u64::from(HISTORY),
            started_at: now(),
            timeout: Some(self.drive.timeout),
            runner: RunnerFacts {
                id: 1,
                description: "shipway run".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..RunnerFacts::default()
            },
            dependencies: dependencies.collect(),
            dotenv: left.iter().flat_map(|(_, left)| left.dotenv.clone()).collect(),
            file_digests: self.drive.digests.clone(),
            ..PayloadFacts::default()
        }
    }

    fn take(&mut self, ended: Ended) -> Result<(), Failure> {
        let Ended {
            name,
            label,
            trace,
            outcome,
        } = ended;
        self.stops.remove(&name);
        self.turns.remove(&name);
        let result = match &outcome.status {
            JobStatus::Success => JobResult::Success,
            JobStatus::Failed {
                reason, exit_code, ..
            } => JobResult::Failed {
                reason: reason.as_str().to_owned(),
                exit_code: *exit_code,
            },
            JobStatus::Canceled => JobResult::Canceled,
        };
        match self.schedule.finished(&name, result) {
            Ok(others) => others
                .iter()
                .filter_map(|other| self.stops.get(other))
                .for_each(Cancellation::cancel),
            // It was canceled with the pipeline before it could say how it ended.
            Err(ScheduleError::WrongStatus {
                status: Status::Canceled,
                ..
            }) => {}
            Err(error) => return Err(broken_schedule(&error)),
        }
        let allowed = self.schedule.is_failure_allowed(&name);
        let end = JobEnd {
            status: &outcome.status,
            allowed,
            duration: outcome.duration,
            differs: outcome.differs,
            trace: trace.as_deref(),
            trace_failure: outcome.trace_failure.as_deref(),
        };
        self.drive.view.job_finished(&label, &end);
        if self.schedule.job_status(&name) == Some(Status::Pending) {
            self.drive.view.note(&format!("{name} is tried again"));
        }
        let failure = brief(&outcome.status);
        self.told.insert(name.clone(), Told { failure, trace });
        let dotenv = outcome
            .dotenv
            .iter()
            .map(|(key, value)| Variable::public(key, value))
            .collect();
        if outcome.artifacts {
            self.archives.insert(label.id, label.name);
        }
        self.left.insert(
            name,
            Left {
                number: label.id,
                archive: outcome.artifacts,
                dotenv,
            },
        );
        Ok(())
    }

    /// Tells how all ended; `asked_to_end` is the exit code of a run that did not succeed because a signal came.
    fn conclude(self, duration: Duration, asked_to_end: Option<ExitCode>) -> ExitCode {
        let mut told = self.told;
        let jobs = self.pipeline.jobs.iter().map(|job| {
            let status = self.schedule.job_status(&job.name).unwrap_or(Status::Created);
            let (failure, trace) = told
                .remove(&job.name)
                .map_or((None, None), |told| (told.failure, told.trace));
            JobLine {
                name: job.name.to_string(),
                status,
                allowed_failure: status == Status::Failed && self.schedule.is_failure_allowed(&job.name),
                failure,
                trace,
            }
        });
        let status = self.schedule.status();
        let summary = Summary {
            status,
            duration,
            jobs: jobs.collect(),
            images: self
                .drive
                .pushes
                .images(&self.drive.context.registry_name, self.drive.listen),
        };
        if status == Status::Success
            && let Err(error) = self.drive.record.succeeded(self.archives)
        {
            tracing::warn!(%error, "the artifacts of this pipeline are not kept as the latest of its branch");
        }
        self.drive.view.finished(&summary);
        match status {
            // What waits for somebody has not failed.
            Status::Success | Status::Manual | Status::Skipped => ExitCode::SUCCESS,
            _ => asked_to_end.unwrap_or_else(|| FailureKind::Work.code()),
        }
    }
}

/// A number for a job, marked as running. It waits for the disk, and for other runs that take one.
async fn claim(data: PathBuf) -> Result<JobClaim, Failure> {
    let claiming = tokio::task::spawn_blocking(move || {
        let number = numbers::take(&data, 1)?;
        JobClaim::take(&data, number)
            .map_err(|error| Failure::caused(FailureKind::Place, "marking a job as running", &error))
    });
    claiming
        .await
        .map_err(|error| Failure::caused(FailureKind::Internal, "marking a job as running", &error))?
}

fn broken(message: String) -> JobOutcome {
    JobOutcome {
        status: JobStatus::Failed {
            reason: FailureReason::RunnerSystemFailure,
            exit_code: None,
            message,
        },
        duration: Duration::ZERO,
        dotenv: Vec::new(),
        artifacts: false,
        differs: false,
        trace_failure: None,
    }
}

fn broken_schedule(error: &ScheduleError) -> Failure {
    Failure::caused(FailureKind::Internal, "following the pipeline", error)
}
