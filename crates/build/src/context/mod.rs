//! The files a build may see: a directory, a tar that a client sent, a repository.
//!
//! A [`Context`] is opened once; a [`View`] is what of it exists for one build, after `.dockerignore`. A tar or a repository is
//! never extracted: file contents go to one unnamed temporary file, the rest is an index in memory, so there is no path of
//! a client's choosing to write to. A directory is read through descriptors that never follow a link, so a link that
//! is swapped in while the build runs leads nowhere. Contents are named by BLAKE3; a file that changes between being
//! named and being copied fails the build instead of poisoning the cache. What untouched files of a directory hashed to is remembered from
//! build to build (`memory`).

mod archive;
mod directory;
mod error;
mod left_out;
mod memory;
mod spool;
mod tree;
mod view;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archive::Spooled;
pub(crate) use archive::{Compression, decompressed};
pub use error::ContextError;
pub(crate) use spool::{Extent, Spooler};
pub use tree::{Entry, EntryKind, Tree};
pub use view::View;

use shipway_store::Meter;

use crate::ignore::IgnoreList;

/// What a context may hold at most.
pub mod limits {
    /// Files, directories and links.
    pub const ENTRIES: usize = 2_000_000;
    /// Bytes of a path inside the context.
    pub const PATH_BYTES: usize = 4096;
    /// Bytes of all paths and links' targets together, which are kept in memory.
    pub const NAME_BYTES: usize = 512 << 20;
    /// How deep folders may nest.
    pub const DEPTH: usize = 256;
    /// Uncompressed bytes of a tar.
    pub const TAR_BYTES: u64 = 256 << 30;
    /// Symbolic links followed while resolving one path.
    pub const LINKS: usize = 64;
}

/// How modes of the context's files reach keys and layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Modes {
    /// As git keeps them: 0644 or 0755, so that a umask is neither a cache miss nor another image.
    #[default]
    Git,
    /// As they are, the special bits too.
    AsGiven,
}

/// Where a build's files come from. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Context {
    /// No files: a Dockerfile from standard input.
    Empty,
    /// A directory of this machine.
    Directory(PathBuf),
    /// A tar or a repository, read to its end.
    Spooled(Arc<Spooled>),
}

impl Context {
    /// The files below `path`.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::Directory(path.into())
    }

    /// The files of a tar, plain or compressed with gzip, zstd or xz. Blocks until the stream has ended; contents go to
    /// an unnamed file in `spool`, which counts for `written` as long as the context is there.
    pub fn tar(stream: impl Read, spool: &Path, written: &Meter) -> Result<Self, ContextError> {
        Spooled::read(stream, spool, written).map(|files| Self::Spooled(Arc::new(files)))
    }

    /// One file before anything is ignored: the Dockerfile, the ignore file. `None` when there is none.
    pub fn read(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>, ContextError> {
        match self {
            Self::Empty => Ok(None),
            Self::Directory(root) => directory::read_file(root, path, most),
            Self::Spooled(files) => files.read_file(path, most),
        }
    }

    /// What exists for one build. Blocks: it walks the directory.
    pub fn view(&self, ignore: &IgnoreList, modes: Modes) -> Result<View, ContextError> {
        match self {
            Self::Empty => Ok(View::empty()),
            Self::Directory(root) => View::of_directory(root, ignore, modes),
            Self::Spooled(files) => Ok(View::of_spool(Arc::clone(files), ignore, modes)),
        }
    }
}

#[cfg(test)]
mod tests;
