//! What pipelines leave in the data directory, and for how long: traces, artifacts, caches.
//!
//! A pipeline that runs has a file of its number that is locked while its process lives, and nothing of it is touched. The file says
//! whose pipeline it is and, at the end, that it succeeded. What goes, and when, is [`Retention`]; it follows GitLab, except that what a job
//! leaves without saying for how long is bounded by the number of pipelines as well: on a laptop nobody looks at the fiftieth last.
//!
//! Failure: what cannot be removed or understood stays, and is tried again by whoever comes next. The store knows nothing of this.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use shipway_container::LifeLock;

use crate::artifacts::{ArtifactDirectory, Expiry};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A record is two names.
const RECORD_BYTES: u64 = 16 << 10;

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

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    of: PipelineOf,
    succeeded: bool,
}

/// Held while a pipeline runs.
#[derive(Debug)]
pub struct PipelineClaim {
    path: PathBuf,
    of: PipelineOf,
    _lock: LifeLock,
}

impl PipelineClaim {
    /// Marks a pipeline as running. Blocks.
    ///
    /// # Errors
    /// When the mark cannot be made in the data directory.
    pub fn take(data: &Path, number: u64, of: PipelineOf) -> io::Result<Self> {
        let directory = records(data);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(number.to_string());
        let lock = LifeLock::create(&path)?;
        let claim = Self {
            path,
            of,
            _lock: lock,
        };
        claim.write(false)?;
        Ok(claim)
    }

    /// It succeeded: its artifacts are those of its branch from now on. Blocks.
    ///
    /// # Errors
    /// When that cannot be written: its artifacts then go in their time.
    pub fn succeeded(&self) -> io::Result<()> {
        self.write(true)
    }

    fn write(&self, succeeded: bool) -> io::Result<()> {
        let record = Record {
            of: self.of.clone(),
            succeeded,
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
            is_latest: latest.contains(&pipeline.number),
            only_ask,
        };
        let artifacts = data.join("artifacts").join(&number);
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

/// The latest successful pipelines of their projects' refs, of those that have artifacts: a run of one job takes none from the run of all.
fn latest(data: &Path, ended: &[Ended]) -> HashSet<u64> {
    let mut latest: BTreeMap<&PipelineOf, u64> = BTreeMap::new();
    for pipeline in ended {
        let directory = data.join("artifacts").join(pipeline.number.to_string());
        let has_any =
            entries(&directory).any(|path| path.extension().is_some_and(|extension| extension == "tar"));
        if let Some(record) = pipeline
            .record
            .as_ref()
            .filter(|record| record.succeeded && has_any)
        {
            let newest = latest.entry(&record.of).or_default();
            *newest = pipeline.number.max(*newest);
        }
    }
    latest.into_values().collect()
}

/// What is judged by of one pipeline.
struct Rule<'a> {
    retention: &'a Retention,
    now: SystemTime,
    /// One of the latest of the data directory.
    is_young: bool,
    /// The latest that succeeded, of its project's ref.
    is_latest: bool,
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
        if self.is_latest {
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
        let is_cache = path.extension().is_some_and(|extension| extension == "tar");
        let goes = if is_cache {
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

fn records(data: &Path) -> PathBuf {
    data.join("pipelines")
}

#[cfg(test)]
mod tests;
