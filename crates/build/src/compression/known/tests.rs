//! A layer of copied pieces is the layer that would be compressed, and nothing is taken from a blob that is not what it was.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::blocks::Blocks;
use super::super::cut::tests::noise;
use super::super::{Compressor, Pieces};
use super::*;

const ALL: [Compression; 3] = [
    Compression::Gzip(5),
    Compression::Zstd(3),
    Compression::Uncompressed,
];

/// Words that compress, and never come again.
fn words(seed: u64, length: usize) -> Vec<u8> {
    let words = noise(seed, length / 2 + 1);
    let mut text: Vec<u8> = words
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect();
    text.truncate(length);
    text
}

/// Blobs of earlier layers.
struct Blobs(tempfile::TempDir);

impl Blobs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.path().join(digest.hex())
    }

    fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        fs::write(self.path(&digest), bytes).unwrap();
        digest
    }

    /// What is known by these layers.
    fn known(&self, compression: Compression, layers: &[(&Digest, Vec<u8>)]) -> Known {
        let directory = self.0.path().to_owned();
        let mut known = Known::new(compression, move |blob| File::open(directory.join(blob.hex())));
        for (digest, index) in layers {
            known.add((*digest).clone(), index);
        }
        known
    }
}

/// A layer made of a tar and of what is known.
fn layer(compression: Compression, threads: usize, tar: &[u8], known: Option<Known>) -> (Vec<u8>, Pieces) {
    let mut input = tar;
    let (mut blocks, mut layer) = (Blocks::new(&mut input), Vec::new());
    let known = known.map(Arc::new);
    let earlier = || known.clone().unwrap();
    let earlier = known.is_some().then_some(&earlier as &dyn Fn() -> Arc<Known>);
    let mut source = || Ok(blocks.next()?.into());
    let pieces = Compressor::with_threads(threads)
        .write(compression, &mut source, earlier, &mut layer)
        .unwrap();
    (layer, pieces)
}

/// A tar, and the same with a longer file in its midst.
fn before_and_after() -> (Vec<u8>, Vec<u8>) {
    let before = words(1, 8 << 20);
    let after = [&before[..5 << 20], &words(2, 9 * 512), &before[5 << 20..]].concat();
    (before, after)
}

#[test]
fn a_layer_of_copied_pieces_is_the_same_layer() {
    let (before, after) = before_and_after();
    for compression in ALL {
        let blobs = Blobs::new();
        let (first, pieces) = layer(compression, 2, &before, Some(blobs.known(compression, &[])));
        assert_eq!(pieces.copied(), 0);
        let (second, none) = layer(compression, 1, &after, None);
        assert_eq!(none.all(), 0);
        let index = pieces.index(compression);
        for threads in [1, 3] {
            let known = blobs.known(compression, &[(&blobs.put(&first), index.clone())]);
            let (made, again) = layer(compression, threads, &after, Some(known));
            assert!(made == second, "{compression:?} by {threads} threads");
            if compression == Compression::Uncompressed {
                assert_eq!(again.all(), 0);
                continue;
            }
            assert!(again.all() >= 8 && again.copied() + 8 >= again.all(), "{again:?}");
            assert!(again.copied() < again.all());
            // What was copied is known from there as well.
            let index = again.index(compression);
            let known = blobs.known(compression, &[(&blobs.put(&made), index)]);
            let (third, all) = layer(compression, threads, &after, Some(known));
            assert!(third == second);
            assert_eq!(all.copied(), all.all());
        }
        if let Compression::Gzip(_) = compression {
            let mut back = Vec::new();
            // Its end holds CRC-32 and length of the whole.
            flate2::read::GzDecoder::new(&second[..])
                .read_to_end(&mut back)
                .unwrap();
            assert!(back == after);
        }
    }
}

#[test]
fn nothing_is_taken_from_a_damaged_blob() {
    let (before, after) = before_and_after();
    let compression = Compression::default();
    let blobs = Blobs::new();
    let (first, pieces) = layer(compression, 2, &before, Some(blobs.known(compression, &[])));
    let index = pieces.index(compression);
    let digest = blobs.put(&first);
    let again = || {
        let known = blobs.known(compression, &[(&digest, index.clone())]);
        layer(compression, 2, &after, Some(known))
    };
    let (second, whole) = again();
    let mut damaged = first.clone();
    // In the first piece.
    damaged[1000] ^= 1;
    fs::write(blobs.path(&digest), &damaged).unwrap();
    let (made, rest) = again();
    assert!(made == second);
    assert_eq!(rest.copied() + 1, whole.copied());
    // The end is gone.
    fs::write(blobs.path(&digest), &first[..first.len() / 3]).unwrap();
    let (made, rest) = again();
    assert!(made == second);
    assert!(
        rest.copied() > 0 && rest.copied() < whole.copied() / 2,
        "{rest:?}"
    );
    fs::remove_file(blobs.path(&digest)).unwrap();
    let (made, none) = again();
    assert!(made == second);
    assert_eq!(none.copied(), 0);
}

#[test]
fn pieces_of_another_level_are_not_taken() {
    let before = words(1, 3 << 20);
    let blobs = Blobs::new();
    let level = Compression::Gzip;
    let (first, pieces) = layer(level(1), 2, &before, Some(blobs.known(level(1), &[])));
    let digest = blobs.put(&first);
    let known = blobs.known(level(5), &[(&digest, pieces.index(level(1)))]);
    let (_, made) = layer(level(5), 2, &before, Some(known));
    assert_eq!(made.copied(), 0);
}

#[test]
fn a_layer_of_one_block_asks_for_nothing() {
    let mut input = &words(3, 600 << 10)[..];
    let mut blocks = Blocks::new(&mut input);
    let pieces = Compressor::with_threads(2)
        .write(
            Compression::default(),
            &mut || Ok(blocks.next()?.into()),
            Some(&|| unreachable!("it has one block")),
            &mut Vec::new(),
        )
        .unwrap();
    assert_eq!(pieces.all(), 0);
}
