//! One layer out, in one pass: tar bytes come in, their hash is the diffID, the compressed bytes go to the store.
//!
//! The tar is cut into blocks of half a MiB to a whole one where its content says so ([`cut`]), each compressed on its own, so that the
//! result is the same with any number of threads and memory is bounded by the blocks in flight. gzip is one member made of deflate blocks
//! that end with a sync flush as pigz does, with a header that names no time and no file; zstd is one frame after the other. A failed
//! write or read ends the layer; nothing of it is kept, because an uncommitted blob is discarded.
//!
//! eStargz ([`estargz`]) has a tar of its own behind the layer's, and is made of a finished layer.
//!
//! A block that stands in an earlier layer of the same project is copied from there ([`known`], [`pieces`]), which gives the same bytes.
//!
//! Reading runs ahead of compressing where the caller wants to know the diffID first ([`ahead`]).

mod ahead;
mod blocks;
mod compressor;
mod cut;
mod error;
pub(crate) mod estargz;
mod frame;
mod gzip;
mod hashing;
mod kind;
mod known;
mod pieces;
mod stored;
mod zstd;

pub(crate) use ahead::{Reader, Room, ahead};
pub use compressor::{Compressed, Compressor};
pub use error::CompressError;
pub use kind::{Compression, CompressionError};
pub(crate) use known::Known;
pub(crate) use pieces::Pieces;

/// Changes when the bytes of any compression at any level change, with a library's version too: what was made before is not mixed with
/// what is made now.
pub(crate) const BYTES: &str = "shipway layer 2";
