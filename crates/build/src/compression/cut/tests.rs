//! Cuts depend on the bytes alone, and soon come back to where they were.

use std::collections::HashSet;
use std::io::Read;

use proptest::prelude::*;

use super::super::blocks::Blocks;
use super::*;

/// Bytes that never come again, the same each time.
pub(in crate::compression) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("noise of tests")
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A reader that gives as much at a time as it was told, over and over.
struct Portions<'a> {
    bytes: &'a [u8],
    portions: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.portions.next().copied().unwrap_or(1).min(buffer.len());
        self.bytes.read(&mut buffer[..most])
    }
}

fn blocks(input: &mut dyn Read) -> Vec<Vec<u8>> {
    let mut blocks = Blocks::new(input);
    let next = || Some(blocks.next().expect("memory does not fail"));
    std::iter::from_fn(next)
        .take_while(|block| !block.is_empty())
        .collect()
}

fn known(before: &[u8], after: &[u8]) -> (usize, usize) {
    let known: HashSet<Vec<u8>> = blocks(&mut &before[..]).into_iter().collect();
    let after = blocks(&mut &after[..]);
    (
        after.iter().filter(|block| known.contains(*block)).count(),
        after.len(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn cuts_do_not_depend_on_how_much_comes_at_once(
        seed in any::<u64>(),
        length in 0_usize..4 << 20,
        portions in proptest::collection::vec(1_usize..200_000, 1..8),
    ) {
        let bytes = noise(seed, length);
        let whole = blocks(&mut &bytes[..]);
        prop_assert!(whole.concat() == bytes);
        let before_last = whole.len().saturating_sub(1);
        prop_assert!(whole.iter().all(|block| block.len() <= BLOCK_BYTES));
        prop_assert!(whole[..before_last].iter().all(|block| block.len() >= LEAST_BYTES && block.len() % TAR_BLOCK == 0));
        let mut portioned = Portions { bytes: &bytes, portions: portions.iter().cycle() };
        prop_assert!(blocks(&mut portioned) == whole);
    }
}

#[test]
fn what_is_put_in_moves_few_cuts() {
    let before = noise(1, 32 << 20);
    // A file more, one that grows, one that goes, one that is as long as it was: each by whole tar blocks.
    let more = [&before[..3 << 20], &noise(2, 7 * 512), &before[3 << 20..]].concat();
    let less = [&before[..5 << 20], &before[(5 << 20) + 512..]].concat();
    let mut other = before.clone();
    other[9 << 20] ^= 1;
    for after in [more, less, other] {
        let (known, all) = known(&before, &after);
        assert!(known < all && known + 8 >= all, "{known} of {all}");
    }
}

#[test]
fn bytes_that_are_all_the_same_make_large_blocks() {
    for byte in [0, 7] {
        let blocks = blocks(&mut &vec![byte; 3 * BLOCK_BYTES][..]);
        assert!(blocks[0].len() >= BLOCK_BYTES - TAR_BLOCK);
        assert!(blocks.len() <= 4);
    }
}

#[test]
fn less_than_the_largest_block_is_one() {
    for length in [1, LEAST_BYTES, BLOCK_BYTES - 1] {
        assert_eq!(cut(&noise(3, length)), length);
    }
    assert!(cut(&noise(3, BLOCK_BYTES)) < BLOCK_BYTES);
}
