//! One block as a zstd frame of its own.
//!
//! zstd says that frames one after the other are the frames' contents one after the other, and every reader of layers takes it so. A
//! frame knows its size, has no dictionary from the one before, and no checksum: a layer's digest is a better one.

use super::CompressError;

/// Compresses blocks at one level. Memory for the tables of a level is kept between blocks.
pub(super) struct Zstd {
    context: zstd::bulk::Compressor<'static>,
}

impl Zstd {
    pub(super) fn new(level: i32) -> Result<Self, CompressError> {
        Ok(Self {
            context: zstd::bulk::Compressor::new(level).map_err(|source| CompressError::Zstd { source })?,
        })
    }

    pub(super) fn frame(&mut self, block: &[u8]) -> Result<Vec<u8>, CompressError> {
        self.context
            .compress(block)
            .map_err(|source| CompressError::Zstd { source })
    }
}
