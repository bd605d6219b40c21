//! What remains to be said when a pipeline is over: its jobs, and the images it pushed with the way to get them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shipway_oci::{Digest, RegistryName, RepositoryName, Tag};
use shipway_pipeline::schedule::Status;
use shipway_registry::authority::{Push, PushObserver};

use super::view::span;

/// The end of a pipeline.
#[derive(Debug)]
pub(super) struct Summary {
    /// What its jobs amount to.
    pub(super) status: Status,
    /// From the first job's start to the last one's end.
    pub(super) duration: Duration,
    /// Every job in the order of the file.
    pub(super) jobs: Vec<JobLine>,
    /// What was pushed.
    pub(super) images: Vec<PushedImage>,
}

/// A job's end.
#[derive(Debug)]
pub(super) struct JobLine {
    pub(super) name: String,
    pub(super) status: Status,
    /// It failed, and that does not count.
    pub(super) allowed_failure: bool,
    /// How it failed, in a few words.
    pub(super) failure: Option<String>,
    /// What it said, if it ran.
    pub(super) trace: Option<PathBuf>,
}

/// An image that the pipeline pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushedImage {
    /// Its name inside jobs.
    pub(super) name: String,
    /// What it is.
    pub(super) digest: String,
    /// Its name while `shipway serve` runs.
    pub(super) outside: String,
}

impl JobLine {
    /// `failed: bad (exit code 4)  trace: PATH`
    fn failure_line(&self) -> String {
        let kind = if self.allowed_failure {
            "failed, allowed"
        } else {
            "failed"
        };
        let mut line = format!("  {kind}: {}", self.name);
        if let Some(failure) = &self.failure {
            line.push_str(&format!(" ({failure})"));
        }
        if let Some(trace) = &self.trace {
            line.push_str(&format!("  trace: {}", trace.display()));
        }
        line
    }
}

impl Summary {
    /// Whether it passed although something failed.
    pub(super) fn has_warnings(&self) -> bool {
        self.status == Status::Success && self.jobs.iter().any(|job| job.allowed_failure)
    }

    /// The same for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let verdict = match self.status {
            Status::Success if self.has_warnings() => "passed with warnings",
            Status::Success => "passed",
            other => other.as_str(),
        };
        let mut lines = vec![format!("pipeline {verdict} in {}", span(self.duration))];
        for allowed in [false, true] {
            let failed = self
                .jobs
                .iter()
                .filter(|job| job.status == Status::Failed && job.allowed_failure == allowed);
            lines.extend(failed.map(JobLine::failure_line));
        }
        let idle = self
            .jobs
            .iter()
            .filter(|job| !matches!(job.status, Status::Success | Status::Failed | Status::Canceled));
        for (status, names) in group(idle) {
            lines.push(format!("  {status}: {}", names.join(", ")));
        }
        if !self.images.is_empty() {
            lines.push("images pushed:".to_owned());
        }
        for image in &self.images {
            lines.push(format!("  {}  {}", image.name, image.digest));
            lines.push(format!("    docker pull {}", image.outside));
        }
        if let Some((host, _)) = self
            .images
            .first()
            .and_then(|image| image.outside.split_once('/'))
        {
            lines.push(format!(
                "  `docker pull` works while `shipway serve` runs, after `docker login {host}` (`shipway user add NAME` \
                 makes a user)"
            ));
        }
        lines
    }
}

fn group<'a>(jobs: impl Iterator<Item = &'a JobLine>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for job in jobs {
        groups.entry(job.status.as_str()).or_default().push(&job.name);
    }
    groups
}

/// Collects what is pushed while a pipeline runs, by any way into the registry.
#[derive(Debug, Default)]
pub(super) struct Pushes(Mutex<BTreeMap<(RepositoryName, Tag), Digest>>);

impl PushObserver for Pushes {
    fn pushed(&self, push: &Push) {
        let name = (push.repository.clone(), push.tag.clone());
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, push.digest.clone());
    }
}

impl Pushes {
    /// What every tag that was pushed names now, with its names inside jobs and outside.
    pub(super) fn images(&self, registry: &RegistryName, listen: SocketAddr) -> Vec<PushedImage> {
        let pushed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pushed
            .iter()
            .map(|((repository, tag), digest)| PushedImage {
                name: format!("{registry}/{repository}:{tag}"),
                digest: digest.to_string(),
                outside: format!("{listen}/{repository}:{tag}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
