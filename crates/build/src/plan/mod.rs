//! What a build will do, before it does anything.
//!
//! [`stages`] finds the stages that the target needs, [`arguments`] what build arguments mean where, [`effect`] what
//! an instruction does to an image's configuration, [`transfer`] which files COPY takes and what they will be called,
//! and [`key`] the names under which results are kept. All of it is pure: no clock, environment, disk or network.

mod arguments;
mod effect;
mod key;
mod shell;
mod stages;
mod transfer;

pub(crate) use arguments::{Arguments, Declarations, GlobalArguments};
pub(crate) use effect::{Effects, join_path};
pub(crate) use key::{CacheKey, CopyInputs, CopySource, RunInputs, copy_key, run_key, workdir_key};
pub(crate) use shell::{Invocation, invocation};
pub(crate) use stages::{Base, Plan, PlannedStage, Wanted, from_stage};
pub use transfer::SelectError;
pub(crate) use transfer::{Destination, Item, ItemKind, Placement, select};
