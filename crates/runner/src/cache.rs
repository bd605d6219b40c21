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

/// The variable that names a cache to take in place of any that is not there.
const FALLBACK_KEY: &str = "CACHE_FALLBACK_KEY";
/// What the keys of protected branches end with.
const PROTECTED: &str = "-protected";

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
        let keys = keys(cache, variables, trace);
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

/// The names under which a cache is looked for: its own, those it gives, and the one that the job gives for all.
fn keys(cache: &JobCache, variables: &Variables, trace: &Trace) -> Vec<String> {
    let own = [&cache.key].into_iter().chain(&cache.fallback_keys);
    let mut keys: Vec<String> = own.map(|key| variables.expand(key)).collect();
    match variables.get_filled(FALLBACK_KEY) {
        // The suffix is GitLab's to give: a job of any branch could name a protected one's cache.
        Some(key) if key.ends_with(PROTECTED) => trace.warn(format!(
            "{FALLBACK_KEY} is not followed: `{key}` ends with {PROTECTED}, as only the caches of protected branches do"
        )),
        other => keys.extend(other),
    }
    keys
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

#[cfg(test)]
mod tests {
    use super::{FALLBACK_KEY, keys};
    use crate::Trace;
    use crate::variables::Variables;
    use shipway_pipeline::job::JobCache;
    use shipway_pipeline::variables::Variable;

    #[test]
    fn a_job_names_one_more_cache_but_none_of_a_protected_branch() {
        let cache = JobCache {
            key: "$BRANCH-non_protected".to_owned(),
            fallback_keys: vec!["main-non_protected".to_owned()],
            ..JobCache::default()
        };
        let trace = Trace::new(std::io::sink(), Vec::new());
        for (given, expected) in [
            ("", &["topic-non_protected", "main-non_protected"][..]),
            (
                "base-$BRANCH",
                &["topic-non_protected", "main-non_protected", "base-topic"],
            ),
            ("main-protected", &["topic-non_protected", "main-non_protected"]),
        ] {
            let job = [
                Variable::public("BRANCH", "topic"),
                Variable::public(FALLBACK_KEY, given),
            ];
            let variables = Variables::new(vec![], &job, vec![], "/tmp");
            assert_eq!(keys(&cache, &variables, &trace), expected, "{given}");
        }
    }
}
