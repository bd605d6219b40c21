//! The reading side: whole blocks, hashed as they come.

use std::io::{ErrorKind, Read};

use shipway_oci::{Algorithm, Hasher};

use super::{CompressError, Compressed};

/// Uncompressed bytes of one block. Part of what a layer's digest depends on: a change changes every layer.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

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
    pub(super) fn next(&mut self) -> Result<Vec<u8>, CompressError> {
        // Straight into the block, as much at once as there is: a growing buffer asks for a few kilobytes at a time.
        let (mut block, mut length) = (vec![0; BLOCK_BYTES], 0);
        while length < BLOCK_BYTES {
            match self.input.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(CompressError::Read { source }),
            }
        }
        block.truncate(length);
        // Many small layers may wait at once.
        if length < BLOCK_BYTES / 2 {
            block.shrink_to_fit();
        }
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
