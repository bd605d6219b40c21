//! What is said about an image beside it: which packages are in it, and how it was made.
//!
//! - [`LayerScanner`] looks at a layer's tar while it passes by, and keeps of the few files that list packages what they list: a
//!   [`LayerScan`], which is the same for the same layer and can be kept under its digest;
//! - [`sbom`] lays the scans of an image's layers over each other, as its file system does, and writes an SPDX 2.3 document;
//! - [`Provenance`] is what a build recorded of itself, written as a SLSA v1 predicate;
//! - [`Statement`] binds either to the digest of an image, and [`attach`] makes of statements the manifest that stands beside the
//!   image in its index, as BuildKit lays it out.
//!
//! A crate of its own, because it reads the formats of a dozen package managers and needs their parsers, which nothing else does; and
//! because it is pure: bytes in, documents out, no clock, no disk, no network, nothing random. The same image has the same SBOM.
//!
//! Everything that is read is a stranger's: each file has a limit, what goes beyond it is passed over and said in the document, and a
//! file that cannot be understood never fails a build.

mod address;
mod catalog;
mod image;
mod layout;
mod package;
mod provenance;
mod purl;
mod scan;
mod scanner;
mod spdx;
mod statement;
mod tar;

pub use address::without_credentials;
pub use image::{image_purl, layout_image_purl};
pub use layout::{ATTESTATION_ARTIFACT, Attachment, IN_TOTO, attach, image_index};
pub use package::{Ecosystem, Package};
pub use provenance::{
    BUILD_TYPE, Completeness, ConfigSource, Detail, Facts, Material, Parameters, Provenance, SourceRevision,
    Step,
};
pub use purl::Purl;
pub use scan::{LayerScan, ScannedFile};
pub use scanner::LayerScanner;
pub use spdx::{Sbom, ScannedLayer, sbom};
pub use statement::{SLSA_PROVENANCE, SPDX_DOCUMENT, Statement, Subject};
