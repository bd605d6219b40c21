//! Of which chunks a mount is made, in the order of its tar: a document of its own, for it may be larger than a configuration.
//!
//! Compressed JSON. A reader takes nothing on trust: how much is unpacked and how many chunks there are is bounded, each chunk lies
//! inside of a pack that the manifest names, and their sizes add up to what was promised.

use std::io::Read as _;

use serde::{Deserialize, Serialize};
use shipway_oci::Descriptor;

use super::chunk::LARGEST;

/// The most bytes of a mount's tar.
pub(crate) const MOST_MOUNT_BYTES: u64 = 64 << 30;
/// The most bytes of an index as it is stored.
pub(crate) const MOST_INDEX_BYTES: u64 = 64 << 20;
/// And of one that is unpacked: 100 bytes for each chunk of the largest mount, with room.
const MOST_UNPACKED_BYTES: u64 = 128 << 20;
/// The most chunks: those of the largest mount.
const MOST_CHUNKS: usize = 1 << 20;
const VERSION: u32 = 1;
const LEVEL: i32 = 3;

/// Why bytes are no index.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// They cannot be unpacked.
    #[error("it cannot be unpacked")]
    Unpack {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// They are no JSON, or a field has the wrong type or is missing.
    #[error("it cannot be read")]
    Json {
        /// The parser's own words.
        #[source]
        source: serde_json::Error,
    },
    /// There is too much of it.
    #[error("it is larger than {MOST_UNPACKED_BYTES} bytes or has more than {MOST_CHUNKS} chunks")]
    TooLarge,
    /// It was written by another version.
    #[error("it has version {found}, and this is version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// It contradicts itself or its manifest.
    #[error("it contradicts itself: {what}")]
    Contradiction {
        /// How.
        what: &'static str,
    },
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPlace {
    /// Its pack, by its place among those of the mount.
    pub(super) pack: usize,
    /// Where it begins there.
    pub(super) offset: u64,
    /// Its bytes there, which are a zstd frame.
    pub(super) stored: u32,
    /// Its bytes.
    pub(super) size: u32,
    /// The BLAKE3 hash of its bytes.
    pub(super) hash: blake3::Hash,
}

/// The index as it is written down: pack, offset, stored bytes, bytes, hash of each chunk.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    chunks: Vec<(usize, u64, u32, u32, String)>,
}

/// Writes an index down.
pub(super) fn encode(chunks: &[ChunkPlace]) -> std::io::Result<Vec<u8>> {
    let chunks = chunks.iter().map(|chunk| {
        let hash = chunk.hash.to_hex().to_string();
        (chunk.pack, chunk.offset, chunk.stored, chunk.size, hash)
    });
    let written = Written {
        version: VERSION,
        chunks: chunks.collect(),
    };
    zstd::bulk::compress(&serde_json::to_vec(&written)?, LEVEL)
}

/// Reads the index of a mount of this size that lies in these packs.
pub(super) fn decode(bytes: &[u8], packs: &[Descriptor], size: u64) -> Result<Vec<ChunkPlace>, IndexError> {
    let wrong = |what| IndexError::Contradiction { what };
    let mut unpacked = Vec::new();
    zstd::Decoder::with_buffer(bytes)
        .and_then(|decoder| decoder.take(MOST_UNPACKED_BYTES + 1).read_to_end(&mut unpacked))
        .map_err(|source| IndexError::Unpack { source })?;
    if unpacked.len() as u64 > MOST_UNPACKED_BYTES {
        return Err(IndexError::TooLarge);
    }
    let written: Written = serde_json::from_slice(&unpacked).map_err(|source| IndexError::Json { source })?;
    if written.version != VERSION {
        return Err(IndexError::Version {
            found: written.version,
        });
    }
    if written.chunks.len() > MOST_CHUNKS {
        return Err(IndexError::TooLarge);
    }
    let mut total = 0_u64;
    let chunks = written
        .chunks
        .into_iter()
        .map(|(pack, offset, stored, size, hash)| {
            let hash = blake3::Hash::from_hex(hash).map_err(|_| wrong("a hash is none"))?;
            let within = packs.get(pack).ok_or_else(|| wrong("a chunk is in no pack"))?;
            let end = offset.checked_add(stored.into());
            if end.is_none_or(|end| end > within.size) {
                return Err(wrong("a chunk is not inside of its pack"));
            }
            // A frame of what does not compress is a little larger than that.
            if size == 0 || size as usize > LARGEST || stored as usize > 2 * LARGEST {
                return Err(wrong("a chunk has no size that a chunk has"));
            }
            total += u64::from(size);
            Ok(ChunkPlace {
                pack,
                offset,
                stored,
                size,
                hash,
            })
        });
    let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
    if total != size {
        return Err(wrong("its chunks are not as long as it is said to be"));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(size: u64) -> Descriptor {
        let digest = shipway_oci::Digest::sha256(b"pack");
        Descriptor::new(super::super::PACK_TYPE, digest, size)
    }

    fn place(pack: usize, offset: u64, stored: u32, size: u32) -> ChunkPlace {
        let hash = blake3::hash(b"chunk");
        ChunkPlace {
            pack,
            offset,
            stored,
            size,
            hash,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let chunks = [place(0, 0, 60, 70), place(1, 9, 1, 2), place(0, 0, 60, 70)];
        let bytes = encode(&chunks).unwrap();
        assert_eq!(bytes, encode(&chunks).unwrap());
        assert_eq!(decode(&bytes, &[pack(60), pack(10)], 142).unwrap(), chunks);
        assert!(decode(&encode(&[]).unwrap(), &[], 0).unwrap().is_empty());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let of = |chunk, size| {
            let read = decode(&encode(&[chunk]).unwrap(), &[pack(60)], size);
            read.unwrap_err().to_string()
        };
        for (chunk, size, said) in [
            (place(1, 0, 1, 1), 1, "in no pack"),
            (place(0, 1, 60, 1), 1, "not inside"),
            (place(0, u64::MAX, 1, 1), 1, "not inside"),
            (place(0, 0, 60, 0), 0, "no size"),
            (place(0, 0, 60, u32::MAX), u64::from(u32::MAX), "no size"),
            (place(0, 0, 60, 70), 71, "as long as"),
        ] {
            assert!(of(chunk, size).contains(said), "{chunk:?}: {}", of(chunk, size));
        }
        let packed = |text: &str| zstd::bulk::compress(text.as_bytes(), LEVEL).unwrap();
        let later = packed(r#"{"version":2,"chunks":[]}"#);
        assert!(matches!(
            decode(&later, &[], 0),
            Err(IndexError::Version { found: 2 })
        ));
        let no_hash = packed(r#"{"version":1,"chunks":[[0,0,1,1,"zz"]]}"#);
        assert!(decode(&no_hash, &[pack(60)], 1).is_err());
        assert!(decode(b"no frame", &[], 0).is_err());
    }

    #[test]
    fn what_unpacks_to_far_more_is_refused() {
        let zeros = std::io::repeat(b' ').take(MOST_UNPACKED_BYTES + 2);
        let bomb = zstd::encode_all(zeros, LEVEL).unwrap();
        assert!(matches!(decode(&bomb, &[], 0), Err(IndexError::TooLarge)));
    }

    #[test]
    fn foreign_indices_are_read_or_refused() {
        let seed = r#"{"version":1,"chunks":[[0,0,60,70,"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"]]}"#;
        shipway_testkit::Foreign::near([seed]).check_text(|text| {
            let bytes = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
            let _ = decode(&bytes, &[pack(60)], 70);
        });
    }
}
