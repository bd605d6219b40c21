//! A cache mount that is not here, filled from an import that has it.
//!
//! It is done by the step that mounts it, so that a build in which all is known moves nothing. The files are unpacked into a directory
//! of the step, which takes the place of the missing one whole or not at all: what is half restored nobody sees.
//!
//! Under failure the cache begins empty, as it would have without the import, and the build says so.

use std::path::Path;
use std::time::Duration;

use shipway_container::{ByteSize, Pod};
use shipway_oci::with_causes;
use shipway_sandbox::{ArchiveRoot, Keeper};

use super::cache::CacheMount;
use super::{ensure_directory, failed};
use crate::cache::OfferedMount;
use crate::error::StepError;
use crate::mounted::{FOLDER, Record, Upkeep, locks};
use crate::solve::site::blocking;
use crate::solve::stage::Stage;

impl Stage<'_> {
    /// Fills a cache that is not here or empty, unless somebody has it or no import does. `place` is a path of the step's directory with
    /// nothing there.
    pub(super) async fn restore_cache(&self, pod: &Pod, cache: &CacheMount, place: &Path) {
        let Some(offered) = self.build.cache.imports.mount(&cache.key) else {
            return;
        };
        let restored = self.restore_offered(pod, cache, &offered, place).await;
        if let Err(why) = restored {
            self.build.recorded.distrust();
            self.build.warn(&format!(
                "the cache mount `{}` is not restored from {}, it begins empty: {why}",
                cache.id, offered.cache
            ));
        }
    }

    async fn restore_offered(
        &self,
        pod: &Pod,
        cache: &CacheMount,
        offered: &OfferedMount,
        place: &Path,
    ) -> Result<(), String> {
        let say = |error: StepError| with_causes(&error);
        let (locks, name) = (locks(&self.build.spool), cache.name.clone());
        let keeper = pod.keeper();
        let missing = blocking(move || {
            let upkeep = Upkeep::take(&locks, &name, Duration::ZERO)?;
            let is_missing = upkeep.is_some() && is_missing(&keeper, &name)?;
            Ok(upkeep.filter(|_| is_missing))
        });
        // Somebody has it, and what is in it is theirs.
        let Some(upkeep) = missing.await.map_err(say)? else {
            return Ok(());
        };
        self.build.events.note(&format!(
            "restoring the cache mount `{}` from {} ({})",
            cache.id,
            offered.cache,
            ByteSize::new(offered.claim.size)
        ));
        let (keeper, tree) = (pod.keeper(), place.to_owned());
        let (mode, owner) = (cache.mode, cache.owner);
        let making = blocking(move || keeper.make_directory(&tree, mode, owner).map_err(failed));
        making.await.map_err(say)?;
        let unpacked = offered
            .restore(&self.build.cache.store, &pod.keeper(), place)
            .await
            .map_err(|error| with_causes(&error));
        let (keeper, tree) = (pod.keeper(), place.to_owned());
        let target = Path::new(FOLDER).join(&cache.name);
        let record = Record {
            scope: self.build.cache.scope.to_string(),
            id: cache.id.clone(),
        };
        let settling = blocking(move || {
            if unpacked.is_ok() {
                keeper.rename(&tree, &target).map_err(failed)?;
                upkeep.record(&record)?;
            } else {
                // It may be large, and the pod may stay for long.
                keeper.remove_tree(&tree).map_err(failed)?;
            }
            drop(upkeep);
            Ok(unpacked)
        });
        settling.await.map_err(say)?
    }
}

/// Whether there is no such cache, or an empty one, which is taken away. Nobody has it. Blocks.
fn is_missing(keeper: &Keeper, name: &str) -> Result<bool, StepError> {
    ensure_directory(keeper, Path::new(FOLDER), 0o755, (0, 0))?;
    let path = Path::new("/").join(name);
    keeper
        .remove_empty(Path::new(FOLDER), std::slice::from_ref(&path))
        .map_err(failed)?;
    let mut found = keeper
        .stat_in(ArchiveRoot::Directory(FOLDER.into()), &[path])
        .map_err(failed)?;
    Ok(found.pop().flatten().is_none())
}
