//! The cache mounts of the build cache: directories of `RUN --mount=type=cache`, which only a keeper can measure and remove.
//!
//! An installation that never had one needs no isolation to be told so.

use shipway_build::{CacheMounts, CacheMountsError, KeptMount};
use shipway_container::Leftovers;

use super::filter::Filter;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;

/// The way to them, if there can be any.
pub(super) async fn open(installation: &Installation) -> Result<Option<CacheMounts>, Failure> {
    if !installation.data.join("keeper").is_dir() {
        return Ok(None);
    }
    let runtime = installation.find_runtime(installation.client.clone(), Leftovers::Leave);
    let runtime = runtime.await.map_err(|error| {
        Failure::caused(FailureKind::Place, "looking into cache mounts", &*error)
            .hint("`shipway doctor` says what this place can do")
    })?;
    Ok(Some(CacheMounts::of(&runtime)))
}

/// Those that fit, the last used first, with their sizes.
pub(super) fn entries(mounts: Option<&CacheMounts>, filters: &[Filter]) -> Result<Vec<KeptMount>, Failure> {
    let now = std::time::SystemTime::now();
    let mut found = mounts
        .map_or_else(|| Ok(Vec::new()), CacheMounts::measured)
        .map_err(|error| failed(&error))?;
    found.retain(|mount| filters.iter().all(|filter| filter.fits_mount(mount, now)));
    Ok(found)
}

pub(super) fn failed(error: &CacheMountsError) -> Failure {
    Failure::caused(FailureKind::Work, "looking after cache mounts", error)
}

/// What they take together.
pub(super) fn bytes(mounts: &[KeptMount]) -> u64 {
    let each = mounts.iter().map(|mount| mount.bytes.unwrap_or_default());
    each.fold(0, u64::saturating_add)
}
