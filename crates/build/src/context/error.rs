//! Why a context cannot be read.

use std::path::PathBuf;

use super::limits;

/// A context that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file or directory cannot be read.
    #[error("cannot read {} of the build context", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The directory itself cannot be opened.
    #[error("cannot open the build context {}: name an existing directory", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The tar is damaged or cut off.
    #[error("cannot read the build context's tar")]
    Tar {
        /// What the reader says.
        #[source]
        source: std::io::Error,
    },
    /// The temporary file cannot be written.
    #[error("cannot keep the build context in {}", path.display())]
    Spool {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// bzip2.
    #[error("the {what} is compressed with {format}: use gzip, zstd, xz or no compression")]
    Compression {
        /// What is compressed.
        what: String,
        /// How.
        format: &'static str,
    },
    /// A name that would lead out of the context.
    #[error("the build context's tar holds `{}`: {reason}", path.display())]
    Hostile {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than a context may hold.
    #[error(
        "the build context is too large: at most {} entries, {} bytes of a path, {} folders deep, {} bytes",
        limits::ENTRIES,
        limits::PATH_BYTES,
        limits::DEPTH,
        limits::TAR_BYTES
    )]
    TooLarge,
    /// A file that is larger than its use allows.
    #[error("{} has more than {most} bytes", path.display())]
    FileTooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// A file that changed while the build read it.
    #[error("{} changed while the build was reading it: build again", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A chain of links that does not end.
    #[error("{} leads through more than {} symbolic links", path.display(), limits::LINKS)]
    LinkLoop {
        /// Which.
        path: PathBuf,
    },
}
