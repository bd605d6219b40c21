//! `type=cache`: directories that outlive the build.
//!
//! A cache is known by its id; by what it began with, if it was asked to begin with something; and by its owner and mode, if
//! it was asked for them. It lies in the keepers' directory under a hash of that and of the scope, so that another project never
//! sees it. Whose turn it is says [`mounted`](crate::mounted). One that is not there yet, or is empty, is filled from an import that has
//! it ([`restore`](super::restore)), and else with what it was asked to begin with.

use std::collections::BTreeMap;
use std::path::Path;

use shipway_sandbox::{ArchiveRoot, Isolation, KeeperError, MountSource};

use super::bind::Bound;
use super::{Making, Mounts, ensure_directory, failed};
use crate::cache::{MountKey, UsedMount};
use crate::dockerfile::{RunMount, Sharing};
use crate::error::StepError;
use crate::mounted::{FOLDER, Record, Turn, locks, take};
use crate::solve::site::blocking;
use crate::solve::stage::Stage;

/// A cache mount before its directory is chosen.
pub(super) struct CacheMount {
    /// The hash that stands for it here.
    pub(super) name: String,
    /// What it is known by elsewhere.
    pub(super) key: MountKey,
    pub(super) id: String,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// What it holds in the beginning.
    pub(super) seed: Option<Bound>,
    /// What the author calls that.
    label: String,
}

/// A cache that a RUN shall have.
pub(super) struct WantedCache {
    pub(super) sharing: Sharing,
    pub(super) id: String,
}

impl Stage<'_> {
    pub(super) async fn cache_mount(
        &self,
        mount: RunMount,
        target: &str,
        mounts: &mut Mounts,
    ) -> Result<CacheMount, StepError> {
        if mount.from.is_none() && mount.source.is_some() {
            return Err(StepError::CacheSource);
        }
        let id = mount.id.unwrap_or_else(|| target.to_owned());
        let mut identity = id.clone();
        let label = mount.from.clone().unwrap_or_default();
        let (seed, began) = match mount.from {
            Some(from) => {
                let (bound, began) = self.bound(Some(from), mount.source).await?;
                identity.push_str(&format!("\0from {began}"));
                (Some(bound), began)
            }
            None => (None, String::new()),
        };
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let mode = mount.mode.unwrap_or(0o755);
        if (owner, mode) != ((0, 0), 0o755) {
            identity.push_str(&format!("\0owner {:?}", (owner, mode)));
        }
        let key = MountKey::of(&identity);
        let here = format!("{}\0{identity}", self.build.cache.scope);
        let name = blake3::hash(here.as_bytes()).to_hex().to_string();
        mounts.canonical.push(format!(
            "{:?}",
            ("cache", target, &id, mode, owner, mount.read_only, began)
        ));
        let sharing = mount.sharing.unwrap_or_default();
        let held = mounts.caches.entry(name.clone()).or_insert_with(|| WantedCache {
            sharing,
            id: id.clone(),
        });
        // Of two mounts of one cache in one RUN the stricter one holds it for both.
        held.sharing = sharing.max(held.sharing);
        let cache = CacheMount {
            name,
            key,
            id,
            mode,
            owner,
            seed,
            label,
        };
        self.remember_mount(&cache, None);
        Ok(cache)
    }

    /// Takes note of a mount for an export: that a step asks for it, or that one has it, and where.
    pub(super) fn remember_mount(&self, cache: &CacheMount, directory: Option<&str>) {
        let mount = UsedMount {
            id: cache.id.clone(),
            directory: directory.unwrap_or(&cache.name).to_owned(),
            is_mounted: directory.is_some(),
            offered: self.build.cache.imports.mount(&cache.key),
        };
        self.build.recorded.mount(cache.key.clone(), mount);
    }

    /// Takes all caches of a RUN. In the order of their names, so that two RUNs that want the same two do not wait for each
    /// other.
    pub(super) async fn take_turns(
        &self,
        wanted: BTreeMap<String, WantedCache>,
    ) -> Result<Vec<Turn>, StepError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let locks = locks(&self.build.spool);
        let isolation = self.build.site.isolation();
        let scope = self.build.cache.scope.to_string();
        blocking(move || {
            std::fs::create_dir_all(&locks)?;
            let turns = wanted.into_iter().map(|(cache, WantedCache { sharing, id })| {
                let sharing = match (sharing, isolation) {
                    // It is moved into the step's tree, and so in one at a time.
                    (Sharing::Shared, Isolation::Chroot | Isolation::NoMounts | Isolation::Bare) => {
                        Sharing::Locked
                    }
                    (sharing, _) => sharing,
                };
                let scope = scope.clone();
                Ok(take(&locks, &cache, sharing, &Record { scope, id })?)
            });
            turns.collect()
        })
        .await
    }
}

impl CacheMount {
    /// Makes the directory if nobody has yet. Blocks.
    pub(super) fn make(self, making: &Making, directory: &str) -> Result<MountSource, StepError> {
        let keeper = &making.keeper;
        let path = Path::new(FOLDER).join(directory);
        ensure_directory(keeper, Path::new(FOLDER), 0o755, (0, 0))?;
        let Some(seed) = self.seed else {
            ensure_directory(keeper, &path, self.mode, self.owner)?;
            return Ok(MountSource::Keeper(path));
        };
        let found = keeper.stat_in(
            ArchiveRoot::Directory(FOLDER.into()),
            &[Path::new("/").join(directory)],
        );
        if found.map_err(failed)?.pop().flatten().is_none() {
            let tree = making.place.join("fs");
            keeper
                .make_directory(&making.place, 0o755, (0, 0))
                .map_err(failed)?;
            keeper
                .make_directory(&tree, self.mode, self.owner)
                .map_err(failed)?;
            if let Some(path) = seed.copy(making)? {
                let (path, from) = (path.display().to_string(), self.label);
                return Err(StepError::CacheOfFile { path, from });
            }
            match keeper.rename(&tree, &path) {
                // Another RUN that shares it was first.
                Err(KeeperError::System { cause, .. }) if is_there(cause.errno()) => {}
                renamed => renamed.map_err(failed)?,
            }
        }
        Ok(MountSource::Keeper(path))
    }
}

fn is_there(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::EXIST, Errno::NOTEMPTY]
        .iter()
        .any(|known| known.raw_os_error() == errno)
}
