//! Moving bytes between sockets, which are asynchronous, and files, which are not.
//!
//! Both ends of the protocol need the two directions: [`FileBody`] sends a file, [`chunks`] hands what arrives to a
//! blocking thread that hashes and writes. Memory is bounded by a few chunks per transfer in either direction.

mod chunks;
mod file_body;
mod pace;

pub(crate) use chunks::{Chunks, Feed, Interrupted, chunks};
pub use file_body::FileBody;
pub(crate) use file_body::read_exactly;
pub(crate) use pace::Pace;

/// A connection that brought or took this much of a blob counts as a success, after which as many may be cut again as at first.
/// Less does not: a blob in drops would take thousands of connections.
pub(crate) const PROGRESS: u64 = 256 * 1024;
