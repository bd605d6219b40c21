//! What is asked of a keeper about files: unpack, apply, archive, compare, look.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::ContainerId;
use crate::spec::RootSpec;

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
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            path: 4095,
            attribute: 64 * 1024,
            header: 1024 * 1024,
        }
    }
}

/// A layer to be unpacked into a directory of its own.
#[derive(Debug)]
pub struct UnpackRequest {
    /// The layer's tar, uncompressed.
    pub stream: OwnedFd,
    /// Directory of the keepers' directory; it exists and is empty.
    pub into: PathBuf,
    /// The layers below, bottom first: directories that this layer implies but does not list look as they do there.
    pub below: Vec<PathBuf>,
    /// Bounds.
    pub limits: UnpackLimits,
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

/// An archive to be extracted into a root, as `COPY` and `ADD` do.
#[derive(Debug)]
pub struct ApplyRequest {
    /// A tar, uncompressed.
    pub stream: OwnedFd,
    /// Where: a root with an upper directory, a directory, or a running container.
    pub root: ArchiveRoot,
    /// Directory inside the root; links are followed inside it, what is missing is made.
    pub target: PathBuf,
    /// Mode of what is made of `target`.
    pub target_mode: u32,
    /// Owner of what is made of `target`.
    pub target_owner: (u32, u32),
    /// What wins.
    pub conflict: Conflict,
    /// Bounds.
    pub limits: UnpackLimits,
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

/// Files to be written as a tar.
#[derive(Debug)]
pub struct ArchiveRequest {
    /// Where they are.
    pub root: ArchiveRoot,
    /// Which, as seen from the root; directories with all they hold. A path that does not exist is an error.
    pub paths: Vec<PathBuf>,
    /// Entry names are relative to this directory of the root (`/`: the whole path). The directory itself becomes
    /// no entry.
    pub relative_to: PathBuf,
    /// Whether a symbolic link named in `paths` is followed; those found below are entries of their own.
    pub follow: bool,
    /// Owner of every entry, in place of the true one.
    pub owner: Option<(u32, u32)>,
    /// Later modification times become this one.
    pub clamp_mtime: Option<i64>,
    /// Where the tar goes.
    pub output: OwnedFd,
}

impl ArchiveRequest {
    /// The plain request: whole paths, true owners and times, links as links.
    pub fn new(root: ArchiveRoot, paths: Vec<PathBuf>, output: OwnedFd) -> Self {
        Self {
            root,
            paths,
            relative_to: "/".into(),
            follow: false,
            owner: None,
            clamp_mtime: None,
            output,
        }
    }
}

/// What archiving did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReport {
    /// Entries written.
    pub entries: u64,
    /// Bytes of file contents written.
    pub bytes: u64,
}

/// The changes in an upper directory, to be written as a layer.
#[derive(Debug)]
pub struct DiffRequest {
    /// The upper directory as in [`RootSpec::upper`]: the one that holds `fs/`.
    pub upper: PathBuf,
    /// Where the layer's tar goes.
    pub output: OwnedFd,
    /// Later modification times become this one.
    pub clamp_mtime: Option<i64>,
    /// Paths, as seen from the root, that are left out if they are still empty files or directories: the mount
    /// points that starting a container made.
    pub omit: Vec<PathBuf>,
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
