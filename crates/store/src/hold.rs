//! Holds: work under way that makes or asks for several blobs before a manifest names them all.
//!
//! A lease on a blob lasts as long as the grace that a collection is given, and how long a build takes nobody knows beforehand. So
//! whoever works takes a hold, and no collection reaches behind the time at which the oldest living one was taken: what was made or
//! asked for since then stays. Apart from the leases, which are of one blob and outlive the process that took them.
//!
//! Contract under failure: a hold is a locked file, so it ends with its process, however that ends.

use crate::blob_files::IncomingFile;
use crate::{Result, Store};

/// Keeps from every collection what is uploaded or asked for (see [`Store::blob`]) while it lives.
#[must_use = "what is dropped holds nothing"]
pub struct Hold {
    _file: IncomingFile,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

impl Store {
    /// Begins work on several blobs. Blocks as long as it takes to make a file.
    ///
    /// # Errors
    /// When the file cannot be made, as on a full disk.
    pub fn hold(&self) -> Result<Hold> {
        Ok(Hold {
            _file: self.files().hold()?,
        })
    }
}
