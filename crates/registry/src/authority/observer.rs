//! Who wants to know of pushes: a runner that lists at the end what a job has published.

use shipway_access::Principal;
use shipway_oci::{Digest, RepositoryName, Tag};

/// A tag that was set by a push.
#[derive(Debug, Clone)]
pub struct Push {
    /// Who pushed.
    pub principal: Principal,
    /// Where to.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The manifest that it names now.
    pub digest: Digest,
    /// The manifest's type.
    pub media_type: String,
}

/// Is told of each tag after it was committed, by any face of the authority, on the thread that committed it: it must
/// not block.
pub trait PushObserver: Send + Sync {
    /// A tag was set.
    fn pushed(&self, push: &Push);
}
