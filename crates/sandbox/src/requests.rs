//! What is asked of a keeper about files: unpack, apply, archive, compare, look.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::ContainerId;
use crate::spec::RootSpec;

/// Declares a request that travels with one descriptor: the request as it is asked, the plan of it that crosses the socket,
/// and the way from the one to the other. So each field is named once.
macro_rules! with_descriptor {
    (
        $(#[$doc:meta])*
        $request:ident: $plan:ident {
            $(#[$descriptor_doc:meta])*
            beside: $descriptor:ident,
            $( $(#[$field_doc:meta])* $field:ident: $kind:ty, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $request {
            $(#[$descriptor_doc])*
            pub $descriptor: OwnedFd,
            $( $(#[$field_doc])* pub $field: $kind, )*
        }

        /// The request without its descriptor.
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $plan {
            $( pub(crate) $field: $kind, )*
        }

        impl $request {
            /// What crosses the socket, and the descriptor beside it.
            pub(crate) fn split(self) -> ($plan, OwnedFd) {
                let Self { $descriptor, $( $field, )* } = self;
                ($plan { $( $field, )* }, $descriptor)
            }
        }
    };
}

/// Bounds on what an archive may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLimits {
    /// Entries of any kind.
    pub entries: u64,
    /// Bytes of a path or of a link's target.
    pub path: usize,
    /// Bytes of one extended attribute's value.
    pub attribute: usize,
    /// Bytes of one entry's extended header.
    pub header: u64,
    /// Bytes of the paths of all directories, which are kept until the end.
    pub directories: usize,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            path: 4095,
            attribute: 64 * 1024,
            header: 1024 * 1024,
            directories: 512 * 1024 * 1024,
        }
    }
}

with_descriptor! {
    /// A layer to be unpacked into a directory of its own.
    UnpackRequest: UnpackPlan {
        /// The layer's tar, uncompressed.
        beside: stream,
        /// Directory of the keepers' directory; it exists and is empty.
        into: PathBuf,
        /// The layers below, bottom first: directories that this layer implies but does not list look as they do there.
        below: Vec<PathBuf>,
        /// Bounds.
        limits: UnpackLimits,
    }
}

impl UnpackRequest {
    /// A request with the default bounds.
    pub fn new(stream: OwnedFd, into: PathBuf, below: Vec<PathBuf>) -> Self {
        Self {
            stream,
            into,
            below,
            limits: UnpackLimits::default(),
        }
    }
}

/// What unpacking did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackReport {
    /// Entries read.
    pub entries: u64,
    /// Bytes of file contents written.
    pub bytes: u64,
    /// Directories that the archive implies and whose looks could not be taken from the layers below.
    pub implied: u64,
    /// Device nodes left out: a user namespace may not make them.
    pub skipped_devices: u64,
    /// Extended attributes left out: the file system or the kernel does not take them here.
    pub skipped_attributes: u64,
}

/// What applying did.
pub type ApplyReport = UnpackReport;

/// What to do where an archive has a directory and the root something else, or the other way round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conflict {
    /// The archive wins, as when `ADD` unpacks an archive.
    #[default]
    Replace,
    /// It is an error, as when `COPY` meets it.
    Refuse,
}

with_descriptor! {
    /// An archive to be extracted into a root, as `COPY` and `ADD` do.
    ApplyRequest: ApplyPlan {
        /// A tar, uncompressed.
        beside: stream,
        /// Where: a root with an upper directory, a directory, or a running container.
        root: ArchiveRoot,
        /// Directory inside the root; links are followed inside it, what is missing is made.
        target: PathBuf,
        /// Mode of what is made of `target`.
        target_mode: u32,
        /// Owner of what is made of `target`.
        target_owner: (u32, u32),
        /// What wins.
        conflict: Conflict,
        /// Bounds.
        limits: UnpackLimits,
    }
}

impl ApplyRequest {
    /// A request with the default bounds, where the archive wins and the target belongs to root.
    pub fn new(stream: OwnedFd, root: impl Into<ArchiveRoot>, target: PathBuf) -> Self {
        Self {
            stream,
            root: root.into(),
            target,
            target_mode: 0o755,
            target_owner: (0, 0),
            conflict: Conflict::default(),
            limits: UnpackLimits::default(),
        }
    }
}

/// Whose files are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchiveRoot {
    /// A root file system: read without a trace, or written to in its upper directory.
    Root(RootSpec),
    /// A directory of the keepers' directory.
    Directory(PathBuf),
    /// A running container, its mounts included.
    Container(ContainerId),
}

impl From<RootSpec> for ArchiveRoot {
    fn from(root: RootSpec) -> Self {
        Self::Root(root)
    }
}

with_descriptor! {
    /// Files to be written as a tar.
    ArchiveRequest: ArchivePlan {
        /// Where the tar goes.
        beside: output,
        /// Where they are.
        root: ArchiveRoot,
        /// Which, as seen from the root; directories with all they hold. A path that does not exist is an error.
        paths: Vec<PathBuf>,
        /// Entry names are relative to this directory of the root (`/`: the whole path). The directory itself becomes
        /// no entry.
        relative_to: PathBuf,
        /// What all names begin with: the place of the root in another one. With one, the directory itself is an entry.
        prefix: PathBuf,
        /// Whether a symbolic link named in `paths` is followed; those found below are entries of their own.
        follow: bool,
        /// Owner of every entry, in place of the true one.
        owner: Option<(u32, u32)>,
        /// Later modification times become this one.
        clamp_mtime: Option<i64>,
        /// What becomes of a file with several names.
        linked: LinkedFiles,
    }
}

impl ArchiveRequest {
    /// The plain request: whole paths, true owners and times, links as links.
    pub fn new(root: ArchiveRoot, paths: Vec<PathBuf>, output: OwnedFd) -> Self {
        Self {
            root,
            paths,
            relative_to: "/".into(),
            prefix: PathBuf::new(),
            follow: false,
            owner: None,
            clamp_mtime: None,
            linked: LinkedFiles::default(),
            output,
        }
    }
}

/// How a file is written of which several names are archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkedFiles {
    /// Under the first name; the others are hard links to it.
    #[default]
    Once,
    /// Under each of its names: for who leaves entries out of the tar, the first one perhaps.
    EachTime,
}

/// What archiving did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReport {
    /// Entries written.
    pub entries: u64,
    /// Bytes of file contents written.
    pub bytes: u64,
}

with_descriptor! {
    /// The changes in an upper directory, to be written as a layer.
    DiffRequest: DiffPlan {
        /// Where the layer's tar goes.
        beside: output,
        /// The upper directory as in [`RootSpec::upper`]: the one that holds `fs/`.
        upper: PathBuf,
        /// The layers that it lies over, bottom first: what is as they show it is no change.
        below: Vec<PathBuf>,
        /// Later modification times become this one.
        clamp_mtime: Option<i64>,
        /// Paths, as seen from the root, that are left out if they are still empty files or directories: the mount
        /// points that starting a container made.
        omit: Vec<PathBuf>,
    }
}

/// What a layer holds.
pub type DiffReport = ArchiveReport;

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

/// A file as seen from inside its root; a symbolic link is described itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its kind.
    pub kind: FileKind,
    /// Its permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last modification, seconds since 1970.
    pub mtime: i64,
    /// Where a symbolic link points to.
    pub link: Option<PathBuf>,
    /// What a symbolic link leads to inside the root, and its own kind for anything else; none if it leads nowhere.
    pub resolved: Option<FileKind>,
}
