//! From options to a container that can be started.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_oci::ExecutionConfig;
use shipway_sandbox::{
    ContainerNetwork, ContainerSpec, KeeperError, Mount, MountSource, ProcessSpec, RootSpec, rooted,
};

use super::options::{ContainerOptions, Network, Root, VolumeMount};
use super::state::Life;
use super::stdin::{StdinMode, StdinPipe};
use super::{Container, ContainerInner};
use crate::etc::{self, EtcFiles};
use crate::ids::ContainerId;
use crate::layers::LayerError;
use crate::pod::{Filling, NetworkError, Pod, VolumeError};
use crate::process::{NoCommand, argv, environment};
use crate::signal::{Signal, SignalError};

/// A container cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A layer of its root is not to be had.
    #[error("cannot unpack the root file system")]
    Layers {
        /// Why.
        #[source]
        source: LayerError,
    },
    /// There is nothing to run.
    #[error(transparent)]
    NoCommand(#[from] NoCommand),
    /// The image's stop signal is none.
    #[error("the image has an unusable stop signal")]
    StopSignal {
        /// Why.
        #[source]
        source: SignalError,
    },
    /// The pod has no network for it.
    #[error("cannot connect the container to the pod")]
    Network {
        /// Why.
        #[source]
        source: NetworkError,
    },
    /// A volume is not to be had.
    #[error("cannot prepare the container's volumes")]
    Volume {
        /// Why.
        #[source]
        source: VolumeError,
    },
    /// Its directory cannot be made.
    #[error("cannot make the directory of the container")]
    Directory {
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// Its output cannot be kept.
    #[error("cannot keep the container's output in {}", directory.display())]
    Spool {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread that made it ended early.
    #[error("making the container was interrupted")]
    Interrupted,
}

/// An address that is given back unless a container keeps it.
struct Lease<'a> {
    pod: &'a Pod,
    address: Option<Ipv4Addr>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.pod.release_address(address);
        }
    }
}

impl Container {
    pub(crate) async fn create(pod: Pod, options: ContainerOptions) -> Result<Self, CreateError> {
        let id = ContainerId::random();
        let (layers, config) = match &options.root {
            Root::Image(image) => {
                let layers = pod.ensure_layers(image).await;
                (
                    layers.map_err(|source| CreateError::Layers { source })?,
                    image.config.config.clone(),
                )
            }
            Root::Layers(layers) | Root::Resume { layers, .. } => {
                (layers.clone(), ExecutionConfig::default())
            }
        };
        let layers: Vec<PathBuf> = layers.iter().map(|layer| layer.as_path().to_owned()).collect();
        let argv = argv(&config, options.entrypoint.as_deref(), options.command.as_deref())?;
        let stop_signal = match config.stop_signal.as_deref() {
            None | Some("") => Signal::TERM,
            Some(text) => text
                .parse()
                .map_err(|source| CreateError::StopSignal { source })?,
        };
        let made = Self::assemble(&pod, &id, &options, (layers, &config, argv, stop_signal)).await;
        if made.is_err() {
            discard(&pod, &id, &options.root, &config).await;
        }
        made
    }

    /// From what is known of it to what there is of it: its directory, volumes, address and names.
    async fn assemble(
        pod: &Pod,
        id: &ContainerId,
        options: &ContainerOptions,
        (layers, config, argv, stop_signal): (Vec<PathBuf>, &ExecutionConfig, Vec<String>, Signal),
    ) -> Result<Self, CreateError> {
        let hostname = options.hostname.clone().unwrap_or_else(|| id.short().to_owned());
        let process = ProcessSpec {
            argv,
            env: environment(&config.env, &options.env, &hostname, options.terminal),
            cwd: working_directory(options.cwd.as_deref(), &config.working_dir),
            user: options.user.clone().unwrap_or_else(|| config.user.clone()),
            terminal: options.terminal,
            limits: options.limits.clone(),
        };

        let upper = match &options.root {
            Root::Resume { upper, .. } => upper.clone(),
            Root::Image(_) | Root::Layers(_) => make_upper(pod, id).await?,
        };
        let (mounts, anonymous_volumes) = mounts(pod, id, options, &layers, config).await?;
        let mut lease = connect(pod, options).await?;
        let search = if lease.address.is_some() {
            pod.runtime().upstream().await.search()
        } else {
            &[]
        };
        let network = match (lease.address, options.network) {
            (Some(address), _) => ContainerNetwork::Bridge(address),
            (None, Network::Pod) => ContainerNetwork::Pod,
            (None, Network::None) => ContainerNetwork::None,
        };
        let mut files = EtcFiles {
            hostname: &hostname,
            address: lease.address,
            extra_hosts: &options.extra_hosts,
            search,
        }
        .render();
        if network == ContainerNetwork::Pod {
            // Of this place, whose network it shares.
            etc::share_name_service(&mut files);
        }
        // Who mounts one of these files has a reason.
        files.retain(|file| {
            let mut others = mounts.iter().map(|mount| &mount.target);
            let mut given = options.files.iter().map(|file| &file.path);
            others.all(|path| *path != file.path) && given.all(|path| *path != file.path)
        });
        files.extend(options.files.iter().cloned());

        let spool = pod.spool().map_err(|source| CreateError::Spool {
            directory: pod.runtime().spools(),
            source,
        })?;
        let (names, refused_names) = claim_names(pod, lease.address, &hostname, id, &options.names);
        let address = lease.address.take();
        let inner = Arc::new(ContainerInner {
            id: id.clone(),
            spec: ContainerSpec {
                root: RootSpec {
                    layers,
                    upper: Some(upper.clone()),
                },
                mounts,
                hostname,
                network,
                process,
                files,
            },
            address,
            names,
            refused_names,
            anonymous_volumes,
            stop_signal,
            upper,
            spool,
            stdin: StdinPipe::new(match (options.stdin_open, options.stdin_stays_open) {
                (false, _) => StdinMode::Closed,
                (true, false) => StdinMode::Once,
                (true, true) => StdinMode::Open,
            }),
            life: Life::new(),
        });
        pod.register(Arc::clone(&inner));
        drop(lease);
        Ok(Self::new(pod.clone(), inner))
    }
}

/// Removes what a container that was not made would else leave in a pod, which may go on for long.
async fn discard(pod: &Pod, id: &ContainerId, root: &Root, config: &ExecutionConfig) {
    for target in &config.volumes {
        if let Err(error) = pod.remove_volume(&anonymous(id, &rooted(target))).await {
            tracing::warn!(%error, "a volume of a container that was not made stays until the pod is removed");
        }
    }
    if matches!(root, Root::Resume { .. }) {
        return;
    }
    let (keeper, upper) = (pod.keeper(), upper(pod, id));
    let removed = tokio::task::spawn_blocking(move || keeper.remove_tree(&upper)).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(container = %id, "the directory of a container that was not made stays until the pod is removed");
    }
}

fn upper(pod: &Pod, id: &ContainerId) -> PathBuf {
    pod.directory().join("containers").join(id.as_str())
}

/// The name of a volume that only this container has.
fn anonymous(id: &ContainerId, target: &Path) -> String {
    format!("{id}{}", target.display())
}

async fn make_upper(pod: &Pod, id: &ContainerId) -> Result<PathBuf, CreateError> {
    let upper = upper(pod, id);
    let (keeper, path) = (pod.keeper(), upper.clone());
    let made = tokio::task::spawn_blocking(move || keeper.make_directory(&path, 0o755, (0, 0)));
    made.await
        .map_err(|_| CreateError::Interrupted)?
        .map_err(|source| CreateError::Directory { source })?;
    Ok(upper)
}

async fn connect<'a>(pod: &'a Pod, options: &ContainerOptions) -> Result<Lease<'a>, CreateError> {
    if options.network == Network::None || pod.runtime().isolation().is_in_trees() {
        return Ok(Lease { pod, address: None });
    }
    let failed = |source| CreateError::Network { source };
    pod.ensure_network().await.map_err(failed)?;
    let address = match options.address {
        Some(address) => address,
        None => pod.reserve_address().map_err(|source| failed(source.into()))?,
    };
    Ok(Lease {
        pod,
        address: Some(address),
    })
}

/// Its names in the pod: granted, and refused because another address has them.
fn claim_names(
    pod: &Pod,
    address: Option<Ipv4Addr>,
    hostname: &str,
    id: &ContainerId,
    names: &[String],
) -> (Vec<String>, Vec<String>) {
    let Some(address) = address else {
        return (Vec::new(), Vec::new());
    };
    for own in [hostname, id.short()] {
        // Two containers may call themselves alike; only names that were asked for are worth a word.
        let _ = pod.add_name(own, address);
    }
    names
        .iter()
        .cloned()
        .partition(|name| pod.add_name(name, address))
}

fn working_directory(caller: Option<&Path>, image: &str) -> PathBuf {
    let root = Path::new("/");
    // Joining keeps an absolute path as it is; docker makes a relative one absolute in the same way.
    match caller {
        Some(caller) => root.join(image).join(caller),
        None => root.join(image),
    }
}

/// All mounts, parents before what lies in them, and the names of volumes that only this container has.
async fn mounts(
    pod: &Pod,
    id: &ContainerId,
    options: &ContainerOptions,
    layers: &[PathBuf],
    config: &ExecutionConfig,
) -> Result<(Vec<Mount>, Vec<String>), CreateError> {
    let mut volumes = options.volumes.clone();
    let mut own = Vec::new();
    for target in &config.volumes {
        let target = rooted(target);
        let covered = options.mounts.iter().map(|mount| &mount.target);
        let covered = covered.chain(options.volumes.iter().map(|volume| &volume.target));
        if covered.into_iter().any(|path| rooted(path) == target) || target == Path::new("/") {
            continue;
        }
        let name = anonymous(id, &target);
        own.push(name.clone());
        volumes.push(VolumeMount {
            name,
            target,
            read_only: false,
        });
    }
    let mut mounts = options.mounts.clone();
    for volume in volumes {
        let root = RootSpec {
            layers: layers.to_vec(),
            upper: None,
        };
        let filling = Filling {
            root,
            path: volume.target.clone(),
        };
        let made = pod.filled_volume(&volume.name, filling).await;
        let source = made.map_err(|source| CreateError::Volume { source })?;
        mounts.push(Mount {
            target: volume.target,
            source: MountSource::Keeper(source.path().to_owned()),
            read_only: volume.read_only,
        });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok((mounts, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_directories_are_absolute() {
        for (caller, image, expected) in [
            (None, "", "/"),
            (None, "/srv", "/srv"),
            (None, "srv", "/srv"),
            (Some("/builds"), "/srv", "/builds"),
            (Some("app"), "/srv", "/srv/app"),
        ] {
            assert_eq!(
                working_directory(caller.map(Path::new), image),
                PathBuf::from(expected)
            );
        }
    }
}
