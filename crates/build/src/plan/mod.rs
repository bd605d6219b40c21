//! What a build will do, before it does anything.
//!
//! [`stages`] finds the stages that the target needs, [`names`] what a name in them stands for, [`arguments`] what build
//! arguments mean where, [`effect`] what an instruction does to an image's configuration, [`transfer`] which files COPY
//! takes and what they will be called, [`key`] the names under which results are kept, and [`inputs`] what such a name is
//! made of, for who asks why it changed. All of it is pure: no clock, environment, disk or network.

mod arguments;
mod effect;
mod inputs;
mod key;
mod names;
mod port;
mod shell;
mod stages;
mod transfer;

pub(crate) use arguments::{Arguments, Declarations, GlobalArguments};
pub(crate) use effect::{Effects, give_path, join_path};
pub(crate) use inputs::{BaseInput, Inputs};
pub use inputs::{Change, InputKind};
pub(crate) use key::{CacheKey, CopyInputs, CopySource, Ground, RunInputs, copy_key, run_key, workdir_key};
pub(crate) use names::{Meaning, Names, sources};
pub(crate) use port::PortSpec;
pub(crate) use shell::{Invocation, invocation};
pub(crate) use stages::{Base, Plan, PlannedStage, Wanted};
pub use transfer::SelectError;
pub(crate) use transfer::{Destination, Item, ItemKind, Placement, Sources, select};
