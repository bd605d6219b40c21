//! Dockerfile to image.
//!
//! The folders read like the pipeline they are:
//!
//! 1. [`dockerfile`] turns text into typed instructions, pure and total;
//! 2. `plan` finds the stages that the target needs and says what a cache key is made of, pure;
//!    beside both, [`lint`] says what should be written otherwise;
//! 3. [`ignore`] and [`context`] are the files a build may see;
//! 4. `solve` runs what the cache does not know;
//! 5. `cache` takes results from elsewhere and gives them to others; `mounted` is what steps keep on this machine for later ones;
//! 6. `compression` and `export` make layers and the image out of the results, and write it where it is to go;
//! 7. `attest` says beside the image what is in it and how it was made, if that is asked for.
//!
//! A [`Builder`] takes a [`BuildRequest`] and gives a [`Built`] image, in the store and named; [`BuildEvents`] hears of it
//! meanwhile. What callers may rely on:
//!
//! - The same files, Dockerfile and arguments give the same image, bit for bit, as far as the commands of RUN do:
//!   whatever the umask, the owner, the time, the path and the number of processors.
//! - A build whose steps are all known starts no process and unpacks no layer.
//! - A failed build says which line failed and why, and leaves a store that later builds profit from.
//! - Secrets are in no layer, no key and no message.

mod attest;
mod cache;
mod compare;
mod compression;
pub mod context;
mod csv;
pub mod dockerfile;
mod error;
mod events;
mod export;
pub mod git;
mod headers;
pub mod ignore;
pub mod lint;
mod mounted;
mod named;
mod oci_layout;
mod outline;
mod plan;
mod request;
mod solve;
mod source;

pub use attest::{ProvenanceRequest, RemoteSource};
pub use cache::{
    CacheExport, CacheExportError, CacheExportPlace, CacheExported, CacheImport, CacheMode, CacheOptionError,
    CacheSteps, ExportedMount, MountExportError, MountSelection,
};
pub use compare::{
    Aspect, CompareError, Comparison, Deviation, LayerDifference, PathDifference, compare_builds,
};
pub use compression::{CompressError, Compressed, Compression, CompressionError, Compressor};
pub use context::{Context, Modes};
pub use csv::csv_fields;
pub use dockerfile::{Dockerfile, DockerfileError};
pub use error::{BuildError, StepError};
pub use events::{BuildEvents, Position, Step};
pub use export::{
    AnnotationError, Annotations, Composition, ExportError, FileOptions, ImageOptions, MediaTypes,
    PlatformImage, write_directory, write_tar,
};
pub use mounted::{CacheMounts, CacheMountsError, KeptMount};
pub use named::{ContextName, ContextNameError, NamedContext, NamedContextError, NamedContexts};
pub use oci_layout::{OciLayoutAddress, OciLayoutError};
pub use outline::{Outline, OutlinedArgument, OutlinedMount, Target};
pub use plan::{Change, InputKind, SelectError};
pub use request::{
    BuildRequest, Built, CredentialSource, DockerfileSource, Entitlements, PieceCount, RunNetwork,
    SecretBytes,
};
pub use shipway_attest::{Detail, SourceRevision, without_credentials};
pub use solve::{Builder, Checked, Described, Difference, Miss, begins_archive, recorded_step, sweep_turns};
pub use source::{ContextSource, RemoteContext};

/// The compatibility number: the same inputs give the same blobs for as long as it stays. See `docs/compatibility.md`.
pub const COMPATIBILITY: u32 = 3;
