//! The reading side: whole blocks, cut where their bytes say so.

use std::io::{ErrorKind, Read};

use super::CompressError;
use super::cut::{BLOCK_BYTES, cut};

/// Reads whole blocks.
pub(super) struct Blocks<'a> {
    input: &'a mut dyn Read,
    /// What was read behind the last cut.
    rest: Vec<u8>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            rest: Vec::new(),
        }
    }

    /// The next block, or an empty one at the end.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, CompressError> {
        // Straight into the block, as much at once as there is: a growing buffer asks for a few kilobytes at a time.
        let (mut block, mut length) = (vec![0; BLOCK_BYTES], self.rest.len());
        block[..length].copy_from_slice(&self.rest);
        while length < BLOCK_BYTES {
            match self.input.read(&mut block[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(CompressError::Read { source }),
            }
        }
        let end = cut(&block[..length]);
        self.rest.clear();
        self.rest.extend_from_slice(&block[end..length]);
        block.truncate(end);
        // Many small layers may wait at once.
        if end < BLOCK_BYTES / 2 {
            block.shrink_to_fit();
        }
        Ok(block)
    }
}
