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
//! Where no namespace can be made, root has another way to the same requests: [`Isolation::Chroot`]; a user who may make one and mount
//! nothing in it has that way too: [`Isolation::NoMounts`]. Who may do nothing at all has those that start no program:
//! [`Isolation::Bare`].
//!
//! What is assumed: Linux 5.12 or newer (overlayfs in user namespaces, `openat2`, `pidfd`, `mount_setattr`), and
//! `/proc` at its place. What is not defended against: a kernel that breaks its promises about namespaces.
//!
//! This is the only crate of the workspace with `unsafe`; all of it is in `sys`.

mod archive;
mod beneath;
mod chroot;
mod client;
mod error;
mod filter;
mod formats;
mod id_map;
mod ids;
mod image;
mod inspect;
mod isolation;
mod keeper;
mod landlock;
mod launch;
mod launcher;
mod layout;
mod limits;
mod net;
mod overlay;
mod owner;
mod owners;
mod pattern;
mod place;
mod probe;
mod protocol;
mod requests;
mod resolve;
mod rlimit;
mod rooted;
mod spec;
mod stack;
mod start;
mod strays;
mod supervisor;
mod sys;
mod tree;
mod unlinked;
mod usage;
mod wire;

pub use crate::archive::placed::{ARCHIVE_END, PlacedEntry, PlacedKind, padding};
pub use crate::client::Keeper;
pub use crate::error::{KeeperError, SystemError};
pub use crate::formats::Interpreter;
pub use crate::id_map::{IdMap, IdMapError, IdRange};
pub use crate::ids::{ContainerId, ProcessId};
pub use crate::isolation::Isolation;
pub use crate::launch::{LaunchError, LaunchOptions};
pub use crate::launcher::enter_keeper_if_asked;
pub use crate::limits::{ProcessLimit, ProcessLimitError};
pub use crate::place::{Place, what_lets_programs_run};
pub use crate::probe::{Finding, ProbeReport, Tier, probe, probe_in};
pub use crate::requests::{
    ApplyReport, ApplyRequest, ArchiveReport, ArchiveRequest, ArchiveRoot, Conflict, DiffReport, DiffRequest,
    FileKind, FileStatus, LinkedFiles, UnpackLimits, UnpackReport, UnpackRequest,
};
pub use crate::rlimit::{LimitedResource, ResourceLimit, ResourceLimitError};
pub use crate::rooted::rooted;
pub use crate::spec::{
    ContainerNetwork, ContainerSpec, ExitStatus, GeneratedFile, Mount, MountSource, NetworkPlan, ProcessSpec,
    RootSpec, Started, Stdio,
};
pub use crate::sys::give_freed_memory_back;
pub use crate::usage::DiskUsage;
