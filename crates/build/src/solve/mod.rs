//! Carrying out what the cache does not know.
//!
//! A build goes through the planned stages in order; each stage through its instructions. Instructions that change
//! files are first given a key ([`crate::plan`]); a known key costs one row of the store and nothing else, so a build
//! that is all known starts no keeper and unpacks nothing. The others run in a [`Site`](site::Site): a pod that the
//! first of them starts.
//!
//! A step's changes lie in an overlay's upper directory. They leave as a tar that is hashed, compressed and written
//! into the store in one pass, and then the directory itself becomes the unpacked layer of the next step, by rename.
//! The next step starts as soon as the tar is read; compressing and syncing end [`behind`] it. Files of a context that are put on nothing
//! and that nobody looks at behind their step never lie in a directory: they go [`straight`] into their layer.
//!
//! Under failure: nothing of a failed step is kept; what earlier steps made stays in the cache. A build that is dropped
//! leaves a pod of its own to end by itself, and removes what it ran in a pod that was given to it.

mod add_git;
mod behind;
mod builder;
mod cache;
mod check;
mod commit;
mod contexts;
mod copy;
mod describe;
mod emulation;
mod explain;
mod fetch;
mod local_archive;
mod mode;
mod mounts;
mod pieces;
mod place;
mod recorded;
mod remote;
mod root_copy;
mod roots;
mod run;
mod schedule;
mod site;
mod source;
mod stage;
mod state;
mod straight;
mod stream;
mod transport;
mod turn;

pub use builder::Builder;
pub use cache::recorded_step;
pub use check::Checked;
pub use describe::Described;
pub use explain::{Difference, Miss};
pub use remote::begins_archive;
pub(crate) use stream::{file, through_pipe};
pub use turn::sweep_turns;
