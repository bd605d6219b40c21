//! One job, start to end: sources, images, services, engine, scripts, trace, artifacts.
//!
//! The way in is [`run_job`]: it takes a job as GitLab's runner API describes it
//! ([`shipway_pipeline::job::JobPayload`]), runs it in a pod of its own, and says how it ended. Who hands out jobs (a
//! local pipeline, a server) is none of its business, nor what a pipeline is.
//!
//! - [`script`](mod@script) turns commands and variables into what a shell reads; `execution` feeds it to the container.
//! - [`trace`](mod@trace) is the one way to the job's log; secrets end there.
//! - [`Sources`] fill the project's directory, [`ArtifactStore`]s carry files from job to job, [`CacheStore`]s from
//!   pipeline to pipeline.
//! - `shell` runs scripts on the machine itself, where a runner is told to.
//! - `services` runs what stands beside a job, `engine` takes the place of a Docker daemon, `registry` gives the
//!   registry its name inside.
//! - [`configuration`](mod@configuration) reads gitlab-runner's `config.toml`.
//! - [`registration`](mod@registration) makes a runner known to a GitLab and writes it into that file.
//! - `job` walks through the stages and closes everything, whatever happened.

mod address;
mod artifacts;
mod builds;
mod cache;
mod cancellation;
pub mod configuration;
mod context;
mod credentials;
mod engine;
mod exact;
mod execution;
mod images;
mod job;
mod outcome;
pub mod registration;
mod registry;
pub mod retention;
mod scratch;
pub mod script;
mod selection;
mod services;
mod shell;
mod sources;
mod token;
pub mod trace;
mod variables;

pub use artifacts::{ArtifactDirectory, ArtifactStore, Expiry};
pub use cache::{CacheDirectory, CacheStore};
pub use cancellation::Cancellation;
pub use context::{Containers, HostCredentials, ImageFreshness, NoContainers, RunnerContext, Substitution};
pub use engine::is_docker_daemon;
pub use job::{DeadJobs, JobClaim, JobMarks, JobRun, disarm_dead_jobs, forget_dead_jobs, host_name, run_job};
pub use outcome::{FailureReason, JobOutcome, JobStatus};
pub use sources::{GitError, SourceError, SourceReport, Sources, WorkTree, forget_histories};
pub use token::JobToken;
pub use trace::{Masker, Stage, Trace, TraceEvent, TraceListener};
