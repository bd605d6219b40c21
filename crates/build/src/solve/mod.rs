//! Carrying out what the cache does not know.
//!
//! A build goes through the planned stages in order; each stage through its instructions. Instructions that change
//! files are first given a key ([`crate::plan`]); a known key costs one row of the store and nothing else, so a build
//! that is all known starts no keeper and unpacks nothing. The others run in a [`Site`](site::Site): a pod that the
//! first of them starts.
//!
//! A step's changes lie in an overlay's upper directory. They leave as a tar that is hashed, compressed and written
//! into the store in one pass, and then the directory itself becomes the unpacked layer of the next step, by rename.
//! The next step starts as soon as the tar is read; compressing and syncing end [`behind`] it.
//!
//! Under failure: nothing of a failed step is kept; what earlier steps made stays in the cache. A build that is dropped
//! leaves a pod of its own to end by itself, and removes what it ran in a pod that was given to it.

mod behind;
mod builder;
mod cache;
mod commit;
mod copy;
mod fetch;
mod local_archive;
mod mode;
mod mounts;
mod place;
mod root_copy;
mod roots;
mod run;
mod site;
mod stage;
mod stream;

pub use builder::Builder;
