//! Containers where nothing can be mounted: tiers C and B′, and what tier D has of them.
//!
//! In tier C the place is a container of somebody else's, this process its root, with the few capabilities and the filter of system calls
//! that container engines give by default. In tier B′ this process is a user's, in a user namespace with his id alone; owners are then
//! recorded, and a supervisor answers the calls that ask for them and the opens of devices ([`crate::supervisor`]). The keeper takes the same requests as elsewhere and answers them by other means:
//!
//! - A root is a **tree** of plain files, put together from its layers ([`materialise`]) and kept for the next request that means the
//!   same layers ([`trees`]). What a step does, it does in the tree itself; then the tree is compared with a list of what was in it
//!   before ([`manifest`]), and what has changed is written into the step's upper directory ([`changes`]) in the form that overlayfs
//!   would have left there. So a layer, and whatever is above the keeper, is the same as elsewhere.
//! - What elsewhere is mounted is put into the tree for as long as the process runs, and taken out again ([`fittings`]).
//! - A process is kept in its tree by `chroot`, fewer capabilities than the place has, and Landlock ([`confine`]).
//! - Instead of a pid namespace, a [`minder`] adopts and ends all that a process leaves behind.
//!
//! Trees belong to one keeper and go with it; what a killed one left, the next removes ([`home`]).

mod apply;
mod changes;
mod confine;
mod copy;
mod fittings;
mod home;
mod kernel_files;
mod manifest;
mod materialise;
mod minder;
mod outcome;
mod probe;
mod start;
mod tree;
mod trees;

pub(crate) use self::apply::apply;
pub(crate) use self::confine::give_up_gaining;
pub(crate) use self::kernel_files::DEVICES;
pub(crate) use self::minder::{END, reason};
pub(crate) use self::outcome::Outcome;
pub(crate) use self::probe::{examine, examine_files, examine_tree, landlock};
pub(crate) use self::start::{container, missing};
pub(crate) use self::tree::Assigned;
pub(crate) use self::trees::{Lease, Trees};
