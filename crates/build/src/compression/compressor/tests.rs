//! The bytes are those of the format, the same ones whatever the number of threads, and those of before.

use std::process::{Command, Stdio};

use super::*;
use crate::compression::cut::BLOCK_BYTES;

const ALL: [Compression; 3] = [
    Compression::Uncompressed,
    Compression::Gzip(5),
    Compression::Zstd(3),
];

/// Text that compresses, with a tail that does not.
fn sample(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut state: u32 = 7;
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if bytes.len() % 5000 < 4000 {
            bytes.extend_from_slice(b"the same words again and again ");
        }
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn compressed(compression: Compression, threads: usize, input: &[u8]) -> (Compressed, Vec<u8>) {
    let mut output = Vec::new();
    let done = Compressor::with_threads(threads)
        .run(compression, &mut &input[..], &mut output)
        .expect("memory does not fail");
    (done, output)
}

fn plain(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    match compression {
        Compression::Uncompressed => back.extend_from_slice(bytes),
        Compression::Gzip(_) | Compression::Estargz(_) => {
            let mut member = flate2::bufread::GzDecoder::new(bytes);
            member.read_to_end(&mut back).expect("valid gzip");
            assert!(member.into_inner().is_empty(), "nothing behind the only member");
        }
        Compression::Zstd(_) => {
            ::zstd::stream::copy_decode(bytes, &mut back).expect("valid zstd");
        }
    }
    back
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for compression in ALL {
        for length in [
            0,
            1,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            5 * BLOCK_BYTES + 77,
        ] {
            let input = sample(length);
            let (one, bytes) = compressed(compression, 1, &input);
            for threads in [2, 3, 8] {
                assert_eq!(
                    compressed(compression, threads, &input),
                    (one.clone(), bytes.clone()),
                    "{compression:?}, {length} bytes, {threads} threads"
                );
            }
            assert_eq!(one.diff_id, Digest::sha256(&input));
            assert_eq!(one.uncompressed, length as u64);
            assert!(!bytes.is_empty() || compression == Compression::Uncompressed);
            assert!(
                plain(compression, &bytes) == input,
                "{compression:?}: {length} bytes come back"
            );
        }
    }
}

#[test]
fn incompressible_bytes_pass() {
    let mut state: u64 = 1;
    let input: Vec<u8> = (0..2 * BLOCK_BYTES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u8::try_from(state & 0xff).expect("a byte")
        })
        .collect();
    for compression in ALL {
        let (_, bytes) = compressed(compression, 2, &input);
        assert!(
            bytes.len() < input.len() + 256,
            "{compression:?}: {} bytes",
            bytes.len()
        );
        assert!(plain(compression, &bytes) == input);
    }
}

/// The digest of a layer is a promise: a change of level, block size or library must be noticed here.
#[test]
fn the_bytes_are_pinned() {
    let pinned = |compression| {
        let (_, bytes) = compressed(compression, 2, &sample(3 * BLOCK_BYTES));
        Digest::sha256(&bytes).to_string()
    };
    assert_eq!(
        pinned(Compression::default()),
        "sha256:3b6be6412bb6df60f563f46bba2b662bc8d895336c3e6c69a3e237d70134d449"
    );
    assert_eq!(
        pinned(Compression::Zstd(3)),
        "sha256:59d3a569ea2aa42a848622109d25aa012e115b112ed2f126016b4895467597c4"
    );
}

#[test]
fn the_formats_own_tools_read_them() {
    let input = sample(3 * BLOCK_BYTES + 5);
    for (tool, compression) in [
        ("gunzip", Compression::default()),
        ("unzstd", Compression::Zstd(3)),
    ] {
        let (_, bytes) = compressed(compression, 3, &input);
        let Ok(mut child) = Command::new(tool)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            continue;
        };
        let mut stdin = child.stdin.take().expect("piped");
        let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = child.wait_with_output().expect("it runs");
        feeder.join().expect("no panic").expect("it reads");
        assert!(output.status.success() && output.stdout == input, "{tool}");
    }
}

#[test]
fn a_failing_reader_fails_the_layer() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("gone"));
            }
            let length = self.0.min(buffer.len());
            self.0 -= length;
            buffer[..length].fill(1);
            Ok(length)
        }
    }
    for compression in ALL {
        for before in [0, 10, 4 * BLOCK_BYTES] {
            let result =
                Compressor::with_threads(2).run(compression, &mut Broken(before), &mut std::io::sink());
            assert!(matches!(result, Err(CompressError::Read { .. })));
        }
    }
}
