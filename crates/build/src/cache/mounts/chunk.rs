//! Cutting a stream where its content says so.
//!
//! The same bytes are cut in the same places wherever they stand in a stream. Sizes are a compromise: small chunks find more that is
//! known already, large ones compress better and make shorter indices.

use std::io::{self, Read};

use fastcdc::v2020::StreamCDC;

const SMALLEST: usize = 32 << 10;
const USUAL: usize = 128 << 10;
/// No chunk has more bytes.
pub(super) const LARGEST: usize = 512 << 10;

/// The chunks of a stream, in its order.
pub(super) fn chunks(stream: impl Read) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    StreamCDC::new(stream, SMALLEST, USUAL, LARGEST)
        .map(|chunk| chunk.map(|chunk| chunk.data).map_err(io::Error::from))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Bytes that no compressor makes smaller, the same each time.
    pub(in crate::cache::mounts) fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_derive_key("noise of tests")
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_put_in_moves_few_cuts() {
        let before = noise(1, 8 << 20);
        let after = [&before[..3 << 20], b"a few bytes more", &before[3 << 20..]].concat();
        let cut = |bytes: &[u8]| -> Vec<Vec<u8>> { chunks(bytes).map(Result::unwrap).collect() };
        let (first, second) = (cut(&before), cut(&after));
        assert_eq!(first.concat(), before);
        assert!(first.iter().all(|chunk| chunk.len() <= LARGEST));
        let known: HashSet<_> = first.iter().collect();
        let new = second.iter().filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=3).contains(&new), "{new} of {}", second.len());
    }

    #[test]
    fn a_stream_that_breaks_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        assert!(chunks(Broken).next().unwrap().is_err());
        assert!(chunks(io::empty()).next().is_none());
    }
}
