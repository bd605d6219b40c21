//! The reading side: whole blocks, hashed as they come.

use std::io::Read;

use shipway_oci::{Algorithm, Hasher};

use super::block::BLOCK_BYTES;
use super::{Compressed, GzipError};

/// Reads whole blocks and hashes them as they come.
pub(super) struct Blocks<'a> {
    input: &'a mut dyn Read,
    hasher: Hasher,
    total: u64,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            hasher: Hasher::new(Algorithm::Sha256),
            total: 0,
        }
    }

    /// A full block, a shorter last one, or an empty one at the end.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, GzipError> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        (&mut *self.input)
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut block)
            .map_err(|source| GzipError::Read { source })?;
        self.hasher.update(&block);
        self.total += block.len() as u64;
        Ok(block)
    }

    pub(super) fn finish(self) -> Compressed {
        Compressed {
            diff_id: self.hasher.finish(),
            uncompressed: self.total,
        }
    }
}
