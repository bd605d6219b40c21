//! The words of the control socket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::KeeperError;
use crate::formats::Interpreter;
use crate::id_map::IdMap;
use crate::ids::{ContainerId, ProcessId};
use crate::isolation::Isolation;
use crate::limits::ProcessLimit;
use crate::probe::{Finding, Question};
use crate::requests::{
    ApplyPlan, ApplyReport, ArchivePlan, ArchiveReport, ArchiveRoot, DiffPlan, DiffReport, FileStatus,
    UnpackPlan, UnpackReport,
};
use crate::spec::{ContainerSpec, ExitStatus, NetworkPlan, ProcessSpec, RootSpec};
use crate::usage::DiskUsage;

/// First message to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchPlan {
    pub(crate) directory: PathBuf,
    pub(crate) hostname: String,
    pub(crate) processes: ProcessLimit,
    pub(crate) isolation: Isolation,
}

/// From the launcher, in this order, or `Failed` at any point.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LaunchStep {
    /// The namespaces exist: the maps are to be written now. Left out where there are none.
    Unshared,
    /// The keeper serves; with its pidfd.
    Ready,
    /// It does not go on.
    Failed(KeeperError),
}

/// To the launcher: the maps are written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mapped {
    pub(crate) map: IdMap,
}

/// One request, with the number that its answer carries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) id: u64,
    pub(crate) body: T,
}

/// What may be asked. Descriptors are named in the order in which they travel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    ConfigureNetwork(NetworkPlan),
    AddAddress(Ipv4Addr),
    ListenTcp(SocketAddrV4),
    BindUdp(SocketAddrV4),
    ConnectTcp(SocketAddrV4),
    ListenUnix {
        path: PathBuf,
        mode: u32,
        owner: (u32, u32),
    },
    Pipe,
    MakeDirectory {
        path: PathBuf,
        mode: u32,
        owner: (u32, u32),
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    RemoveTree {
        path: PathBuf,
    },
    Sizes {
        path: PathBuf,
    },
    Usage {
        paths: Vec<PathBuf>,
    },
    Unlinked {
        processes: Vec<u32>,
    },
    RemoveEmpty {
        tree: PathBuf,
        paths: Vec<PathBuf>,
    },
    /// With a memory file.
    WriteFile {
        path: PathBuf,
        mode: u32,
        owner: (u32, u32),
    },
    /// With the stream.
    Unpack(UnpackPlan),
    /// With the stream.
    Apply(ApplyPlan),
    /// With the output.
    Archive(ArchivePlan),
    /// With the output.
    Diff(DiffPlan),
    Stat {
        root: ArchiveRoot,
        paths: Vec<PathBuf>,
    },
    Glob {
        root: RootSpec,
        pattern: String,
    },
    ResolveUser {
        root: RootSpec,
        user: String,
    },
    /// With the streams that are there, then the mounts that were cloned.
    Start {
        spec: Box<ContainerSpec>,
        streams: Streams,
        cloned: Vec<bool>,
    },
    /// With the streams that are there.
    Exec {
        container: ContainerId,
        process: ProcessSpec,
        streams: Streams,
    },
    Wait(ProcessId),
    Signal {
        process: ProcessId,
        signal: i32,
    },
    Stop(ContainerId),
    Probe(Question),
    RegisterInterpreter(Interpreter),
    /// Nothing: whether the keeper still answers.
    Ping,
}

/// Which standard streams travel with a request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Done; a socket, a pipe's ends (read, write) or a terminal travel beside it.
    Done,
    Unpacked(UnpackReport),
    Applied(ApplyReport),
    Archived(ArchiveReport),
    Diffed(DiffReport),
    Statuses(Vec<Option<FileStatus>>),
    Paths(Vec<PathBuf>),
    User {
        uid: u32,
        gid: u32,
    },
    Started {
        container: ContainerId,
        process: ProcessId,
        made: Vec<PathBuf>,
    },
    Sizes(Vec<(String, u64)>),
    Usage(DiskUsage),
    Exited(ExitStatus),
    Found(Finding),
}

pub(crate) type Reply = Envelope<Result<Answer, KeeperError>>;
