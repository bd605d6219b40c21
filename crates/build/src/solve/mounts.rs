//! `RUN --mount`: what the process sees beside the stage's files, and what of it is in the key.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_container::Pod;
use shipway_sandbox::{
    ArchiveRequest, ArchiveRoot, Conflict, FileKind, Keeper, KeeperError, Mount, MountSource, RootSpec,
};

use super::copy::{exclude_list, hashes};
use super::place::Placing;
use super::roots::Roots;
use super::stage::{Snapshot, Stage};
use crate::context::View;
use crate::dockerfile::{MountKind, MountText, RunMount, Sharing, Step};
use crate::error::{BuildError, StepError};
use crate::plan::{CopyInputs, CopySource, Destination, Item, copy_key, join_path, select};
use crate::request::SecretBytes;

/// A mount with its variables expanded and its source looked up.
pub(super) struct Prepared {
    target: String,
    read_only: bool,
    source: Source,
}

enum Source {
    Temporary {
        size: Option<u64>,
        mode: u32,
    },
    Cache {
        directory: String,
        mode: u32,
        owner: (u32, u32),
    },
    Secret {
        bytes: SecretBytes,
        mode: u32,
        owner: (u32, u32),
    },
    Files {
        items: Vec<Item>,
        view: Arc<View>,
        file: Option<PathBuf>,
    },
    Root {
        from: Arc<Snapshot>,
        path: String,
        label: String,
    },
}

/// All mounts of a RUN.
#[derive(Default)]
pub(super) struct Mounts {
    prepared: Vec<Prepared>,
    /// For the key.
    pub(super) canonical: Vec<String>,
    /// `NAME=value` of secrets that become variables; in no key.
    pub(super) secret_env: Vec<String>,
    /// Cache mounts that only one RUN at a time may use.
    exclusive: BTreeSet<String>,
}

impl Stage<'_> {
    /// Expands and looks up the mounts of a RUN.
    pub(super) async fn mounts(&self, step: &Step, wanted: &[MountText]) -> Result<Mounts, BuildError> {
        let mut mounts = Mounts::default();
        for mount in wanted {
            let word = |text: &str| self.effects.word(step, text).map_err(|error| error.message);
            let refused = |message| BuildError::from(self.effects.error(step, message));
            let mount = mount.expanded(word).map_err(refused)?;
            let absolute = join_path(&self.effects.working_directory(), &mount.target);
            if absolute == "/" && !matches!(mount.kind, MountKind::Secret | MountKind::Ssh) {
                let message = "--mount: nothing can be mounted over `/`, write target=…";
                return Err(refused(message.to_owned()));
            }
            let prepared = self.mount(mount, absolute, &mut mounts).await;
            mounts
                .prepared
                .extend(prepared.map_err(|source| self.failed(step, source))?);
        }
        Ok(mounts)
    }

    async fn mount(
        &self,
        mount: RunMount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<Option<Prepared>, StepError> {
        let owner = (mount.uid, mount.gid);
        let (source, id) = (mount.source, mount.id);
        let (read_only, source, canonical) = match mount.kind {
            MountKind::Tmpfs => {
                let canonical = format!("{:?}", ("tmpfs", &target, mount.size, mount.mode));
                (
                    false,
                    Source::Temporary {
                        size: mount.size,
                        mode: mount.mode.unwrap_or(0o1777),
                    },
                    canonical,
                )
            }
            MountKind::Cache => {
                if mount.from.is_some() || source.is_some() {
                    return Err(StepError::Unsupported {
                        what: "--mount=type=cache with from= or source=".into(),
                    });
                }
                let id = id.unwrap_or_else(|| target.clone());
                // A cache belongs to the scope of the build cache: another project never sees it.
                let name = blake3::hash(format!("{}\0{id}", self.build.cache.scope).as_bytes())
                    .to_hex()
                    .to_string();
                let canonical = format!(
                    "{:?}",
                    ("cache", &target, &id, mount.mode, owner, mount.read_only)
                );
                // A private cache would be a second one while the first is in use; waiting for it is as safe.
                if mount.sharing != Sharing::Shared {
                    mounts.exclusive.insert(name.clone());
                }
                let mode = mount.mode.unwrap_or(0o755);
                (
                    mount.read_only.unwrap_or(false),
                    Source::Cache {
                        directory: name,
                        mode,
                        owner,
                    },
                    canonical,
                )
            }
            MountKind::Secret => {
                let id = id
                    .or(source)
                    .unwrap_or_else(|| mount.target.rsplit('/').next().unwrap_or_default().to_owned());
                let canonical = format!("{:?}", ("secret", &target, &id, &mount.env, mount.mode, owner));
                mounts.canonical.push(canonical);
                let Some(bytes) = self.build.request.secrets.get(&id) else {
                    return if mount.required {
                        Err(StepError::NoSecret { id })
                    } else {
                        Ok(None)
                    };
                };
                if let Some(name) = &mount.env {
                    mounts
                        .secret_env
                        .push(format!("{name}={}", String::from_utf8_lossy(bytes.expose())));
                    if mount.target.is_empty() {
                        return Ok(None);
                    }
                }
                let target = if mount.target.is_empty() {
                    // Of an id that is a path the last part names the file.
                    format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or(&id))
                } else {
                    target
                };
                let source = Source::Secret {
                    bytes: bytes.clone(),
                    mode: mount.mode.unwrap_or(0o400),
                    owner,
                };
                return Ok(Some(Prepared {
                    target,
                    read_only: true,
                    source,
                }));
            }
            MountKind::Ssh if mount.required => {
                return Err(StepError::Unsupported {
                    what: "--mount=type=ssh".into(),
                });
            }
            MountKind::Ssh => return Ok(None),
            MountKind::Bind => {
                let read_only = mount.read_only.unwrap_or(true);
                let path = source.unwrap_or_else(|| "/".to_owned());
                match &mount.from {
                    Some(name) => {
                        let from = self.source(name).await?;
                        let canonical = format!("{:?}", ("bind", &target, from.chain(), &path, read_only));
                        (
                            read_only,
                            Source::Root {
                                from,
                                path,
                                label: name.clone(),
                            },
                            canonical,
                        )
                    }
                    None => {
                        let view = Arc::clone(&self.build.view);
                        let platform = self.platform.clone();
                        let (source, content) = super::site::blocking(move || {
                            let placement = select(view.tree(), &path, &exclude_list(&[])?, false)?;
                            let file = (!placement.folder)
                                .then(|| placement.items.first().map(|item| item.to.clone()))
                                .flatten();
                            let hashes = hashes(&view, &placement.items)?;
                            // A file is mounted itself, a folder with what is in it.
                            let whole = Destination::of("/source", placement.matches, placement.folder);
                            let content = copy_key(&CopyInputs {
                                parent: None,
                                platform: &platform,
                                epoch: 0,
                                destination: &whole,
                                destination_text: "",
                                chown: "",
                                chmod: "",
                                sources: &[CopySource::Files {
                                    items: &placement.items,
                                    hashes: &hashes,
                                }],
                            });
                            Ok((
                                Source::Files {
                                    items: placement.items,
                                    view,
                                    file,
                                },
                                content,
                            ))
                        })
                        .await?;
                        (read_only, source, format!("bind {target} {content} {read_only}"))
                    }
                }
            }
        };
        mounts.canonical.push(canonical);
        Ok(Some(Prepared {
            target,
            read_only,
            source,
        }))
    }

    /// Waits until no other RUN, of this process or another, uses the exclusive caches. Sorted, so that two RUNs that
    /// want the same two cannot wait for each other.
    pub(super) async fn lock_caches(&self, mounts: &Mounts) -> Result<Vec<File>, StepError> {
        let (names, data) = (mounts.exclusive.clone(), self.build.spool.clone());
        if names.is_empty() {
            return Ok(Vec::new());
        }
        super::site::blocking(move || {
            let folder = data.join("cache-locks");
            std::fs::create_dir_all(&folder)?;
            let mut held = Vec::new();
            for name in names {
                let file = File::create(folder.join(name))?;
                file.lock()?;
                held.push(file);
            }
            Ok(held)
        })
        .await
    }

    /// Makes the sources of the mounts in a directory of the step.
    pub(super) async fn make_mounts(
        &self,
        pod: &Pod,
        mounts: Mounts,
        scratch: &Path,
    ) -> Result<Vec<Mount>, StepError> {
        let mut made = Vec::new();
        for (number, prepared) in mounts.prepared.into_iter().enumerate() {
            let layers = match &prepared.source {
                Source::Root { from, .. } => self.build.site.layers(from).await?,
                _ => Vec::new(),
            };
            let root = RootSpec {
                layers: layers.iter().map(|layer| layer.as_path().to_owned()).collect(),
                upper: None,
            };
            let (keeper, place) = (pod.keeper(), scratch.join(format!("mount-{number}")));
            let epoch = self.build.committer.epoch;
            let mount = super::site::blocking(move || {
                let source = prepared.source.make(&keeper, &place, root, epoch)?;
                Ok(Mount {
                    target: prepared.target.into(),
                    source,
                    read_only: prepared.read_only,
                })
            });
            made.push(mount.await?);
        }
        Ok(made)
    }
}

impl Source {
    fn make(
        self,
        keeper: &Keeper,
        place: &Path,
        root: RootSpec,
        epoch: i64,
    ) -> Result<MountSource, StepError> {
        let failed = |source| StepError::Keeper {
            action: "prepare a mount of the step",
            source,
        };
        match self {
            Self::Temporary { size, mode } => Ok(MountSource::Temporary { size, mode }),
            Self::Secret { bytes, mode, owner } => {
                keeper
                    .write_file(place, bytes.expose(), mode, owner)
                    .map_err(failed)?;
                Ok(MountSource::Keeper(place.to_owned()))
            }
            Self::Cache {
                directory,
                mode,
                owner,
            } => {
                let path = Path::new("caches").join(directory);
                ensure_directory(keeper, Path::new("caches"), 0o755, (0, 0)).map_err(failed)?;
                ensure_directory(keeper, &path, mode, owner).map_err(failed)?;
                Ok(MountSource::Keeper(path))
            }
            Self::Files { items, view, file } => {
                keeper.make_directory(place, 0o755, (0, 0)).map_err(failed)?;
                let placing = placing(keeper, place, epoch);
                let target = placing.target(&Destination::Directory("/".into()), "", None)?;
                placing.items(&target, &view, &items)?;
                let tree = place.join("fs");
                Ok(MountSource::Keeper(
                    file.map_or(tree.clone(), |file| tree.join(file)),
                ))
            }
            Self::Root { path, label, .. } => {
                keeper.make_directory(place, 0o755, (0, 0)).map_err(failed)?;
                let placing = placing(keeper, place, epoch);
                let roots = Roots {
                    keeper,
                    root: root.clone(),
                };
                let asked = PathBuf::from(join_path("/", &path));
                let is_root = asked == Path::new("/");
                let (real, directory) = match roots.follow(&asked)? {
                    Some((real, status)) => (real, status.kind == FileKind::Directory),
                    None if is_root => (asked, true),
                    None => return Err(StepError::MissingInRoot { path, from: label }),
                };
                let relative_to = if directory {
                    real.clone()
                } else {
                    real.parent().unwrap_or(Path::new("/")).into()
                };
                let mut target = placing.target(&Destination::Directory("/".into()), "", None)?;
                target.conflict = Conflict::Replace;
                placing.apply(&target, |output| {
                    let mut request =
                        ArchiveRequest::new(ArchiveRoot::Root(root.clone()), vec![real.clone()], output);
                    request.relative_to = relative_to.clone();
                    keeper.archive(request).map(drop).map_err(failed)
                })?;
                let tree = place.join("fs");
                let name = real.file_name().filter(|_| !directory);
                Ok(MountSource::Keeper(
                    name.map_or(tree.clone(), |name| tree.join(name)),
                ))
            }
        }
    }
}

fn placing(keeper: &Keeper, place: &Path, epoch: i64) -> Placing {
    Placing {
        keeper: keeper.clone(),
        layers: Vec::new(),
        upper: place.to_owned(),
        epoch,
    }
}

fn ensure_directory(keeper: &Keeper, path: &Path, mode: u32, owner: (u32, u32)) -> Result<(), KeeperError> {
    const EEXIST: i32 = rustix::io::Errno::EXIST.raw_os_error();
    match keeper.make_directory(path, mode, owner) {
        Err(KeeperError::System { cause, .. }) if cause.errno() == EEXIST => Ok(()),
        made => made,
    }
}
