//! What pipelines leave in the data directory, and for how long: traces, artifacts, caches.
//!
//! A pipeline that runs has a file of its number that is locked while its process lives, and nothing of it is touched. The file says
//! whose pipeline it is and, at the end, that it succeeded and which jobs left artifacts. What goes, and when, is [`Retention`]; it follows
//! GitLab, except that what a job leaves without saying for how long is bounded by the number of pipelines as well: on a laptop nobody looks
//! at the fiftieth last. And here a pipeline can be run in part, which GitLab does not know: it takes the place of its own jobs alone.
//!
//! Failure: what cannot be removed or understood stays, and is tried again by whoever comes next. The store knows nothing of this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use shipway_container::LifeLock;

use crate::artifacts::{ArtifactDirectory, Expiry};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A record is two names, and that of each job that left artifacts: room for thousands of the longest.
const RECORD_BYTES: u64 = 4 << 20;

/// For how long what pipelines leave is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Traces, artifacts whose job does not say for how long, and caches that no job used go when they are older.
    pub age: Duration,
    /// Of so many pipelines, the latest, there are traces, and artifacts whose job does not say for how long.
    pub pipelines: usize,
}

impl Default for Retention {
    /// As GitLab has it by default: 30 days.
    fn default() -> Self {
        Self {
            age: 30 * DAY,
            pipelines: 50,
        }
    }
}

impl Retention {
    fn is_over(&self, since: SystemTime, now: SystemTime) -> bool {
        now.duration_since(since).is_ok_and(|age| age >= self.age)
    }
}

/// Which caches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caches {
    /// Those that no job used for the time that they are kept.
    Unused,
    /// All.
    All,
}

/// What went of one kind, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many: jobs whose artifacts, pipelines whose traces, caches.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Freed {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Artifacts, by job.
    pub artifacts: Freed,
    /// Traces, by pipeline.
    pub traces: Freed,
    /// Caches.
    pub caches: Freed,
}

/// Whose pipeline it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PipelineOf {
    /// Path of the project.
    pub project: String,
    /// The branch, tag or merge request that it is for, each in a form of its own.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// How much of a pipeline is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All of it: when it has succeeded, it is the latest whatever was before.
    #[default]
    Whole,
    /// Jobs that somebody named: what other jobs left before stays the latest of theirs.
    NamedJobs,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    of: PipelineOf,
    /// Older versions did not say, nor which jobs left artifacts.
    #[serde(default)]
    extent: Extent,
    succeeded: bool,
    /// Jobs that left artifacts, by their numbers.
    #[serde(default)]
    jobs: BTreeMap<u64, String>,
}

impl Record {
    /// The name of the job whose archive it is, if the record says.
    fn job_of(&self, archive: &Path) -> Option<&str> {
        let number: u64 = archive.file_stem()?.to_str()?.parse().ok()?;
        self.jobs.get(&number).map(String::as_str)
    }
}

/// Held while a pipeline runs.
#[derive(Debug)]
pub struct PipelineClaim {
    path: PathBuf,
    of: PipelineOf,
    extent: Extent,
    _lock: LifeLock,
}

impl PipelineClaim {
    /// Marks a pipeline as running. Blocks.
    ///
    /// # Errors
    /// When the mark cannot be made in the data directory.
    pub fn take(data: &Path, number: u64, of: PipelineOf, extent: Extent) -> io::Result<Self> {
        let directory = records(data);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(number.to_string());
        let lock = LifeLock::create(&path)?;
        let claim = Self {
            path,
            of,
            extent,
            _lock: lock,
        };
        claim.write(false, BTreeMap::new())?;
        Ok(claim)
    }

    /// It succeeded: its artifacts are those of its branch from now on. `jobs` are the names of the jobs that left any, by their
    /// numbers. Blocks.
    ///
    /// # Errors
    /// When that cannot be written: its artifacts then go in their time.
    pub fn succeeded(&self, jobs: BTreeMap<u64, String>) -> io::Result<()> {
        self.write(true, jobs)
    }

    fn write(&self, succeeded: bool, jobs: BTreeMap<u64, String>) -> io::Result<()> {
        let record = Record {
            of: self.of.clone(),
            extent: self.extent,
            succeeded,
            jobs,
        };
        // In place: the lock is on this very file.
        fs::write(&self.path, serde_json::to_vec(&record)?)
    }
}

/// A pipeline that does not run, with what is known of it. Its lock is held, unless only the directories of an older version tell of it.
struct Ended {
    number: u64,
    record: Option<Record>,
    lock: Option<LifeLock>,
}

/// Removes what is kept no longer, unless this is only a question. Blocks.
pub fn expire(data: &Path, retention: &Retention, caches: Caches, only_ask: bool) -> Expired {
    let now = SystemTime::now();
    let mut expired = Expired::default();
    let (ended, young) = ended(data, retention);
    let latest = latest(data, &ended);
    for pipeline in ended {
        let number = pipeline.number.to_string();
        let is_young = young.contains(&pipeline.number);
        let rule = Rule {
            retention,
            now,
            is_young,
            latest: &latest,
            only_ask,
        };
        let artifacts = artifacts_of(data, pipeline.number);
        rule.artifacts(&artifacts, &mut expired.artifacts);
        let traces = data.join("traces").join(&number);
        rule.traces(&traces, &mut expired.traces);
        let is_empty = !artifacts.exists() && !traces.exists();
        if let Some(lock) = pipeline.lock.filter(|_| is_empty && !only_ask)
            && let Err(error) = lock.remove()
        {
            tracing::debug!(%error, number, "the record of a pipeline stays");
        }
    }
    expire_caches(
        &data.join("caches"),
        retention,
        caches,
        only_ask,
        &mut expired.caches,
    );
    expired
}

/// The pipelines that do not run, and the numbers of the latest ones.
fn ended(data: &Path, retention: &Retention) -> (Vec<Ended>, BTreeSet<u64>) {
    let mut numbers: BTreeSet<u64> = BTreeSet::new();
    for place in ["pipelines", "artifacts", "traces"] {
        numbers.extend(
            entries(&data.join(place)).filter_map(|path| path.file_name()?.to_str()?.parse::<u64>().ok()),
        );
    }
    let young = numbers.iter().rev().take(retention.pipelines).copied().collect();
    let ended = numbers.into_iter().filter_map(|number| {
        let path = records(data).join(number.to_string());
        let lock = match LifeLock::take_over(&path) {
            Ok(Some(lock)) => Some(lock),
            // Of a version that wrote no records.
            Ok(None) if !path.exists() => None,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(%error, number, "cannot see whether a pipeline runs");
                return None;
            }
        };
        let record = lock.as_ref().and_then(|_| read(&path));
        Some(Ended { number, record, lock })
    });
    (ended.collect(), young)
}

fn read(path: &Path) -> Option<Record> {
    // What a power cut tore is no record.
    let is_short = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= RECORD_BYTES);
    let bytes = is_short.then(|| fs::read(path).ok()).flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Archives by the name of their job, where it is known.
type Archives<'a> = BTreeMap<Option<&'a str>, Vec<PathBuf>>;

/// The archives that are the latest of their jobs in the successful pipelines of a project's ref. A whole pipeline takes the place of all
/// before it, unless it left none at all; one of named jobs only that of the same jobs.
fn latest(data: &Path, ended: &[Ended]) -> BTreeSet<PathBuf> {
    let mut latest: BTreeMap<&PipelineOf, Archives<'_>> = BTreeMap::new();
    // They are in the order of their numbers.
    for pipeline in ended {
        let Some(record) = pipeline.record.as_ref().filter(|record| record.succeeded) else {
            continue;
        };
        let mut left = Archives::new();
        for archive in entries(&artifacts_of(data, pipeline.number)).filter(|path| is_archive(path)) {
            left.entry(record.job_of(&archive)).or_default().push(archive);
        }
        let of_jobs = latest.entry(&record.of).or_default();
        if record.extent == Extent::Whole && !left.is_empty() {
            of_jobs.clear();
        }
        of_jobs.extend(left);
    }
    let archives = latest.into_values().flat_map(BTreeMap::into_values);
    archives.flatten().collect()
}

/// What is judged by of one pipeline.
struct Rule<'a> {
    retention: &'a Retention,
    now: SystemTime,
    /// One of the latest of the data directory.
    is_young: bool,
    /// Archives that are the latest of their jobs.
    latest: &'a BTreeSet<PathBuf>,
    only_ask: bool,
}

impl Rule<'_> {
    fn artifacts(&self, directory: &Path, freed: &mut Freed) {
        for path in entries(directory) {
            let bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("tar")
                    if self.is_artifact_over(&path)
                        && (self.only_ask || ArtifactDirectory::remove(&path).is_ok()) =>
                {
                    freed.add(bytes);
                }
                // Half of an archive, of a process that was killed.
                Some("partial") if !self.only_ask => {
                    let _ = fs::remove_file(&path);
                }
                _ => {}
            }
        }
        if !self.only_ask {
            // Only when it is empty.
            let _ = fs::remove_dir(directory);
        }
    }

    fn is_artifact_over(&self, archive: &Path) -> bool {
        if self.latest.contains(archive) {
            return false;
        }
        match Expiry::of(archive) {
            Expiry::Never => false,
            Expiry::At(end) => end <= self.now,
            Expiry::Unsaid => !self.is_young || self.is_old(archive),
        }
    }

    fn traces(&self, directory: &Path, freed: &mut Freed) {
        if !directory.is_dir() || (self.is_young && !self.is_old(directory)) {
            return;
        }
        let bytes = entries(directory)
            .filter_map(|path| Some(fs::symlink_metadata(path).ok()?.len()))
            .sum();
        if self.only_ask || fs::remove_dir_all(directory).is_ok() {
            freed.add(bytes);
        }
    }

    fn is_old(&self, path: &Path) -> bool {
        changed(path).is_some_and(|changed| self.retention.is_over(changed, self.now))
    }
}

fn expire_caches(directory: &Path, retention: &Retention, which: Caches, only_ask: bool, freed: &mut Freed) {
    let now = SystemTime::now();
    for path in entries(directory) {
        let Some(changed) = changed(&path) else { continue };
        let goes = if is_archive(&path) {
            which == Caches::All || retention.is_over(changed, now)
        } else {
            // Being written, or left by a process that was killed at it.
            now.duration_since(changed).is_ok_and(|age| age >= DAY)
        };
        if goes {
            let bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
            if only_ask || fs::remove_file(&path).is_ok() {
                freed.add(bytes);
            }
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).ok()?.modified().ok()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn artifacts_of(data: &Path, pipeline: u64) -> PathBuf {
    data.join("artifacts").join(pipeline.to_string())
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

fn records(data: &Path) -> PathBuf {
    data.join("pipelines")
}

#[cfg(test)]
mod tests;
