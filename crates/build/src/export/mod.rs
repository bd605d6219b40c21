//! What becomes of what a build made: documents of an image, archives, files.
//!
//! - [`image`] writes configuration, manifest and index, and puts them into a scope of the store;
//! - [`layers`] gives it the layers' blobs in the compression that is wanted;
//! - [`options`] and [`annotation`] are how an output wants them;
//! - [`rootfs`] is the file system of an image, read out of its layers without unpacking them, which [`files`] writes into
//!   a directory or a tar.
//!
//! All of it streams: memory does not grow with a layer's size. The same build gives the same bytes. Under failure a directory may
//! hold a part of what was to be written; the store never holds a name whose bytes are missing.

mod annotation;
mod created;
mod directory;
mod error;
mod files;
mod image;
mod layers;
mod merge;
mod options;
mod rootfs;
mod said;
mod tar;

pub use annotation::{AnnotationError, Annotations};
pub(crate) use created::{FIXED_EPOCH, timestamp};
pub use error::ExportError;
pub use files::{FileOptions, write_directory, write_tar};
pub use image::{Composition, PlatformImage};
pub(crate) use image::{check, compose};
pub(crate) use layers::Layers;
pub use options::{ImageOptions, MediaTypes};
