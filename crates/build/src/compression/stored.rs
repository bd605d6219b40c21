//! Blocks that deflate would not make smaller: archives, pictures, keys, random bytes.
//!
//! Deflate takes longer over them than over text and then stores them all the same. Whether a block is one is decided
//! by its bytes alone and with whole numbers, so the answer is the same everywhere. Part of what a layer's digest
//! depends on.

/// Bytes of one stored deflate block.
const STORED_BYTES: usize = 0xffff;
/// Shorter blocks are compressed: their bytes are too few to judge by, and cost next to nothing.
const LEAST_BYTES: usize = 64 << 10;
/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;
/// One position in this many is looked at for repetitions, chosen by the bytes that stand there.
const SAMPLE: u32 = 6;
/// Bits of the table of positions.
const TABLE: u32 = 12;

/// Whether no byte is much more frequent than others and nothing comes again.
pub(super) fn is_incompressible(input: &[u8]) -> bool {
    input.len() >= LEAST_BYTES && is_flat(input) && !has_repetitions(input)
}

/// Whether two bytes taken at random are equal hardly more often than one time in 256: at most one percent more.
fn is_flat(input: &[u8]) -> bool {
    // Four tables, because counting equal bytes one after the other would wait for each sum.
    let mut counts = [[0_u32; 256]; 4];
    for bytes in input.chunks(4) {
        for (table, byte) in counts.iter_mut().zip(bytes) {
            table[usize::from(*byte)] += 1;
        }
    }
    let pairs: u64 = (0..256)
        .map(|byte| counts.iter().map(|table| u64::from(table[byte])).sum::<u64>())
        .map(|count| count * count)
        .sum();
    let length = input.len() as u64;
    pairs * 256 * 100 <= length * length * 101
}

/// Whether eight bytes come again within deflate's window more than once in 64 samples.
fn has_repetitions(input: &[u8]) -> bool {
    let mut table = [0_usize; 1 << TABLE];
    let (mut samples, mut repeated) = (0_u32, 0_u32);
    for (at, bytes) in input.windows(8).enumerate() {
        let Some(bytes) = bytes.first_chunk::<8>() else {
            continue;
        };
        // One is added so that zeros, of which a tar has some around each file, are no sample; too many of them are
        // not flat.
        let hash = u64::from_le_bytes(*bytes)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if hash >> (64 - SAMPLE) != 0 {
            continue;
        }
        // The bits below those that chose the position.
        let slot = (hash >> (64 - SAMPLE - TABLE)) as usize & ((1 << TABLE) - 1);
        let before = std::mem::replace(&mut table[slot], at);
        samples += 1;
        if before < at && at - before <= WINDOW && input.get(before..before + 8) == Some(bytes.as_slice()) {
            repeated += 1;
        }
    }
    u64::from(repeated) * 64 > u64::from(samples)
}

/// The block as deflate's stored blocks, none of them the last one.
pub(super) fn store(input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len() + 5 * input.len().div_ceil(STORED_BYTES));
    for part in input.chunks(STORED_BYTES) {
        // A chunk is never longer.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        bytes.push(0);
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::cut::BLOCK_BYTES;

    fn random(length: usize) -> Vec<u8> {
        let mut state: u64 = 88_172_645_463_325_252;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn only_what_deflate_could_not_shrink_is_stored() {
        assert!(is_incompressible(&random(BLOCK_BYTES)));
        assert!(is_incompressible(&random(LEAST_BYTES)));
        assert!(!is_incompressible(&random(LEAST_BYTES - 1)));
        // A file in a tar: a header of mostly zeros, its bytes, zeros at the end.
        let mut entry = vec![0; 512];
        entry.extend(random(BLOCK_BYTES - 2048));
        entry.resize(BLOCK_BYTES, 0);
        assert!(is_incompressible(&entry));
        assert!(!is_incompressible(&vec![0; BLOCK_BYTES]));
        // All bytes are equally frequent, and yet it is one page again and again.
        for period in [4096, 4099, WINDOW] {
            let page = random(period);
            let pages: Vec<u8> = page.iter().copied().cycle().take(BLOCK_BYTES).collect();
            assert!(!is_incompressible(&pages), "a period of {period}");
        }
        let hexadecimal: Vec<u8> = random(BLOCK_BYTES)
            .iter()
            .map(|byte| b"0123456789abcdef"[usize::from(byte & 15)])
            .collect();
        assert!(!is_incompressible(&hexadecimal));
        let mut half = random(BLOCK_BYTES / 2);
        half.extend(
            b"the same words again and again "
                .iter()
                .cycle()
                .take(BLOCK_BYTES / 2),
        );
        assert!(!is_incompressible(&half));
    }
}
