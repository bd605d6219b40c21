//! Packing chunks into blobs of a sensible size: a registry takes a few large ones better than many small ones.
//!
//! A pack is its chunks one after the other, each a zstd frame of its own. It is written to the store as it grows; what nothing names in
//! the end, the next collection takes.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write as _};

use shipway_oci::Descriptor;
use shipway_store::{BlobWriter, Store};

use super::index::ChunkPlace;
use super::known::Known;

/// The type of a pack.
pub(crate) const PACK_TYPE: &str = "application/vnd.shipway.cache.pack.v1+zstd";
/// The type of a mount's index.
pub(crate) const INDEX_TYPE: &str = "application/vnd.shipway.cache.mount.v1+json+zstd";
/// A pack that has as many bytes is closed.
const FULL: u64 = 32 << 20;
/// None has more: a full one lacks less than a chunk.
pub(crate) const MOST_PACK_BYTES: u64 = FULL + (1 << 20);
/// Fast, and most of what a better one gives: what is cached is often compressed already.
const LEVEL: i32 = 3;

/// Chunks on their way into packs.
pub(super) struct Packer<'a> {
    store: &'a Store,
    known: &'a Known,
    compressor: zstd::bulk::Compressor<'static>,
    /// The packs in the order of their first use; the one that is being written has a place and no name yet.
    packs: Vec<Option<Descriptor>>,
    /// Places of packs of the target.
    reused: HashMap<String, usize>,
    open: Option<(usize, BlobWriter)>,
    seen: HashMap<blake3::Hash, ChunkPlace>,
    chunks: Vec<ChunkPlace>,
    size: u64,
    new_bytes: u64,
}

/// A mount in packs.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) packs: Vec<Descriptor>,
    /// Those of them that were not written here.
    pub(super) reused: Vec<Descriptor>,
    pub(super) chunks: Vec<ChunkPlace>,
    /// The bytes of all chunks.
    pub(super) size: u64,
    /// The bytes of the packs that were written.
    pub(super) new_bytes: u64,
}

impl<'a> Packer<'a> {
    pub(super) fn new(store: &'a Store, known: &'a Known) -> io::Result<Self> {
        Ok(Self {
            store,
            known,
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            packs: Vec::new(),
            reused: HashMap::new(),
            open: None,
            seen: HashMap::new(),
            chunks: Vec::new(),
            size: 0,
            new_bytes: 0,
        })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let hash = blake3::hash(bytes);
        self.size += bytes.len() as u64;
        let place = match self.seen.get(&hash) {
            Some(place) => *place,
            None => {
                let place = self.place(hash, bytes)?;
                self.seen.insert(hash, place);
                place
            }
        };
        self.chunks.push(place);
        Ok(())
    }

    fn place(&mut self, hash: blake3::Hash, bytes: &[u8]) -> io::Result<ChunkPlace> {
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        if let Some((pack, place)) = self.known.find(&hash)
            && place.size == size
        {
            let packs = &mut self.packs;
            let at = self.reused.entry(pack.digest.to_string()).or_insert_with(|| {
                packs.push(Some(pack.clone()));
                packs.len() - 1
            });
            return Ok(ChunkPlace { pack: *at, ..place });
        }
        let frame = self.compressor.compress(bytes)?;
        if self.open.is_none() {
            self.packs.push(None);
            let writer = self.store.begin_blob().map_err(io::Error::other)?;
            self.open = Some((self.packs.len() - 1, writer));
        }
        let Some((pack, writer)) = &mut self.open else {
            return Err(io::Error::other("no pack is open"));
        };
        let place = ChunkPlace {
            pack: *pack,
            offset: writer.written(),
            stored: u32::try_from(frame.len()).map_err(io::Error::other)?,
            size,
            hash,
        };
        writer.write_all(&frame)?;
        if writer.written() >= FULL {
            self.close()?;
        }
        Ok(place)
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some((pack, writer)) = self.open.take() {
            let blob = writer.commit(None).map_err(io::Error::other)?;
            self.new_bytes += blob.size;
            if let Some(place) = self.packs.get_mut(pack) {
                *place = Some(Descriptor::new(PACK_TYPE, blob.digest, blob.size));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Packed> {
        self.close()?;
        let places: HashSet<usize> = self.reused.into_values().collect();
        let reused = self.packs.iter().enumerate();
        let reused = reused.filter(|(place, _)| places.contains(place));
        Ok(Packed {
            reused: reused.filter_map(|(_, pack)| pack.clone()).collect(),
            packs: self.packs.into_iter().flatten().collect(),
            chunks: self.chunks,
            size: self.size,
            new_bytes: self.new_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{chunks, tests::noise};
    use super::*;

    fn packed(store: &Store, known: &Known, bytes: &[u8]) -> Packed {
        let mut packer = Packer::new(store, known).unwrap();
        chunks(bytes).for_each(|chunk| packer.add(&chunk.unwrap()).unwrap());
        packer.finish().unwrap()
    }

    fn known(packed: &Packed) -> Known {
        let mut known = Known::default();
        known.add(&packed.packs, &packed.chunks);
        known
    }

    #[test]
    fn packs_are_of_some_size_and_the_same_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let bytes = noise(2, 40 << 20);
        let first = packed(&store, &Known::default(), &bytes);
        assert_eq!(first.packs.len(), 2);
        assert!(first.packs.iter().all(|pack| pack.size <= MOST_PACK_BYTES));
        assert_eq!(first.size, 40 << 20);
        assert_eq!(packed(&store, &Known::default(), &bytes).packs, first.packs);
        let twice = [noise(3, 8 << 20), noise(3, 8 << 20)].concat();
        let packed = packed(&store, &Known::default(), &twice);
        assert!(packed.new_bytes < 9 << 20, "{}", packed.new_bytes);
    }

    #[test]
    fn only_what_changed_is_packed_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut bytes = noise(4, 16 << 20);
        let first = packed(&store, &Known::default(), &bytes);
        let same = packed(&store, &known(&first), &bytes);
        assert_eq!((same.new_bytes, &same.packs), (0, &first.packs));
        assert_eq!(same.chunks, first.chunks);
        bytes[9 << 20] ^= 1;
        let second = packed(&store, &known(&first), &bytes);
        assert!((1..1 << 20).contains(&second.new_bytes), "{}", second.new_bytes);
        assert_eq!(second.packs.len(), 2);
    }

    #[test]
    fn packs_of_which_little_is_left_are_packed_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let bytes = noise(5, 16 << 20);
        let first = packed(&store, &Known::default(), &bytes);
        for (left, packs) in [(12, first.packs.len()), (4, 0)] {
            let bytes = &bytes[..left << 20];
            let hashes: Vec<_> = chunks(bytes).map(|chunk| blake3::hash(&chunk.unwrap())).collect();
            let worth = known(&first).worth_keeping(&hashes);
            let reused: Vec<_> = packed(&store, &worth, bytes)
                .packs
                .into_iter()
                .filter(|pack| first.packs.contains(pack))
                .collect();
            assert_eq!(reused.len(), packs, "{left}");
        }
    }
}
