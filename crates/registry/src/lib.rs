//! The distribution protocol, both ends.
//!
//! - [`wire`] has the words of the protocol: routes, the table of errors, headers with a grammar. Pure.
//! - [`authority`] has its meaning: operations of somebody on a repository, with their rights checked, over a store.
//!   Synchronous, without HTTP.
//! - [`server`] puts an [`Authority`] on a socket.
//! - [`client`] talks to everybody's registries, and calls an [`Authority`] of ours directly.
//!
//! Server and client never import each other: what they share is the protocol, and both ends of it are tested against one
//! another. That client and server of one installation meet in [`authority`] is what makes an image pushed by a job
//! cost no copy, while the rights stay decided in one place.

pub mod authority;
pub mod client;
pub mod server;
mod transfer;
pub mod wire;

pub use authority::{Authority, ManifestPut, Push, PushObserver, PutManifestRequest};
pub use client::{
    AllowAll, Answer, Audience, BlobProgress, Client, ClientError, ClientOptions, EgressPolicy, Exchange,
    Fetched, Mirror, OpenRepository, PullProgress, Pulled, PushProgress, RegistryCredentials, Resolved,
    Timeouts,
};
pub use server::{FileBody, Origin, ResponseBody, Scheme, ServeError, Server, ServerOptions};
pub use wire::{ErrorCode, RegistryError};
