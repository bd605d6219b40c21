//! `RUN --mount`: what the process sees beside the stage's files, and what of it is in the key.
//!
//! A mount is first [`asked for`](Stage::mounts): its variables are expanded, its source is looked up, and what the result of
//! the step depends on goes into the key. Only a step that the cache does not know has its mounts [`made`](Stage::make_mounts).
//! Each kind has a file of its own.

mod bind;
mod cache;
mod restore;
mod secret;
mod ssh;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shipway_container::Pod;
use shipway_sandbox::{GeneratedFile, Keeper, KeeperError, Mount, MountSource, RootSpec};

use self::bind::Bound;
use self::cache::{CacheMount, WantedCache};
use self::ssh::{AgentMount, Forwarding};
use super::stage::Stage;
use crate::dockerfile::{MountKind, MountText, RunMount, Step};
use crate::error::{BuildError, StepError};
use crate::mounted::Turn;
use crate::plan::join_path;

/// A mount whose source is known and not made yet.
struct Prepared {
    target: String,
    read_only: bool,
    source: Source,
}

enum Source {
    Temporary { size: Option<u64> },
    Cache(CacheMount),
    Bound(Bound),
}

/// All mounts that a RUN asks for.
#[derive(Default)]
pub(super) struct Mounts {
    prepared: Vec<Prepared>,
    /// What the step's result depends on, for the key.
    pub(super) canonical: Vec<String>,
    /// Secrets that are files.
    files: Vec<GeneratedFile>,
    /// `NAME=value` of secrets that are variables.
    secret_env: Vec<String>,
    agents: Vec<AgentMount>,
    /// How many agents were asked for, those that nobody gave included: they are numbered.
    agents_asked: usize,
    /// How each cache is to be held, by its name.
    caches: BTreeMap<String, WantedCache>,
}

/// The mounts of a RUN as its container gets them.
pub(super) struct MadeMounts {
    pub(super) mounts: Vec<Mount>,
    pub(super) files: Vec<GeneratedFile>,
    /// `NAME=value` that the image's own variables go before.
    pub(super) env: Vec<String>,
    /// `NAME=value` that goes before all others.
    pub(super) secret_env: Vec<String>,
    /// Held until the process has ended.
    _forwarding: Vec<Forwarding>,
    _turns: Vec<Turn>,
}

impl Stage<'_> {
    /// Expands and looks up the mounts of a RUN.
    pub(super) async fn mounts(&self, step: &Step, wanted: &[MountText]) -> Result<Mounts, BuildError> {
        let mut mounts = Mounts::default();
        for mount in wanted {
            let word = |text: &str| self.effects.word(step, text).map_err(|error| error.message);
            let refused = |message| BuildError::from(self.effects.error(step, message));
            let mount = mount.expanded(word).map_err(refused)?;
            let target = join_path(&self.effects.working_directory(), &mount.target);
            if target == "/" && !matches!(mount.kind, MountKind::Secret | MountKind::Ssh) {
                let message = "--mount: nothing can be mounted over `/`, write target=…";
                return Err(refused(message.to_owned()));
            }
            self.mount(mount, target, &mut mounts)
                .await
                .map_err(|source| self.failed(step, source))?;
        }
        Ok(mounts)
    }

    async fn mount(&self, mount: RunMount, target: String, mounts: &mut Mounts) -> Result<(), StepError> {
        let read_only = mount.read_only;
        let (read_only, source) = match mount.kind {
            MountKind::Secret => return self.secret(mount, target, mounts),
            MountKind::Ssh => return self.ssh(mount, target, mounts),
            MountKind::Tmpfs => {
                let canonical = format!("{:?}", ("tmpfs", &target, mount.size));
                mounts.canonical.push(canonical);
                (read_only.unwrap_or(false), Source::Temporary { size: mount.size })
            }
            MountKind::Cache => {
                let cache = self.cache_mount(mount, &target, mounts).await?;
                (read_only.unwrap_or(false), Source::Cache(cache))
            }
            MountKind::Bind => {
                let read_only = read_only.unwrap_or(true);
                let (bound, identity) = self.bound(mount.from, mount.source).await?;
                mounts
                    .canonical
                    .push(format!("bind {target} {identity} {read_only}"));
                (read_only, Source::Bound(bound))
            }
        };
        mounts.prepared.push(Prepared {
            target,
            read_only,
            source,
        });
        Ok(())
    }

    /// Makes the mounts of a step in a directory of its own. Waits for caches that others have.
    pub(super) async fn make_mounts(
        &self,
        pod: &Pod,
        mounts: Mounts,
        scratch: &Path,
    ) -> Result<MadeMounts, StepError> {
        for (number, prepared) in mounts.prepared.iter().enumerate() {
            if let Source::Cache(cache) = &prepared.source {
                let place = scratch.join(format!("restored-{number}"));
                self.restore_cache(pod, cache, &place).await;
            }
        }
        let turns = self.take_turns(mounts.caches).await?;
        let mut made = Vec::new();
        for (number, prepared) in mounts.prepared.into_iter().enumerate() {
            let bound = match &prepared.source {
                Source::Bound(bound) => Some(bound),
                Source::Cache(cache) => cache.seed.as_ref(),
                Source::Temporary { .. } => None,
            };
            let root = self.root_of(bound).await?;
            let making = Making {
                keeper: pod.keeper(),
                place: scratch.join(format!("mount-{number}")),
                root,
                epoch: self.build.committer.epoch,
            };
            let turn = match &prepared.source {
                Source::Cache(cache) => turns.iter().find(|turn| turn.cache == cache.name),
                _ => None,
            };
            let directory = turn.map(|turn| turn.directory.clone());
            if let Source::Cache(cache) = &prepared.source {
                self.remember_mount(cache, directory.as_deref());
            }
            let mount = super::site::blocking(move || {
                let source = match prepared.source {
                    Source::Temporary { size } => MountSource::Temporary { size, mode: 0o1777 },
                    Source::Cache(cache) => {
                        let directory = directory.unwrap_or_else(|| cache.name.clone());
                        cache.make(&making, &directory)?
                    }
                    Source::Bound(bound) => bound.make(&making)?,
                };
                Ok(Mount {
                    target: prepared.target.into(),
                    source,
                    read_only: prepared.read_only,
                })
            });
            made.push(mount.await?);
        }
        let mut env = Vec::new();
        let mut forwarding = Vec::new();
        for (number, agent) in mounts.agents.into_iter().enumerate() {
            if number == 0 {
                env.push(format!("SSH_AUTH_SOCK={}", agent.target));
            }
            let (mount, served) = agent.make(pod, &scratch.join(format!("agent-{number}"))).await?;
            made.push(mount);
            forwarding.push(served);
        }
        Ok(MadeMounts {
            mounts: made,
            files: mounts.files,
            env,
            secret_env: mounts.secret_env,
            _forwarding: forwarding,
            _turns: turns,
        })
    }

    async fn root_of(&self, bound: Option<&Bound>) -> Result<RootSpec, StepError> {
        let layers = match bound {
            Some(Bound::Root(files)) => self.build.site.layers(&files.from).await?,
            Some(Bound::Files { .. }) | None => Vec::new(),
        };
        Ok(RootSpec {
            layers: layers.iter().map(|layer| layer.as_path().to_owned()).collect(),
            upper: None,
        })
    }
}

/// Where and with what one mount is made.
struct Making {
    keeper: Keeper,
    /// A path of the step's directory with nothing there.
    place: PathBuf,
    /// The files that it takes from, if it takes from a stage or an image.
    root: RootSpec,
    epoch: i64,
}

fn failed(source: KeeperError) -> StepError {
    StepError::Keeper {
        action: "prepare a mount of the step",
        source,
    }
}

/// A directory that may be there already.
fn ensure_directory(keeper: &Keeper, path: &Path, mode: u32, owner: (u32, u32)) -> Result<(), StepError> {
    const EEXIST: i32 = rustix::io::Errno::EXIST.raw_os_error();
    match keeper.make_directory(path, mode, owner) {
        Err(KeeperError::System { cause, .. }) if cause.errno() == EEXIST => Ok(()),
        made => made.map_err(failed),
    }
}
