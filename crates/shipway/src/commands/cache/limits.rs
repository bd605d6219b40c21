//! `[cache]` of `shipway.toml`: how much of the build cache is kept, and for how long. Layers of steps and cache mounts count together.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use shipway_build::{CacheMounts, CacheMountsError, KeptMount};
use shipway_oci::{Digest, with_causes};
use shipway_store::{CacheEntry, CollectOptions, Store, StoreError};

use super::GRACE;
use crate::settings::CacheSettings;

/// What went, or would go.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) steps: u64,
    pub(super) mounts: Vec<KeptMount>,
}

/// Why something that should go stayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keeper's directory or the keeper failed.
    #[error(transparent)]
    Mounts(#[from] CacheMountsError),
}

/// Keeps the cache within its limits at the end of a build. Cheap while it is; what fails is told to the log, for the build is done.
pub(crate) fn keep_within(store: &Store, mounts: Option<&CacheMounts>, limits: &CacheSettings) {
    let kept = drop_beyond(store, mounts, limits, false).and_then(|dropped| match dropped.steps {
        0 => Ok(()),
        steps => {
            tracing::debug!(steps, "results of steps were dropped from the build cache");
            let options = CollectOptions {
                grace: GRACE,
                dry_run: false,
            };
            Ok(store.collect(&options).map(drop)?)
        }
    });
    if let Err(error) = kept {
        tracing::warn!(
            error = with_causes(&error),
            "the build cache was not kept within its limits"
        );
    }
}

/// Drops what the limits do not cover.
pub(super) fn drop_beyond(
    store: &Store,
    mounts: Option<&CacheMounts>,
    limits: &CacheSettings,
    only_ask: bool,
) -> Result<Dropped, LimitError> {
    let mut dropped = Dropped::default();
    let unused = limits.max_unused();
    if unused > Duration::ZERO {
        // Asked first: that is nearly always nothing, and costs no sync.
        if store.prune_cache(unused, true)? > 0 {
            dropped.steps += store.prune_cache(unused, only_ask)?;
        }
        if let Some(mounts) = mounts {
            let now = SystemTime::now();
            let mut old = mounts.list()?;
            old.retain(|mount| now.duration_since(mount.used).unwrap_or_default() >= unused);
            dropped.mounts.extend(remove(mounts, old, only_ask)?);
        }
    }
    if let Some(most) = limits.max_used_space {
        let beyond = shrink(store, mounts, most.get(), only_ask)?;
        dropped.steps += beyond.steps;
        let known: HashSet<String> = dropped.mounts.iter().map(|mount| mount.name.clone()).collect();
        let new = beyond
            .mounts
            .into_iter()
            .filter(|mount| !known.contains(&mount.name));
        dropped.mounts.extend(new);
    }
    Ok(dropped)
}

/// Drops what was used longest ago until no more than this is kept.
pub(super) fn shrink(
    store: &Store,
    mounts: Option<&CacheMounts>,
    most: u64,
    only_ask: bool,
) -> Result<Dropped, LimitError> {
    let measured = mounts.map_or_else(|| Ok(Vec::new()), CacheMounts::measured)?;
    let mut dropped = Dropped::default();
    let Some(mounts) = mounts.filter(|_| !measured.is_empty()) else {
        if store.shrink_cache(most, true)? > 0 {
            dropped.steps = store.shrink_cache(most, only_ask)?;
        }
        return Ok(dropped);
    };
    let (steps, going) = beyond(store.cache_entries()?, measured, most);
    for step in &steps {
        if only_ask || store.remove_cache_record(step)? {
            dropped.steps += 1;
        }
    }
    dropped.mounts = remove(mounts, going, only_ask)?;
    Ok(dropped)
}

pub(super) fn remove(
    mounts: &CacheMounts,
    going: Vec<KeptMount>,
    only_ask: bool,
) -> Result<Vec<KeptMount>, CacheMountsError> {
    if only_ask || going.is_empty() {
        return Ok(going);
    }
    mounts.remove(&going)
}

/// What does not fit, of lists that begin with the last used. What fits stays, and from the first that does not on all goes; a mount
/// that would not fit alone goes alone.
fn beyond(steps: Vec<CacheEntry>, mounts: Vec<KeptMount>, most: u64) -> (Vec<CacheEntry>, Vec<KeptMount>) {
    let (mut going, mut going_mounts) = (Vec::new(), Vec::new());
    let mut seen: HashSet<Digest> = HashSet::new();
    let (mut total, mut steps, mut mounts) =
        (0_u64, steps.into_iter().peekable(), mounts.into_iter().peekable());
    loop {
        let mount_is_next = match (steps.peek(), mounts.peek()) {
            (Some(step), Some(mount)) => mount.used > step.used,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if mount_is_next && let Some(mount) = mounts.next() {
            let bytes = mount.bytes.unwrap_or_default();
            if bytes <= most {
                total = total.saturating_add(bytes);
            }
            if bytes > most || total > most {
                going_mounts.push(mount);
            }
        } else if let Some(step) = steps.next() {
            for (digest, bytes) in &step.blobs {
                if seen.insert(digest.clone()) {
                    total = total.saturating_add(*bytes);
                }
            }
            if total > most {
                going.push(step);
            }
        } else {
            return (going, going_mounts);
        }
    }
}

#[cfg(test)]
mod tests {
    use shipway_store::Scope;

    use super::*;

    fn step(used: u64, bytes: u64) -> CacheEntry {
        CacheEntry {
            id: i64::try_from(used).unwrap(),
            scope: Scope::user(),
            key: Vec::new(),
            record: Vec::new(),
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
            blobs: vec![(Digest::sha256(&used.to_le_bytes()), bytes)],
            is_shared: false,
        }
    }

    fn mount(used: u64, bytes: u64) -> KeptMount {
        KeptMount {
            name: used.to_string(),
            scope: None,
            id: None,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
            bytes: Some(bytes),
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_whatever_it_is() {
        let going = |most| {
            let steps = vec![step(40, 10), step(20, 10)];
            let mounts = vec![mount(30, 10), mount(10, 10)];
            let (steps, mounts) = beyond(steps, mounts, most);
            let steps = steps.into_iter().map(|step| step.id.to_string());
            steps
                .chain(mounts.into_iter().map(|mount| mount.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(going(40), Vec::<String>::new());
        assert_eq!(going(39), ["10"]);
        assert_eq!(going(29), ["20", "10"]);
        assert_eq!(going(19), ["20", "30", "10"]);
        assert_eq!(going(0).len(), 4);
    }

    #[test]
    fn a_mount_larger_than_the_limit_takes_nothing_along() {
        let (steps, mounts) = beyond(vec![step(1, 10)], vec![mount(2, 100), mount(0, 5)], 20);
        assert!(steps.is_empty());
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].name, "2");
    }
}
