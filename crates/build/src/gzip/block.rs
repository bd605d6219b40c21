//! One deflate block and the frame around all of them.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::GzipError;
use super::stored::{is_incompressible, store};

/// Uncompressed bytes of one block. Part of what a layer's digest depends on: a change changes every layer.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// Deflate level. Part of what a layer's digest depends on.
const LEVEL: u32 = 5;

/// Magic, deflate, no flags, no time, no extra flags, operating system unknown.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty final block: ends the deflate stream behind any number of flushed blocks.
pub(super) const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// A compressed block.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: crc32fast::Hasher,
}

/// Compresses one block on its own: no dictionary from the one before.
pub(super) fn compress(input: &[u8]) -> Result<Block, GzipError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(input);
    if is_incompressible(input) {
        let bytes = store(input);
        return Ok(Block { bytes, crc });
    }
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    let mut bytes = Vec::with_capacity(input.len() / 2 + 64);
    loop {
        let consumed = usize::try_from(deflate.total_in())
            .unwrap_or(usize::MAX)
            .min(input.len());
        let status = deflate
            .compress_vec(&input[consumed..], &mut bytes, FlushCompress::Sync)
            .map_err(|source| GzipError::Deflate { source })?;
        let all_in = deflate.total_in() == input.len() as u64;
        // Room left over means that the flush is complete.
        if all_in && bytes.len() < bytes.capacity() || status == Status::StreamEnd {
            return Ok(Block { bytes, crc });
        }
        bytes.reserve(bytes.capacity().max(4096));
    }
}
