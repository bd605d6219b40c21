//! Cache mounts as people see them: whose they are, what they take, when they were last used; and their removal.
//!
//! Of one class of ids: that of the runtime. Sizes, and removing anything, need a keeper, which is started when it is needed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use shipway_container::Runtime;
use shipway_sandbox::{KeeperError, LaunchError};

use super::record::Record;
use super::upkeep::Upkeep;
use super::{FOLDER, locks};

/// What is on its way out is called so: nobody looks for it, and the next removal ends it.
const GONE: &str = ".gone-";

/// Why cache mounts were not looked at, or not removed.
#[derive(Debug, thiserror::Error)]
pub enum CacheMountsError {
    /// Their directory or their locks cannot be read.
    #[error("cannot look at `{}`", path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No keeper can be started, and only a keeper can look into them.
    #[error("cannot start a keeper to look into cache mounts")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// The keeper failed.
    #[error("cannot measure or remove cache mounts")]
    Keeper {
        /// Why.
        #[source]
        source: KeeperError,
    },
}

/// A directory of a cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMount {
    /// Its name: a hash, with a number behind it where several were needed at once.
    pub name: String,
    /// The scope of the builds that use it, if that is known.
    pub scope: Option<String>,
    /// What the Dockerfile calls it, if that is known.
    pub id: Option<String>,
    /// When a step last had it.
    pub used: SystemTime,
    /// The bytes of disk that it takes, if they were asked for.
    pub bytes: Option<u64>,
}

/// The cache mounts of an installation.
#[derive(Clone)]
pub struct CacheMounts {
    runtime: Runtime,
}

impl CacheMounts {
    /// Those of the runtime's class of ids.
    pub fn of(runtime: &Runtime) -> Self {
        Self {
            runtime: runtime.clone(),
        }
    }

    /// All of them, the last used first, without their sizes. Blocks.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn list(&self) -> Result<Vec<KeptMount>, CacheMountsError> {
        let locks = locks(self.runtime.data());
        let mut mounts = Vec::new();
        for (name, changed) in self.names()? {
            if name.starts_with(GONE) {
                continue;
            }
            let lock = File::open(locks.join(&name)).ok();
            let used = lock
                .as_ref()
                .and_then(|lock| lock.metadata().ok()?.modified().ok());
            let record = lock.as_ref().and_then(Record::read);
            mounts.push(KeptMount {
                used: used.unwrap_or(changed),
                scope: record.as_ref().map(|record| record.scope.clone()),
                id: record.map(|record| record.id),
                bytes: None,
                name,
            });
        }
        mounts.sort_by(|one, other| (other.used, &one.name).cmp(&(one.used, &other.name)));
        Ok(mounts)
    }

    /// The same with what each takes of the disk. Starts a keeper if there are any. Blocks.
    ///
    /// # Errors
    /// When a directory cannot be read, or no keeper be started.
    pub fn measured(&self) -> Result<Vec<KeptMount>, CacheMountsError> {
        let mut mounts = self.list()?;
        if mounts.is_empty() {
            return Ok(mounts);
        }
        let keeper = self.runtime.housekeeper().map_err(launch)?;
        let sizes = keeper.sizes(Path::new(FOLDER)).map_err(failed)?;
        for mount in &mut mounts {
            // One that a step has moved into its tree is measured the next time.
            mount.bytes = sizes
                .iter()
                .find(|(name, _)| *name == mount.name)
                .map(|(_, bytes)| *bytes);
        }
        Ok(mounts)
    }

    /// Removes directories that no step has, and that none has used since they were listed; gives those that are gone. Blocks.
    ///
    /// # Errors
    /// When a lock cannot be taken, or the keeper fails; those before are gone.
    pub fn remove(&self, mounts: &[KeptMount]) -> Result<Vec<KeptMount>, CacheMountsError> {
        let left: Vec<String> = self.names()?.into_iter().map(|(name, _)| name).collect();
        let is_left = |name: &&String| name.starts_with(GONE);
        if mounts.is_empty() && !left.iter().any(|name| is_left(&name)) {
            return Ok(Vec::new());
        }
        let keeper = self.runtime.housekeeper().map_err(launch)?;
        let locks = locks(self.runtime.data());
        let mut removed = Vec::new();
        for mount in mounts {
            let look = |source| CacheMountsError::Look {
                path: locks.join(&mount.name),
                source,
            };
            let Some(upkeep) = Upkeep::take(&locks, &mount.name, Duration::ZERO).map_err(look)? else {
                continue;
            };
            let used = upkeep
                .lock
                .metadata()
                .and_then(|lock| lock.modified())
                .map_err(look)?;
            // A file that was made only now says nothing.
            if used > mount.used && Record::read(&upkeep.lock).is_some() {
                continue;
            }
            let place = Path::new(FOLDER).join(&mount.name);
            let gone = Path::new(FOLDER).join(format!("{GONE}{}", uuid::Uuid::new_v4().simple()));
            // Out of the way at once: whoever is killed meanwhile leaves nothing that looks whole.
            keeper.rename(&place, &gone).map_err(failed)?;
            upkeep.remove().map_err(look)?;
            keeper.remove_tree(&gone).map_err(failed)?;
            removed.push(mount.clone());
        }
        for name in left.iter().filter(is_left) {
            keeper
                .remove_tree(&Path::new(FOLDER).join(name))
                .map_err(failed)?;
        }
        Ok(removed)
    }

    /// The names in their directory, and when each was changed.
    fn names(&self) -> Result<Vec<(String, SystemTime)>, CacheMountsError> {
        let path = self.runtime.keeper_directory().join(FOLDER);
        let look = |source| CacheMountsError::Look {
            path: path.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(look(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(look)?;
            match entry.metadata() {
                Ok(status) if status.is_dir() => names.push((
                    entry.file_name().to_string_lossy().into_owned(),
                    status.modified().map_err(look)?,
                )),
                // What else may lie there is none of ours; a step may have moved one into its tree.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(look(error)),
            }
        }
        Ok(names)
    }
}

impl std::fmt::Debug for CacheMounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheMounts").finish_non_exhaustive()
    }
}

fn launch(source: LaunchError) -> CacheMountsError {
    CacheMountsError::Launch { source }
}

fn failed(source: KeeperError) -> CacheMountsError {
    CacheMountsError::Keeper { source }
}
