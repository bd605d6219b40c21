//! A line for each blob that moves, for verbs that do nothing else.

use shipway_oci::Descriptor;
use shipway_registry::client::{BlobProgress, PullProgress, PushProgress};

use crate::screen;

/// Prints a line for each blob that was moved.
pub(crate) struct Transfer {
    quiet: bool,
}

impl Transfer {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        let word = match progress {
            BlobProgress::Done if !self.quiet => "moved",
            BlobProgress::Present if !self.quiet => "already there",
            _ => return,
        };
        screen::error_line(&format!(
            "{}  {:>9}  {word}",
            blob.digest.short(),
            screen::size(blob.size)
        ));
    }
}

impl PullProgress for Transfer {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.blob(blob, progress);
    }
}

impl PushProgress for Transfer {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.blob(blob, progress);
    }
}
