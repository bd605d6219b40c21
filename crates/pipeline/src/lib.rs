//! From `.gitlab-ci.yml` to jobs.
//!
//! The folders are the stages of a compiler. `yaml` reads text as GitLab's Ruby does, into a tree that knows its places;
//! `compile` resolves includes, `extends` and `!reference`, evaluates `workflow` and `rules` (with [`expression`]) and gives
//! a [`Pipeline`]; [`schedule`] is the state machine that says which of its jobs may start; [`job`] is one job as GitLab's
//! runner API hands it out, which is where this crate meets a runner; [`variables`] holds GitLab's expanders and slugs.
//!
//! Everything is pure: no clock, no environment, no network, and no disk but what a [`FileSource`] answers. What the
//! configuration may know comes in as a [`Situation`]. Input is untrusted: sizes, depths and counts are bounded, errors are
//! [`Diagnostic`]s with a place, and nothing panics.
//!
//! What GitLab does is the specification, oddities included; a keyword that is not supported stops the compilation rather
//! than being passed over, because a pipeline that silently does less is worse than none.

mod compile;
mod diagnostic;
pub mod expression;
pub mod job;
mod left_out;
mod name;
mod pipeline;
pub mod schedule;
mod situation;
mod source;
pub mod variables;
mod yaml;

pub use compile::{Compiled, DurationError, Options, compile, parse_duration};
pub use diagnostic::{Diagnostic, Severity};
pub use left_out::{Exclusion, LeftOut};
pub use name::{JobName, NameError, StageName};
pub use pipeline::{
    AllowFailure, Artifacts, Cache, CacheKey, Environment, Image, Job, KeepWhen, Need, Node, OnJobFailure,
    Pipeline, Retry, Service, When,
};
pub use situation::{
    CommitFacts, MergeRequestFacts, PipelineFacts, PipelineSource, ProjectFacts, RefKind, ServerFacts,
    Situation, UserFacts,
};
pub use source::{Directory, FileSource};
