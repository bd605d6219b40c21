//! One layer out, in one pass: tar bytes come in, their hash is the diffID, the compressed bytes go to the store.
//!
//! The output is one gzip member made of independent 1 MiB deflate blocks, each ended by a sync flush as pigz does,
//! with a header that names no time and no file. A block's bytes depend only on the block, so the result is the same
//! with any number of threads, and memory is bounded by the blocks in flight. A failed write or read ends the layer;
//! nothing of it is kept, because an uncommitted blob is discarded.
//!
//! Reading runs ahead of compressing where the caller wants to know the diffID first ([`ahead`]).

mod ahead;
mod block;
mod blocks;
mod compressor;
mod stored;

pub(crate) use ahead::{Room, ahead};
pub use compressor::{Compressed, Compressor, GzipError};
