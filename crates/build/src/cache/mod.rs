//! The build cache as others can have it: an artifact in a registry or a directory, or a part of an image's configuration.
//!
//! ```text
//! CacheImport ──▶ Import: records of a document, blobs where they are ──▶ a step that is known (see `solve`)
//! CacheSteps (what a build went through) ──▶ document + layers ──▶ CacheExport
//! ```
//!
//! Beside layers it has the cache mounts of the steps: see [`mounts`].
//!
//! [`document`] is the format, [`options`] how people name places, [`origin`] where the blobs of an import lie, [`import`] and
//! [`export`] the two directions, [`steps`] what passes between a build and an export.
//!
//! What is imported is the claim of whoever may write there. It is looked at by the one build that names it and never becomes a record
//! of a scope; a layer that it names is hashed before its files are used or shared, as one of any image is. Under failure an import
//! is as good as none: the build is done without it, and says so once.

mod document;
mod export;
mod import;
mod layout;
mod mounts;
mod options;
mod origin;
mod steps;

pub(crate) use document::INLINE_KEY;
pub use export::{CacheExportError, CacheExported};
pub(crate) use export::{Exporter, inline};
pub(crate) use import::{Elsewhere, Imports};
pub(crate) use layout::Layout;
pub use mounts::{ExportedMount, MountExportError, MountSelection};
pub(crate) use mounts::{MountKey, OfferedMount};
pub use options::{CacheExport, CacheExportPlace, CacheImport, CacheMode, CacheOptionError};
pub use steps::CacheSteps;
pub(crate) use steps::{KnownBlob, KnownLayer, UsedMount};
