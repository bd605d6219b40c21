//! The vocabulary of container images.
//!
//! Every other crate speaks in these words, so that a digest, a repository's name or a tag is never a bare string:
//!
//! - [`Digest`] names bytes; [`Hasher`] makes one, [`Verifier`] and [`VerifyingReader`] check one while bytes pass by;
//! - [`RegistryName`], [`RepositoryName`] and [`Tag`] are the parts of a [`Reference`], with docker's defaulting rules;
//! - [`Manifest`] is what a registry serves under a name, made of [`Descriptor`]s; [`ImageConfig`] says how to run it;
//! - [`Platform`] picks the image of an index that fits a machine.
//!
//! The crate is pure: no files, no network, no clock. All of it parses what strangers send, so every parser is total:
//! it has a limit on size and count, it never panics, and what it does not know it keeps (the `other` fields).
//!
//! Assumption that nothing here enforces: whoever stores a manifest keeps its *bytes*. The types give back equal JSON
//! values, not equal bytes, and a digest is of bytes.

mod causes;
mod chain;
mod config;
mod descriptor;
mod digest;
mod hash;
mod json;
mod manifest;
pub mod media_type;
mod name;
mod platform;
mod reference;
mod verify;

pub use causes::with_causes;
pub use chain::{chain_id_over, chain_ids};
pub use config::{ConfigError, ExecutionConfig, Healthcheck, History, ImageConfig, MAX_CONFIG_BYTES, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError};
pub use hash::{Hasher, RestoreError};
pub use json::EncodeError;
pub use manifest::{
    ImageIndex, ImageManifest, MAX_MANIFEST_BYTES, MAX_MANIFEST_ENTRIES, Manifest, ManifestError, References,
};
pub use name::{NameError, RegistryName, RepositoryName, Tag};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use verify::{Verifier, VerifyError, VerifyingReader};
