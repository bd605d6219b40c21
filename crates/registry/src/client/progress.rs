//! What happens to each blob while an image moves.

use shipway_oci::{Descriptor, Digest};

/// Where a blob stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobProgress {
    /// Its turn has not come.
    Waiting,
    /// It was already there.
    ///   ## Waiting => Present
    Present,
    /// It moves.
    ///   ## Waiting => Moving => Moving
    Moving {
        /// How many bytes of it have moved.
        done: u64,
    },
    /// The connection was cut or refused; it is tried again.
    ///   ## Moving => Retrying => Moving
    Retrying,
    /// It has arrived and was verified.
    ///   ## Moving => Done
    Done,
}

/// Told of a pull; called often, from async code: it must be quick.
pub trait PullProgress: Send + Sync {
    /// The name was resolved to this manifest (of an index, if it is one).
    fn resolved(&self, _digest: &Digest) {}
    /// A blob has come further.
    fn blob(&self, _blob: &Descriptor, _progress: BlobProgress) {}
}

/// Told of a push; called often, from async code: it must be quick.
pub trait PushProgress: Send + Sync {
    /// A blob has come further.
    fn blob(&self, _blob: &Descriptor, _progress: BlobProgress) {}
    /// A manifest was accepted.
    fn manifest(&self, _digest: &Digest) {}
}

/// Nobody watches.
impl PullProgress for () {}

/// Nobody watches.
impl PushProgress for () {}
