//! Files that a job leaves for later pipelines: `cache`.
//!
//! A cache is a wish: what cannot be restored or kept is said, and the job goes on. Its name is the key that the job
//! gives (which carries the branch's protection already), within the project. Archives replace each other whole, so
//! jobs that run at once see one or the other, never a mixture.

mod store;

pub use store::{CacheDirectory, CacheStore};

use crate::Trace;
use crate::artifacts::is_due;
use crate::builds::Builds;
use crate::outcome::{JobError, JobStatus};
use crate::selection::Selection;
use crate::variables::Variables;
use shipway_oci::with_causes;
use shipway_pipeline::job::{JobCache, JobPayload};
use std::error::Error;
use std::os::fd::OwnedFd;

/// What a job may do with a cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Pull,
    Push,
    Both,
}

impl Policy {
    fn of(cache: &JobCache, variables: &Variables) -> Self {
        match variables.expand(&cache.policy).as_str() {
            "pull" => Self::Pull,
            "push" => Self::Push,
            _ => Self::Both,
        }
    }
}

/// Extracts the caches that a job wants and that are there.
pub(crate) async fn restore(
    builds: &Builds,
    payload: &JobPayload,
    variables: &Variables,
    store: &dyn CacheStore,
    trace: &Trace,
) -> Result<(), JobError> {
    let project = &payload.job_info.project_full_path;
    for cache in payload
        .cache
        .iter()
        .filter(|cache| Policy::of(cache, variables) != Policy::Push)
    {
        let keys: Vec<String> = [&cache.key]
            .into_iter()
            .chain(&cache.fallback_keys)
            .map(|key| variables.expand(key))
            .collect();
        match restore_one(builds, project, &keys, store).await {
            Ok(Some(key)) => trace.good(format!("Successfully extracted cache {key}")),
            Ok(None) => trace.say(format!("No cache {} yet", keys.join(" or "))),
            Err(error) => trace.warn(format!(
                "the cache {} is not used: {}",
                keys.join(" or "),
                with_causes(&*error)
            )),
        }
    }
    Ok(())
}

async fn restore_one<'k>(
    builds: &Builds,
    project: &str,
    keys: &'k [String],
    store: &dyn CacheStore,
) -> Result<Option<&'k str>, Box<dyn Error + Send + Sync>> {
    for key in keys.iter().filter(|key| !key.is_empty()) {
        if let Some(archive) = store.open(project, key)? {
            builds.extract(OwnedFd::from(archive)).await?;
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Whether any cache is to be kept after a job ended like this.
pub(crate) fn due(payload: &JobPayload, variables: &Variables, status: &JobStatus) -> bool {
    payload
        .cache
        .iter()
        .any(|cache| is_kept(cache, variables, status))
}

fn is_kept(cache: &JobCache, variables: &Variables, status: &JobStatus) -> bool {
    Policy::of(cache, variables) != Policy::Pull && is_due(&cache.when, status)
}

/// Keeps the caches of a job.
pub(crate) async fn keep(
    builds: &Builds,
    payload: &JobPayload,
    variables: &Variables,
    status: &JobStatus,
    store: &dyn CacheStore,
    trace: &Trace,
) -> Result<(), JobError> {
    let project = &payload.job_info.project_full_path;
    for cache in payload
        .cache
        .iter()
        .filter(|cache| is_kept(cache, variables, status))
    {
        let key = variables.expand(&cache.key);
        if cache.untracked {
            trace.warn("cache:untracked has no effect here: name the files in cache:paths");
        }
        let selection = Selection::new(&cache.paths, &[], variables, &builds.project_directory(), trace);
        match keep_one(builds, project, &key, &selection, store, trace).await {
            Ok(true) => trace.good(format!("Created cache {key}")),
            Ok(false) => trace.say(format!("Nothing to keep in the cache {key}")),
            Err(error) => trace.warn(format!("the cache {key} is not kept: {}", with_causes(&*error))),
        }
    }
    Ok(())
}

async fn keep_one(
    builds: &Builds,
    project: &str,
    key: &str,
    selection: &Selection,
    store: &dyn CacheStore,
    trace: &Trace,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let pending = store.create(project, key)?;
    if !selection.archive(builds, pending.file()?, trace).await? {
        return Ok(false);
    }
    pending.keep()?;
    Ok(true)
}
