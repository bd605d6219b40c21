//! Dockerfile to image.
//!
//! The folders read like the pipeline they are:
//!
//! 1. [`dockerfile`] turns text into typed instructions, pure and total;
//! 2. `plan` finds the stages that the target needs and says what a cache key is made of, pure;
//! 3. [`ignore`] and [`context`] are the files a build may see;
//! 4. `solve` runs what the cache does not know;
//! 5. `gzip` and `export` make layers and the image out of the results.
//!
//! A [`Builder`] takes a [`BuildRequest`] and gives a [`Built`] image, in the store and named; [`BuildEvents`] hears of it
//! meanwhile. What callers may rely on:
//!
//! - The same files, Dockerfile and arguments give the same image, bit for bit, as far as the commands of RUN do:
//!   whatever the umask, the owner, the time, the path and the number of processors.
//! - A build whose steps are all known starts no process and unpacks no layer.
//! - A failed build says which line failed and why, and leaves a store that later builds profit from.
//! - Secrets are in no layer, no key and no message.

pub mod context;
pub mod dockerfile;
mod error;
mod events;
mod export;
mod gzip;
mod headers;
pub mod ignore;
mod plan;
mod request;
mod solve;

pub use context::{Context, Modes};
pub use dockerfile::{Dockerfile, DockerfileError};
pub use error::{BuildError, ExportError, StepError};
pub use events::{BuildEvents, Step};
pub use gzip::{Compressed, Compressor, GzipError};
pub use plan::SelectError;
pub use request::{BuildRequest, Built, CredentialSource, DockerfileSource, RunNetwork, SecretBytes};
pub use solve::Builder;
