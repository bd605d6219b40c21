//! The directories of cache mounts (`RUN --mount=type=cache`) on this machine: whose turn it is, what they are, what they take.
//!
//! They lie in the keepers' directory, where only a keeper can look into them, each under a name that is a hash. Beside them, in
//! `cache-locks`, is a file of the same name. Its lock says who has the directory ([`turn`]), its content whose it is ([`record`]), its
//! time when it was last used. A step takes a turn; what looks after a directory as a whole — exports it, fills it, removes it — takes
//! [`upkeep`], which no step sees but by waiting. [`listing`] is for people.
//!
//! Under failure: locks end with their processes. A directory whose file is missing is nobody's, and is used and removed like any.

mod listing;
mod record;
mod turn;
mod upkeep;

use std::path::{Path, PathBuf};

pub use listing::{CacheMounts, CacheMountsError, KeptMount};
pub(crate) use record::Record;
pub(crate) use turn::{Turn, take};
pub(crate) use upkeep::{UPKEEP, Upkeep};

/// Where the directories lie in the keepers' directory.
pub(crate) const FOLDER: &str = "caches";

/// Where their locks are in the data directory.
pub(crate) fn locks(data: &Path) -> PathBuf {
    data.join("cache-locks")
}
