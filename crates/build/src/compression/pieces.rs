//! What is remembered of the pieces that a layer's blob is made of, so that later layers can take them.
//!
//! A piece is a block as it stands in the blob. They stand one behind the other, so that their lengths give their places. What is
//! remembered names the version of the bytes and the compression with its level, and none is taken that was made another way: a
//! layer of which pieces are copied is, byte for byte, the layer that would be made without.

use super::frame::before_blocks;
use super::{BYTES, Compression};

/// Pieces that are remembered of a layer: those of some gigabytes.
const MOST_PIECES: usize = 16_384;
/// Bytes that one takes in the index.
const ROW_BYTES: usize = 2 * HASH_BYTES + 3 * 4;
const HASH_BYTES: usize = blake3::OUT_LEN;

/// A block of a tar, and what it is in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The hash of the block.
    pub(super) block: blake3::Hash,
    /// The block's bytes.
    pub(super) length: u32,
    /// The block's CRC-32, where the compression has to know it.
    pub(super) crc: u32,
    /// The hash of what is in the blob.
    pub(super) stored: blake3::Hash,
    /// The bytes that are in the blob.
    pub(super) stored_length: u32,
}

/// The pieces of a layer, in their order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: Vec<Piece>,
    all: u64,
    copied: u64,
}

impl Pieces {
    pub(super) fn add(&mut self, piece: Piece, is_copied: bool) {
        self.all += 1;
        self.copied += u64::from(is_copied);
        if self.pieces.len() < MOST_PIECES {
            self.pieces.push(piece);
        }
    }

    /// How many there are; none of a layer that is a single block.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// How many of them were copied.
    pub(crate) fn copied(&self) -> u64 {
        self.copied
    }

    /// What is to be remembered of them.
    pub(crate) fn index(&self, compression: Compression) -> Vec<u8> {
        let mut index = head(compression);
        index.reserve(self.pieces.len() * ROW_BYTES + HASH_BYTES);
        for piece in &self.pieces {
            index.extend(piece.block.as_bytes());
            index.extend(piece.stored.as_bytes());
            for number in [piece.length, piece.crc, piece.stored_length] {
                index.extend(number.to_le_bytes());
            }
        }
        let sum = blake3::hash(&index);
        index.extend(sum.as_bytes());
        index
    }
}

/// The pieces of an index with their places in the blob; nothing of one that is damaged, or of another compression.
pub(super) fn places(index: &[u8], compression: Compression) -> Option<Vec<(u64, Piece)>> {
    let (index, sum) = index.split_last_chunk::<HASH_BYTES>()?;
    if blake3::hash(index) != *sum {
        return None;
    }
    let rows = index.strip_prefix(&head(compression)[..])?;
    let mut offset = before_blocks(compression);
    rows.chunks(ROW_BYTES)
        .map(|row| {
            let piece = piece(row)?;
            let place = (offset, piece);
            offset += u64::from(piece.stored_length);
            Some(place)
        })
        .collect()
}

fn piece(row: &[u8]) -> Option<Piece> {
    let (block, row) = row.split_first_chunk::<HASH_BYTES>()?;
    let (stored, row) = row.split_first_chunk::<HASH_BYTES>()?;
    let number = |place: usize| Some(u32::from_le_bytes(*row.get(4 * place..)?.first_chunk()?));
    Some(Piece {
        block: (*block).into(),
        stored: (*stored).into(),
        length: number(0)?,
        crc: number(1)?,
        stored_length: number(2)?,
    })
}

/// What an index begins with.
fn head(compression: Compression) -> Vec<u8> {
    let level = match compression {
        Compression::Uncompressed => 0,
        Compression::Gzip(level) | Compression::Estargz(level) => i64::from(level),
        Compression::Zstd(level) => i64::from(level),
    };
    format!("shipway pieces 2, {BYTES}, {compression} {level}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(count: u32) -> Pieces {
        let mut pieces = Pieces::default();
        for number in 0..count {
            let piece = Piece {
                block: blake3::hash(&number.to_le_bytes()),
                length: 100 + number,
                crc: number,
                stored: blake3::hash(b"stored"),
                stored_length: 10 + number,
            };
            pieces.add(piece, number == 0);
        }
        pieces
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let made = made(3);
        let gzip = Compression::Gzip(5);
        let index = made.index(gzip);
        let places = places(&index, gzip).unwrap();
        let (offsets, pieces): (Vec<u64>, Vec<Piece>) = places.into_iter().unzip();
        assert_eq!(pieces, made.pieces);
        assert_eq!(offsets, [10, 20, 31], "behind gzip's header");
        assert_eq!((made.all(), made.copied()), (3, 1));
    }

    #[test]
    fn what_is_another_s_or_damaged_is_not_read() {
        let index = made(2).index(Compression::Gzip(5));
        for other in [
            Compression::Gzip(6),
            Compression::Estargz(5),
            Compression::Zstd(5),
        ] {
            assert!(places(&index, other).is_none());
        }
        for at in [0, 20, index.len() / 2, index.len() - 1] {
            let mut damaged = index.clone();
            damaged[at] ^= 1;
            assert!(places(&damaged, Compression::Gzip(5)).is_none());
        }
        for length in 0..index.len() {
            assert!(places(&index[..length], Compression::Gzip(5)).is_none());
        }
    }

    #[test]
    fn an_index_has_a_largest_size() {
        let made = made(u32::try_from(MOST_PIECES).unwrap() + 5);
        assert_eq!(made.all(), MOST_PIECES as u64 + 5);
        let index = made.index(Compression::default());
        assert_eq!(places(&index, Compression::default()).unwrap().len(), MOST_PIECES);
    }
}
