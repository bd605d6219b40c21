//! What is asked of a keeper: root file systems, containers, processes.
//!
//! Plain data that crosses the control socket. Paths of the keepers' directory are relative to it and never leave
//! it; paths of a container are absolute and seen from inside.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{ContainerId, ProcessId};
use crate::rlimit::ResourceLimit;

/// A root file system: layers, and where changes go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    /// Unpacked layers, bottom first, relative to the keepers' directory. None means an empty root.
    pub layers: Vec<PathBuf>,
    /// Directory, relative to the keepers' directory, in which `fs/` (the changes) and `work/` are made. Without
    /// one the root is a read-only view.
    pub upper: Option<PathBuf>,
}

/// A container to be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its root file system.
    pub root: RootSpec,
    /// Mounts, made in this order.
    pub mounts: Vec<Mount>,
    /// The name that `uname` gives.
    pub hostname: String,
    /// Its network.
    pub network: ContainerNetwork,
    /// Its first process: pid 1 of its own pid namespace. The container ends with it.
    pub process: ProcessSpec,
    /// Files made for this container (`/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, secrets), mounted over what the
    /// root has, in this order and after all mounts.
    pub files: Vec<GeneratedFile>,
}

/// A file that exists for one container only, in memory: neither a layer nor a disk ever holds it. `Debug` hides its bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// Where the container sees it.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// User and group, as the container numbers them.
    pub owner: (u32, u32),
    /// Whether the container may not write to it.
    pub read_only: bool,
}

impl GeneratedFile {
    /// A file of root that everybody may read and root may write.
    pub fn public(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            bytes: bytes.into(),
            mode: 0o644,
            owner: (0, 0),
            read_only: false,
        }
    }
}

impl std::fmt::Debug for GeneratedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedFile")
            .field("path", &self.path)
            .field("mode", &format_args!("{:o}", self.mode))
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// What a container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerNetwork {
    /// Its own address on the pod's bridge; the bridge's address is the default route.
    Bridge(Ipv4Addr),
    /// Its own loopback and nothing else.
    None,
    /// The pod's own network namespace, the one the keeper is in.
    Pod,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, as the container sees it. Made if it is missing, as a file if the source is one.
    pub target: PathBuf,
    /// What.
    pub source: MountSource,
    /// Whether the container may not write to it. A mount of the machine stays read-only whatever the container's root does;
    /// what belongs to the pod, root may make writable again.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the keepers' directory.
    Keeper(PathBuf),
    /// A file or directory of this machine, as the calling process sees it.
    Host(PathBuf),
    /// A file or directory as another running container of the pod sees it. A missing one is made as a directory,
    /// as `docker run -v` does.
    Container {
        /// The other container.
        container: ContainerId,
        /// The path inside it.
        path: PathBuf,
    },
    /// Memory.
    Temporary {
        /// At most this many bytes; the kernel's default without.
        size: Option<u64>,
        /// Mode of its root directory.
        mode: u32,
    },
}

/// A process of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments. A program without a slash is searched in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// Environment, `NAME=value`. `HOME` is added if it is missing.
    pub env: Vec<String>,
    /// Working directory, made if it is missing.
    pub cwd: PathBuf,
    /// `""` (root), `uid[:gid]` or `name[:group]`, looked up in the container's own files.
    pub user: String,
    /// Whether it runs on a terminal of its own; its standard streams are then that terminal.
    pub terminal: bool,
    /// Limits of it and of what it starts, granted as far as its keeper has as much.
    pub limits: Vec<ResourceLimit>,
}

/// Standard streams of a process; a missing one is `/dev/null`.
///
/// Make pipes with [`Keeper::pipe`](crate::Keeper::pipe): a pipe belongs to who made it, and one that belongs to
/// an id outside the container cannot be opened again inside it through `/dev/stdout`.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

/// A process that runs.
#[derive(Debug)]
pub struct Started {
    /// The container it runs in.
    pub container: ContainerId,
    /// The process.
    pub process: ProcessId,
    /// Mount points that had to be made in the root, made parents included. Leave them out of a layer with
    /// [`DiffRequest::omit`](crate::DiffRequest::omit).
    pub made: Vec<PathBuf>,
    /// The near end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

/// Addresses and rules of a pod's bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Address of the bridge: the containers' gateway.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// Port on the bridge that gets every TCP connection of a container to an address outside the subnet.
    pub redirect_tcp: Option<u16>,
}
