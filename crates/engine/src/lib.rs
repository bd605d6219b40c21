//! Faces for other people's tools: the Docker Engine API over containers and builds.
//!
//! An [`Engine`] is what one job takes for its Docker daemon. It speaks the Engine API 1.24 to 1.47 over a Unix socket,
//! plain TCP inside a pod, or TLS with client certificates ([`certificates`]), and translates: images are those of the
//! engine's scope, containers run in the job's pod, builds go to `shipway_build`, registries are reached by
//! `shipway_registry` under the job's egress policy. There is no daemon behind it and nothing outlives the job but bytes
//! in the store and, if the scope is a lasting one, image names.
//!
//! The way of a request: `serve` accepts, `route` says what is asked, `dispatch` calls a handler, and a handler ends in a
//! `reply` or a `failure`. What is decided without asking anybody (`plan`, `filter`, `query`, `version`) is pure.
//!
//! Whoever reaches the engine is root in it, as with Docker; it is no root anywhere else. What would break out of the
//! job (`--pid=host`, devices, the machine's network and paths) is refused by name, and what is merely not there
//! is a warning. Credentials pass through and are never logged.
//!
//! Assumption that nothing here enforces: the caller serves a job's engine only inside that job's pod.

mod build;
pub mod certificates;
mod clock;
mod container;
mod credential;
mod dispatch;
mod engine;
mod event;
mod failure;
mod filter;
mod hijack;
mod image;
mod intake;
mod model;
mod name;
mod network;
mod plan;
mod query;
mod reply;
mod resource;
mod route;
mod serve;
mod stdcopy;
mod system;
mod tar_stream;
mod version;
mod volume;

pub use engine::{Engine, EngineOptions, HostPaths, Observer};
pub use serve::{Observation, ServeError};

/// Whether clients may speak BuildKit's own protocol; where not, they are told to use the classic one
/// (`DOCKER_BUILDKIT=0`).
pub const OFFERS_BUILDKIT: bool = false;
