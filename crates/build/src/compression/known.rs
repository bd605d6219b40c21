//! The pieces of earlier layers, and how a block is made of them or by a compressor.
//!
//! A block is known by its BLAKE3. What stands for it is read from the earlier blob and hashed as well: from a blob that is damaged
//! or gone nothing is taken, and the block is compressed as any other.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_oci::Digest;

use super::frame::{Block, Worker};
use super::pieces::{Piece, places};
use super::{CompressError, Compression};

/// Opens a blob.
type Open = Box<dyn Fn(&Digest) -> io::Result<File> + Send + Sync>;

/// Pieces that a layer can be made of.
pub(crate) struct Known {
    compression: Compression,
    open: Open,
    blobs: Vec<Blob>,
    places: HashMap<blake3::Hash, Place>,
}

/// A blob. Opened for each piece: of many layers a descriptor each would be more than a process may have.
struct Blob {
    digest: Digest,
    /// Set with the first piece that could not be had.
    is_doubtful: AtomicBool,
}

#[derive(Clone, Copy)]
struct Place {
    blob: usize,
    offset: u64,
    piece: Piece,
}

/// A block as it goes into a layer.
pub(super) struct Made {
    pub(super) block: Block,
    /// What is remembered of it, and whether it was copied.
    pub(super) piece: Option<(Piece, bool)>,
}

impl Known {
    /// Nothing yet, for layers of this compression.
    pub(crate) fn new(
        compression: Compression,
        open: impl Fn(&Digest) -> io::Result<File> + Send + Sync + 'static,
    ) -> Self {
        Self {
            compression,
            open: Box::new(open),
            blobs: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Adds the pieces of a blob by its index, where they are of this compression and not known yet.
    pub(crate) fn add(&mut self, digest: Digest, index: &[u8]) {
        let Some(places) = places(index, self.compression) else {
            return;
        };
        let blob = self.blobs.len();
        self.blobs.push(Blob {
            digest,
            is_doubtful: AtomicBool::new(false),
        });
        for (offset, piece) in places {
            self.places
                .entry(piece.block)
                .or_insert(Place { blob, offset, piece });
        }
    }

    /// What stands for a block in an earlier blob.
    fn find(&self, hash: &blake3::Hash, length: u32) -> Option<(Block, Piece)> {
        let place = self
            .places
            .get(hash)
            .filter(|place| place.piece.length == length)?;
        let blob = self.blobs.get(place.blob)?;
        let bytes = self.read(blob, place).inspect_err(|error| {
            // Said once: of a blob that is gone all pieces are missed.
            if !blob.is_doubtful.swap(true, Ordering::Relaxed) {
                tracing::warn!(blob = %blob.digest, %error, "pieces of an earlier layer are made anew");
            }
        });
        let bytes = bytes.ok()?;
        Some((Block::known(self.compression, bytes, &place.piece), place.piece))
    }

    fn read(&self, blob: &Blob, place: &Place) -> io::Result<Vec<u8>> {
        let length = usize::try_from(place.piece.stored_length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        (self.open)(&blob.digest)?.read_exact_at(&mut bytes, place.offset)?;
        if blake3::hash(&bytes) == place.piece.stored {
            Ok(bytes)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is damaged"))
        }
    }
}

impl Made {
    /// Copies a block from an earlier layer, or compresses it. Nothing is remembered where no pieces are known, not even that there
    /// are none.
    pub(super) fn of(
        block: &[u8],
        known: Option<&Known>,
        worker: &mut Worker,
    ) -> Result<Self, CompressError> {
        let Some(known) = known else {
            let block = worker.compress(block)?;
            return Ok(Self { block, piece: None });
        };
        let hash = blake3::hash(block);
        // Neither a block nor what it becomes is ever longer.
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let length = number(block.len());
        if let Some((block, piece)) = known.find(&hash, length) {
            let piece = Some((piece, true));
            return Ok(Self { block, piece });
        }
        let block = worker.compress(block)?;
        let piece = Piece {
            block: hash,
            length,
            crc: block.crc(),
            stored: blake3::hash(block.bytes()),
            stored_length: number(block.bytes().len()),
        };
        let piece = Some((piece, false));
        Ok(Self { block, piece })
    }
}

#[cfg(test)]
mod tests;
