//! Cache mounts in an exported cache: the directories of `RUN --mount=type=cache`, for machines that do not keep them.
//!
//! ```text
//! directory ──tar──▶ chunks ──new ones──▶ packs (blobs)  ╮
//!                      ╰── all, in order ──▶ index (blob) ├─ beside the layers of the steps, named by the cache's document
//! document ──▶ index ──▶ packs ──tar──▶ directory         ╯
//! ```
//!
//! A tar is cut where its content says so ([`chunk`]), so that a file which came or went moves no more than its neighbours. Chunks are
//! compressed one by one and packed into blobs of a size that registries like ([`pack`]). What the artifact under the name has already
//! is named again and not sent ([`known`]). An [`index`] says of which chunks a mount is made. [`archive`] and [`restore`] are the two
//! directions between a keeper's directory and blobs; [`offer`] is what a build knows of an import's mounts; [`export`] decides which
//! mounts go out.
//!
//! Under failure: a mount that cannot be exported is left out, or stays as the artifact has it, and is told; one that cannot be
//! restored begins empty and is told. Neither fails a build.

mod archive;
mod chunk;
mod export;
mod index;
mod key;
mod known;
mod offer;
mod pack;
mod restore;

pub use export::{ExportedMount, MountExportError, MountSelection};
pub(crate) use export::{MountExporter, MountParcel};
pub(crate) use index::{MOST_INDEX_BYTES, MOST_MOUNT_BYTES};
pub(crate) use key::MountKey;
pub(crate) use offer::{MountClaim, OfferedMount};
pub(crate) use pack::{INDEX_TYPE, MOST_PACK_BYTES, PACK_TYPE};

/// The most mounts of a cache: more than any Dockerfile has.
pub(crate) const MOST_MOUNTS: usize = 100;
/// The most packs of a mount.
pub(crate) const MOST_PACKS: usize = 4000;
