//! One deflate block and the gzip member around all of them.

use std::io::{self, Write};

use flate2::{Compress, FlushCompress, Status};

use super::CompressError;
use super::stored::{is_incompressible, store};

/// Magic, deflate, no flags, no time, no extra flags, operating system unknown.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty final block: ends the deflate stream behind any number of flushed blocks.
const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// A compressed block.
pub(super) struct Deflated {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: crc32fast::Hasher,
    length: usize,
}

impl Deflated {
    /// A block that was compressed before: its bytes, and CRC-32 and length of what they were.
    pub(super) fn known(bytes: Vec<u8>, crc: u32, length: u32) -> Self {
        Self {
            bytes,
            crc: crc32fast::Hasher::new_with_initial_len(crc, u64::from(length)),
            length: length as usize,
        }
    }
}

/// Compresses one block on its own: no dictionary from the one before.
pub(super) fn deflate(input: &[u8], level: u32) -> Result<Deflated, CompressError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(input);
    let length = input.len();
    if is_incompressible(input) {
        let bytes = store(input);
        return Ok(Deflated { bytes, crc, length });
    }
    let mut deflate = Compress::new(flate2::Compression::new(level), false);
    let mut bytes = Vec::with_capacity(input.len() / 2 + 64);
    loop {
        let consumed = usize::try_from(deflate.total_in())
            .unwrap_or(usize::MAX)
            .min(input.len());
        let status = deflate
            .compress_vec(&input[consumed..], &mut bytes, FlushCompress::Sync)
            .map_err(|source| CompressError::Deflate { source })?;
        let all_in = deflate.total_in() == input.len() as u64;
        // Room left over means that the flush is complete.
        if all_in && bytes.len() < bytes.capacity() || status == Status::StreamEnd {
            return Ok(Deflated { bytes, crc, length });
        }
        bytes.reserve(bytes.capacity().max(4096));
    }
}

/// The gzip member around the blocks.
pub(super) struct Member {
    crc: crc32fast::Hasher,
    length: u32,
}

impl Member {
    pub(super) fn open(output: &mut dyn Write) -> io::Result<Self> {
        output.write_all(&HEADER)?;
        Ok(Self {
            crc: crc32fast::Hasher::new(),
            length: 0,
        })
    }

    pub(super) fn block(&mut self, block: &Deflated, output: &mut dyn Write) -> io::Result<()> {
        self.crc.combine(&block.crc);
        // The trailer holds the length modulo 2^32.
        #[allow(clippy::cast_possible_truncation)]
        let length = block.length as u32;
        self.length = self.length.wrapping_add(length);
        output.write_all(&block.bytes)
    }

    pub(super) fn close(self, output: &mut dyn Write) -> io::Result<()> {
        let mut trailer = FINAL_BLOCK.to_vec();
        trailer.extend(self.crc.finalize().to_le_bytes());
        trailer.extend(self.length.to_le_bytes());
        output.write_all(&trailer)
    }
}
