//! Which jobs may start: a state machine that knows neither time nor processes. Its caller reports what happens
//! ([`Schedule::started`], [`Schedule::finished`], …) and asks what may begin ([`Schedule::startable`]).
//!
//! It is GitLab's `AtomicProcessingService`: after every event all created jobs are looked at, stage by stage; a job moves
//! when what comes before it is complete, which for a job with `needs` are those jobs and for the others all earlier stages.
//!
//! Assumptions: names are those of the pipeline (others give [`ScheduleError`]); one caller drives it, so that nothing
//! happens between a question and its answer.

mod status;

use std::{collections::HashMap, time::Duration};

use crate::{
    name::{JobName, StageName},
    pipeline::{AllowFailure, OnJobFailure, Pipeline, Retry, When},
    variables::topological,
};

pub use status::Status;

use status::composite;

/// An event that does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No such job.
    #[error("the pipeline has no job `{name}`")]
    UnknownJob {
        /// Its name.
        name: JobName,
    },
    /// The job is in another state.
    #[error("job `{name}` is {status}, so it cannot be {event}")]
    WrongStatus {
        /// Its name.
        name: JobName,
        /// Its state.
        status: Status,
        /// What was reported.
        event: &'static str,
    },
}

/// How a job ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobResult {
    /// It passed.
    Success,
    /// It failed.
    Failed {
        /// GitLab's word: `script_failure`, `runner_system_failure`, …
        reason: String,
        /// Of the script.
        exit_code: Option<i32>,
    },
    /// It was stopped.
    Canceled,
}

#[derive(Clone, Debug)]
struct Entry {
    name: JobName,
    stage: usize,
    when: When,
    start_in: Option<Duration>,
    allow_failure: AllowFailure,
    /// Whether its failure is allowed, as far as known: exit codes decide at the end.
    allowed: bool,
    needs: Option<Vec<usize>>,
    retry: Retry,
    tries: u8,
    /// Somebody asked for it, so `manual` and `delayed` do not hold it back.
    asked_for: bool,
    resource_group: Option<String>,
    status: Status,
}

/// The state of a pipeline.
#[derive(Clone, Debug)]
pub struct Schedule {
    jobs: Vec<Entry>,
    index: HashMap<JobName, usize>,
    stages: Vec<(StageName, Status)>,
    /// Jobs by stage, needed ones first.
    order: Vec<usize>,
    status: Status,
    on_job_failure: OnJobFailure,
}

impl Schedule {
    /// The pipeline at its beginning: what needs nothing may start.
    pub fn new(pipeline: &Pipeline) -> Self {
        let index: HashMap<JobName, usize> = pipeline
            .jobs
            .iter()
            .enumerate()
            .map(|(place, job)| (job.name.clone(), place))
            .collect();
        let jobs: Vec<Entry> = pipeline
            .jobs
            .iter()
            .map(|job| Entry {
                name: job.name.clone(),
                stage: pipeline
                    .stages
                    .iter()
                    .position(|stage| *stage == job.stage)
                    .unwrap_or(0),
                when: job.when,
                start_in: job.start_in,
                allow_failure: job.allow_failure.clone(),
                allowed: job.allow_failure == AllowFailure::Yes,
                needs: job.needs.as_ref().map(|needs| {
                    needs
                        .iter()
                        .filter_map(|need| index.get(&need.job).copied())
                        .collect()
                }),
                retry: job.retry.clone(),
                tries: 0,
                asked_for: false,
                resource_group: job.resource_group.clone(),
                status: Status::Created,
            })
            .collect();
        let graph: Vec<Vec<usize>> = jobs
            .iter()
            .map(|job| job.needs.clone().unwrap_or_default())
            .collect();
        // The compiler refuses circles; in a pipeline from elsewhere they wait for ever, which is what GitLab makes of them.
        let mut order = topological(&graph).unwrap_or_else(|_| (0..jobs.len()).collect());
        order.sort_by_key(|place| jobs.get(*place).map(|job| job.stage));
        let mut schedule = Self {
            jobs,
            index,
            stages: pipeline
                .stages
                .iter()
                .map(|stage| (stage.clone(), Status::Created))
                .collect(),
            order,
            status: Status::Created,
            on_job_failure: pipeline.on_job_failure,
        };
        schedule.process();
        schedule
    }

    /// Jobs that a runner may take now, in the order of the pipeline; of a resource group only one, and none while another
    /// of the group runs.
    pub fn startable(&self) -> Vec<JobName> {
        let mut taken: Vec<&str> = self
            .jobs
            .iter()
            .filter(|job| job.status == Status::Running)
            .filter_map(|job| job.resource_group.as_deref())
            .collect();
        let mut names = Vec::new();
        for job in self.jobs.iter().filter(|job| job.status == Status::Pending) {
            if let Some(group) = &job.resource_group {
                if taken.contains(&group.as_str()) {
                    continue;
                }
                taken.push(group);
            }
            names.push(job.name.clone());
        }
        names
    }

    /// Jobs that wait for their time, and how long; report it with [`Schedule::due`].
    pub fn delayed(&self) -> Vec<(JobName, Duration)> {
        self.jobs
            .iter()
            .filter(|job| job.status == Status::Scheduled)
            .map(|job| (job.name.clone(), job.start_in.unwrap_or_default()))
            .collect()
    }

    /// Jobs that wait for somebody.
    pub fn manual(&self) -> Vec<JobName> {
        self.jobs
            .iter()
            .filter(|job| job.status == Status::Manual)
            .map(|job| job.name.clone())
            .collect()
    }

    /// Status of the pipeline.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Status of a job.
    pub fn job_status(&self, name: &JobName) -> Option<Status> {
        self.index
            .get(name)
            .and_then(|place| self.jobs.get(*place))
            .map(|job| job.status)
    }

    /// Whether the job's failure, if it failed, does not count.
    pub fn is_failure_allowed(&self, name: &JobName) -> bool {
        self.index
            .get(name)
            .and_then(|place| self.jobs.get(*place))
            .is_some_and(|job| job.allowed)
    }

    /// Status of a stage.
    pub fn stage_status(&self, name: &StageName) -> Option<Status> {
        self.stages
            .iter()
            .find(|(stage, _)| stage == name)
            .map(|(_, status)| *status)
    }

    /// Whether nothing runs and nothing will by itself; manual jobs may be left.
    pub fn is_settled(&self) -> bool {
        !self
            .jobs
            .iter()
            .any(|job| matches!(job.status, Status::Pending | Status::Running | Status::Scheduled))
    }

    /// A runner took the job.
    pub fn started(&mut self, name: &JobName) -> Result<(), ScheduleError> {
        self.event(name, "started", |job| {
            (job.status == Status::Pending).then(|| job.status = Status::Running)
        })?;
        self.process();
        Ok(())
    }

    /// The job ended. Gives the running jobs that must be stopped because of it.
    pub fn finished(&mut self, name: &JobName, result: JobResult) -> Result<Vec<JobName>, ScheduleError> {
        let mut failed = false;
        self.event(name, "finished", |job| {
            if !matches!(job.status, Status::Pending | Status::Running) {
                return None;
            }
            match &result {
                JobResult::Success => job.status = Status::Success,
                JobResult::Canceled => job.status = Status::Canceled,
                JobResult::Failed { reason, exit_code } => {
                    if job.tries < job.retry.max && tries_again(&job.retry, reason, *exit_code) {
                        job.tries += 1;
                        job.asked_for = true;
                        job.status = Status::Created;
                    } else {
                        job.allowed = job.allow_failure.allows(*exit_code);
                        job.status = Status::Failed;
                        failed = !job.allowed;
                    }
                }
            }
            Some(())
        })?;
        let stopped = if failed && self.on_job_failure == OnJobFailure::All {
            self.cancel_rest()
        } else {
            Vec::new()
        };
        self.process();
        Ok(stopped)
    }

    /// Somebody starts a manual job, or a delayed one early.
    pub fn play(&mut self, name: &JobName) -> Result<(), ScheduleError> {
        let place = self.event(name, "played", |job| {
            matches!(job.status, Status::Manual | Status::Scheduled).then(|| {
                job.asked_for = true;
                job.status = Status::Pending;
            })
        })?;
        self.reset_after(place);
        self.process();
        Ok(())
    }

    /// The time of a delayed job has come.
    pub fn due(&mut self, name: &JobName) -> Result<(), ScheduleError> {
        self.event(name, "due", |job| {
            (job.status == Status::Scheduled).then(|| job.status = Status::Pending)
        })?;
        self.process();
        Ok(())
    }

    /// A finished job starts over; what was skipped because of it gets another chance.
    pub fn retry(&mut self, name: &JobName) -> Result<(), ScheduleError> {
        let place = self.event(name, "retried", |job| {
            matches!(job.status, Status::Success | Status::Failed | Status::Canceled).then(|| {
                job.asked_for = true;
                job.allowed = job.allow_failure == AllowFailure::Yes;
                job.status = Status::Created;
            })
        })?;
        self.reset_after(place);
        self.process();
        Ok(())
    }

    /// A job is cancelled; the caller stops it if it runs.
    pub fn cancel(&mut self, name: &JobName) -> Result<(), ScheduleError> {
        self.event(name, "canceled", |job| {
            (!job.status.is_complete()).then(|| job.status = Status::Canceled)
        })?;
        self.process();
        Ok(())
    }

    /// Everything unfinished is cancelled. Gives the jobs that run and must be stopped.
    pub fn cancel_all(&mut self) -> Vec<JobName> {
        let stopped = self.cancel_rest();
        self.process();
        stopped
    }

    fn cancel_rest(&mut self) -> Vec<JobName> {
        let mut stopped = Vec::new();
        for job in self.jobs.iter_mut().filter(|job| !job.status.is_complete()) {
            if job.status == Status::Running {
                stopped.push(job.name.clone());
            }
            job.status = Status::Canceled;
        }
        stopped
    }

    fn event(
        &mut self,
        name: &JobName,
        event: &'static str,
        change: impl FnOnce(&mut Entry) -> Option<()>,
    ) -> Result<usize, ScheduleError> {
        let unknown = || ScheduleError::UnknownJob { name: name.clone() };
        let place = *self.index.get(name).ok_or_else(unknown)?;
        let job = self.jobs.get_mut(place).ok_or_else(unknown)?;
        let status = job.status;
        change(job).ok_or_else(|| ScheduleError::WrongStatus {
            name: name.clone(),
            status,
            event,
        })?;
        Ok(place)
    }

    /// Skipped jobs in later stages, and those that need this one, directly or not, are created again.
    fn reset_after(&mut self, place: usize) {
        let Some(stage) = self.jobs.get(place).map(|job| job.stage) else {
            return;
        };
        let mut after = vec![false; self.jobs.len()];
        if let Some(slot) = after.get_mut(place) {
            *slot = true;
        }
        for current in self.order.clone() {
            let Some(job) = self.jobs.get(current) else {
                continue;
            };
            let needs_it = job
                .needs
                .iter()
                .flatten()
                .any(|need| after.get(*need) == Some(&true));
            if let Some(slot) = after.get_mut(current)
                && (needs_it || job.stage > stage)
            {
                *slot = true;
            }
        }
        for (job, after) in self.jobs.iter_mut().zip(after) {
            if after && job.status == Status::Skipped {
                job.status = Status::Created;
            }
        }
    }

    /// Moves every created job that can move, then the stages and the pipeline.
    fn process(&mut self) {
        // One pass is enough because `order` puts what comes before first; for the same reason the earlier stages of a
        // stage are settled when its first job is looked at.
        let mut earlier: Vec<Option<Status>> = vec![None; self.stages.len()];
        for place in self.order.clone() {
            let Some(job) = self.jobs.get(place) else { continue };
            if job.status != Status::Created {
                continue;
            }
            let before = match (&job.needs, earlier.get_mut(job.stage)) {
                (Some(needs), _) => self.needed(needs),
                (None, Some(known)) => *known
                    .get_or_insert_with(|| composite(self.parts(|other| other.stage < job.stage), false)),
                (None, None) => continue,
            };
            if !before.is_complete() {
                continue;
            }
            let next = next_status(job, before);
            if let Some(job) = self.jobs.get_mut(place) {
                job.status = next;
            }
        }
        for position in 0..self.stages.len() {
            let status = composite(self.parts(|job| job.stage == position), false);
            if let Some((_, slot)) = self.stages.get_mut(position) {
                set(slot, status);
            }
        }
        let status = match (composite(self.parts(|_| true), false), self.status) {
            // A pipeline that ran before does not go back to waiting.
            (Status::Pending, Status::Success | Status::Failed | Status::Canceled | Status::Running) => {
                Status::Running
            }
            (status, _) => status,
        };
        set(&mut self.status, status);
    }

    fn parts(&self, which: impl Fn(&Entry) -> bool) -> impl Iterator<Item = (Status, bool)> {
        self.jobs
            .iter()
            .filter(move |job| which(job))
            .map(|job| (job.status, job.allowed))
    }

    fn needed(&self, needs: &[usize]) -> Status {
        let parts = needs
            .iter()
            .filter_map(|need| self.jobs.get(*need))
            .map(|need| (need.status, need.allowed));
        composite(parts, true)
    }
}

/// GitLab never sets a stage or a pipeline back to created.
fn set(slot: &mut Status, status: Status) {
    if status != Status::Created {
        *slot = status;
    }
}

fn next_status(job: &Entry, before: Status) -> Status {
    let runs = match job.when {
        When::OnSuccess | When::Manual | When::Delayed => {
            before == Status::Success || (job.needs.is_none() && before == Status::Skipped)
        }
        When::OnFailure => before == Status::Failed,
        When::Always => matches!(before, Status::Success | Status::Failed | Status::Skipped),
    };
    match job.when {
        _ if !runs => Status::Skipped,
        _ if job.asked_for => Status::Pending,
        When::Manual => Status::Manual,
        When::Delayed => Status::Scheduled,
        _ => Status::Pending,
    }
}

fn tries_again(retry: &Retry, reason: &str, exit_code: Option<i32>) -> bool {
    let any = retry.when.is_empty() && retry.exit_codes.is_empty();
    any || retry.when.iter().any(|when| when == "always" || when == reason)
        || exit_code.is_some_and(|code| retry.exit_codes.contains(&code))
}

#[cfg(test)]
mod tests;
