//! Git repositories as contexts and as sources of ADD.
//!
//! No git program is needed and none is run: the protocol and packs are gitoxide's, the connections are ours. So nothing of
//! this machine takes part in a fetch: no configuration, no hook, no credential helper, no `ext::` and no file of another
//! repository; and every connection, those of submodules and redirects too, asks the egress policy of the build.
//!
//! 1. [`GitAddress`] says where a repository is and what of it is wanted, pure;
//! 2. `connection` and `http` reach a server, `remote` asks it what a name stands for and takes one commit, without its
//!    history;
//! 3. `objects` keeps the pack in files without names, bounded in every way, and finds objects in it;
//! 4. `checkout` makes a [`Context`](crate::Context) of a commit's tree, with `submodule` for what other repositories give
//!    to it and `directory` for a `.git` that git itself can read.
//!
//! Everything here blocks but the `Fetcher`. A fetch that is dropped ends at its next read.

mod address;
mod checkout;
mod connection;
mod directory;
mod error;
mod fetcher;
mod http;
mod objects;
mod remote;
mod submodule;

pub(crate) use address::without_login;
pub use address::{GitAddress, GitAddressError, GitScheme};
pub use error::GitError;
pub(crate) use fetcher::{Commit, Fetcher, Repository};

/// What a repository may hold at most.
pub mod limits {
    use std::time::Duration;

    /// Bytes of a pack as it is sent.
    pub const PACK_BYTES: u64 = 4 << 30;
    /// Bytes of one object as it is sent.
    pub const PACKED_OBJECT_BYTES: u64 = 128 << 20;
    /// Bytes of one object, and of what is needed to put it together.
    pub const OBJECT_BYTES: usize = 512 << 20;
    /// Bytes of all objects of a pack.
    pub const UNPACKED_BYTES: u64 = 64 << 30;
    /// Objects of a pack.
    pub const OBJECTS: u64 = 4_000_000;
    /// Bytes that a server may say before it sends a pack: names of branches and tags.
    pub const TALK_BYTES: u64 = 64 << 20;
    /// Repositories inside each other.
    pub const SUBMODULE_DEPTH: usize = 8;
    /// Submodules of one repository and of those inside of it.
    pub const SUBMODULES: usize = 500;
    /// How long a repository with all its submodules may take.
    pub const TIME: Duration = Duration::from_secs(60 * 60);
}
