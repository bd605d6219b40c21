//! Bytes and names at rest.
//!
//! A [`Store`] is a directory with blobs as files named by their digest, and everything else (names, manifests,
//! permissions, leases, uploads, people) as rows of one SQLite database beside them. Several processes may open one.
//!
//! What callers may rely on, also after `kill -9` at any moment:
//!
//! - **Bytes enter only through a writer that hashes** ([`BlobWriter`], [`UploadWriter`]). A blob's file is synced once
//!   and its row comes last, so that a row means "these bytes are there".
//! - **What was acknowledged stays.** A manifest is accepted in one transaction that sees all it points to, and from
//!   then on those blobs cannot be collected. What only was uploaded or asked for stays for the grace of a collection.
//! - **Knowing a digest is no permission.** A blob is readable through a repository that links it; a manifest can only
//!   name blobs that its own repository may read. Nothing here looks a blob up for a stranger by digest alone:
//!   [`Store::blob`] and [`Store::open_blob`] are for callers that have asked [`Store::repository_blob`], or own the store.
//! - **Collection is online** ([`Store::collect`]): a row is doomed first, its bytes go in a later transaction, and
//!   an upload or a check in between brings it back. No lock is held across the reading or writing of a blob.
//!
//! Everything is synchronous: calls take microseconds (reads) to a disk sync (commits). Async callers use their blocking pool
//! for commits.
//!
//! Assumptions that are not enforced: the directory is on a local file system with hard links and working locks, and
//! the clock is not set back by more than a collection's grace.

mod account;
mod ballast;
mod batch;
mod blob;
mod blob_files;
mod build_cache;
mod cache_listing;
mod collect;
mod database;
mod diff_id;
mod error;
mod fsck;
mod hold;
mod image;
mod layer_pieces;
mod manifest;
mod meter;
mod nameless;
mod referrers;
mod repository;
mod space;
mod store;
mod unfinished;
mod unnamed;
mod untagged;
mod upload;
mod usage;

pub use account::{JobTokenRecord, Removal, UserRecord};
pub use batch::{Batch, StagedFile, StagedWriter};
pub use blob::{BlobInfo, BlobWriter, CommitError};
pub use build_cache::PutCacheRecordError;
pub use cache_listing::CacheEntry;
pub use collect::{CollectOptions, CollectReport};
pub use error::{StoreError, is_disk_full};
pub use fsck::{CorruptBlob, FsckOptions, FsckReport, IncompleteManifest};
pub use hold::Hold;
pub use image::NamedImage;
pub use manifest::{ManifestSelector, ManifestWrite, PutManifestError, StoredManifest};
pub use meter::{Meter, MeterShare, MeteredFile};
pub use nameless::NamelessImage;
pub use referrers::{Referrers, ReferrersPage};
pub use space::{Scope, ScopeError};
pub use store::{OpenError, Store, StoreId};
pub use untagged::UntaggedManifest;
pub use upload::{BeginUploadError, OpenUploadError, UploadId, UploadIdError, UploadWriter};
pub use usage::Usage;

/// What most calls give.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
