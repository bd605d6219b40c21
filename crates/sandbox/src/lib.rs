//! Processes in root file systems with no privilege: namespaces, id maps, mounts, init, the keeper.
//!
//! A pod has one **keeper**: this very binary, executed again under another name before any thread exists, in
//! namespaces of its own and as a root that is nobody outside. It unpacks, mounts, starts and listens for the pod,
//! takes requests over a socket and hands descriptors back over it. The calling process, with all its threads, never
//! forks and never enters a namespace. When the socket ends, so does the keeper, and with it, because it is the
//! first process of its pid namespace, everything that it ever started: there is nothing to clean up but files.
//!
//! Begin `main` with [`enter_keeper_if_asked`], then [`IdMap::detect`], [`Keeper::launch`], [`Keeper::start`].
//! [`probe`] tells beforehand what this place allows.
//!
//! What is assumed: Linux 5.12 or newer (overlayfs in user namespaces, `openat2`, `pidfd`, `mount_setattr`), and
//! `/proc` at its place. What is not defended against: a kernel that breaks its promises about namespaces.
//!
//! This is the only crate of the workspace with `unsafe`; all of it is in one file.

mod archive;
mod beneath;
mod client;
mod error;
mod filter;
mod id_map;
mod ids;
mod image;
mod inspect;
mod keeper;
mod launch;
mod launcher;
mod layout;
mod limits;
mod net;
mod overlay;
mod owner;
mod pattern;
mod probe;
mod protocol;
mod requests;
mod rooted;
mod spec;
mod start;
mod sys;
mod tree;
mod unlinked;
mod usage;
mod wire;

pub use crate::client::Keeper;
pub use crate::error::{KeeperError, SystemError};
pub use crate::id_map::{IdMap, IdMapError, IdRange};
pub use crate::ids::{ContainerId, ProcessId};
pub use crate::launch::{LaunchError, LaunchOptions};
pub use crate::launcher::enter_keeper_if_asked;
pub use crate::limits::{ProcessLimit, ProcessLimitError};
pub use crate::probe::{Finding, ProbeReport, Tier, probe, probe_in};
pub use crate::requests::{
    ApplyReport, ApplyRequest, ArchiveReport, ArchiveRequest, ArchiveRoot, Conflict, DiffReport, DiffRequest,
    FileKind, FileStatus, LinkedFiles, UnpackLimits, UnpackReport, UnpackRequest,
};
pub use crate::rooted::rooted;
pub use crate::spec::{
    ContainerNetwork, ContainerSpec, ExitStatus, Mount, MountSource, NetworkPlan, ProcessSpec, RootSpec,
    Started, Stdio,
};
pub use crate::sys::give_freed_memory_back;
pub use crate::usage::DiskUsage;
