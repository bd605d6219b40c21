//! From an image to a running process.
//!
//! A [`Runtime`] holds what a process shares: [`Images`] by name, unpacked layers, the data directory. From it come
//! [`Pod`]s, one per job: a keeper (see `shipway_sandbox`) with a network of its own, in which names are answered, TCP
//! goes out through a relay that asks an [`Egress`] policy, and everything ends when the pod does. In a pod,
//! [`Container`]s run: an image's layers with a writable directory on top, a process made from its configuration by
//! docker's rules, and its output kept for any number of readers.
//!
//! This crate is asynchronous and the keeper is not: calls to it are made on blocking threads, a process's output is
//! moved and its end awaited by threads of their own. Nothing here forks, enters a namespace or needs `unsafe`.
//!
//! What callers may rely on:
//!
//! - Bytes of layers are verified while they are unpacked, compressed and uncompressed, and a layer is seen whole or
//!   not at all.
//! - When [`Container::wait`] returns, all output is there to be read and the container's upper directory is quiet.
//! - [`Pod::close`] leaves nothing running and nothing on the disk; what a killed process leaves, the next start sweeps.

mod archive;
mod changes;
mod compression;
mod container;
mod dns;
mod egress;
mod etc;
mod full;
mod ids;
mod image;
mod images;
mod layers;
mod limits;
mod lock;
mod names;
mod pod;
mod process;
mod relay;
mod runtime;
mod signal;
mod spool;
mod subnet;

pub use archive::{
    ArchiveForm, ArchiveImage, DirectoryLayout, Layout, LoadError, Loaded, SaveError, SaveImage, TarError,
    TarLayout, write_archive,
};
pub use changes::{Change, ChangeError};
pub use container::{
    AttachFrom, Attachment, Container, ContainerOptions, ContainerState, ControlError, CreateError, Exec,
    ExecOptions, FilesError, Network, Root, StartError, Stdin, VolumeMount,
};
pub use egress::{Denial, Egress, EgressError, EgressException, EgressExceptionError};
pub use full::{MAKE_ROOM, is_disk_full};
pub use ids::{ContainerId, IdError, PodId};
pub use image::{Image, LoadImageError};
pub use images::{
    ForeignImage, Images, ImagesError, ImportError, ImportOptions, ListedImage, PullError, PullOptions,
    PullOutcome, PullPolicy, PullSource,
};
pub use layers::{LayerError, LayerPath};
pub use limits::{ByteSize, ByteSizeError, DiskReserve, Excess, ExcessSignal, PodLimits};
pub use lock::{LifeLock, dead_pods, is_still_at};
pub use pod::{
    KeptState, KeptVolume, KeptVolumesError, NetworkError, Pod, PodOptions, RevivePodError, StartPodError,
    Volume, VolumeError, memory_is_known,
};
pub use process::{DEFAULT_PATH, NoCommand, argv, merge_environment};
pub use runtime::{
    Housekeeper, Leftovers, OpenRuntimeError, PruneLayersError, Runtime, RuntimeOptions, Swept,
};
pub use signal::{Signal, SignalError};
pub use spool::{Output, OutputChunk, OutputError, OutputStream};
pub use subnet::AddressesExhausted;
