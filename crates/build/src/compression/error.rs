//! Why a layer could not be written.

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The tar could not be read.
    #[error("cannot read the layer's tar")]
    Read {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The compressed bytes could not be written.
    #[error("cannot write the compressed layer")]
    Write {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The gzip compressor failed.
    #[error("cannot compress a block of the layer")]
    Deflate {
        /// What it says.
        #[source]
        source: flate2::CompressError,
    },
    /// The zstd compressor failed.
    #[error("cannot compress a block of the layer")]
    Zstd {
        /// What it says.
        #[source]
        source: std::io::Error,
    },
    /// A compressing thread ended early.
    #[error("a compressing thread ended before its block was done")]
    ThreadLost,
}
