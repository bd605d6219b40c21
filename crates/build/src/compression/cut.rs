//! Where a block ends: where the bytes of the tar say so.
//!
//! A cut stands before one of the tar's own blocks of 512 bytes, and what that holds decides, not where it stands: a file that comes,
//! goes or grows moves what follows by whole ones, and soon cuts fall in the same places of it as before. So the blocks of an
//! unchanged part of a layer are the blocks that they were. Part of what a layer's digest depends on.

/// Uncompressed bytes that a block has at least, if it is not the last one.
pub(super) const LEAST_BYTES: usize = 512 << 10;
/// Uncompressed bytes that no block exceeds.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// What all entries of a tar are padded to.
const TAR_BLOCK: usize = 512;
/// One tar block in 2 to the power of this is as good a place for a cut as any.
const RARITY: u32 = 9;

/// The length of the first block of these bytes, which are all that is left where they are fewer than [`BLOCK_BYTES`], and no more
/// than that otherwise.
///
/// The first tar block behind [`LEAST_BYTES`] whose CRC-32 begins with enough zeros begins the next block; where there is none, the
/// one with the smallest CRC-32, of equal ones the last.
pub(super) fn cut(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    if end < BLOCK_BYTES {
        return end;
    }
    let mut smallest = u32::MAX;
    for (place, tar_block) in bytes[LEAST_BYTES..].chunks_exact(TAR_BLOCK).enumerate() {
        let sum = crc32fast::hash(tar_block);
        if sum <= smallest {
            smallest = sum;
            end = LEAST_BYTES + place * TAR_BLOCK;
        }
        if sum.leading_zeros() >= RARITY {
            break;
        }
    }
    end
}

#[cfg(test)]
pub(super) mod tests;
