//! What the artifact under a name has already: chunks that need not be packed, nor sent, again.
//!
//! A pack is kept whole or not at all, so packs of which little is used any more would pile up behind a cache that changes every day.
//! Those are given up, and what is used of them is packed anew.

use std::collections::{HashMap, HashSet};

use shipway_oci::{Descriptor, Digest};

use super::index::ChunkPlace;

/// A pack has to be used by half.
const LEAST_USED: u64 = 2;
/// Packs below this size are many small additions.
const SMALL: u64 = 4 << 20;
/// With more small ones than this they are packed into one.
const MOST_SMALL: usize = 8;

/// Chunks by their hashes, and the packs that they are in.
#[derive(Debug, Default)]
pub(super) struct Known {
    chunks: HashMap<blake3::Hash, (Digest, ChunkPlace)>,
    packs: HashMap<Digest, Descriptor>,
}

impl Known {
    /// The chunks of a mount's index, which lies in these packs.
    pub(super) fn add(&mut self, packs: &[Descriptor], chunks: &[ChunkPlace]) {
        for chunk in chunks {
            if let Some(pack) = packs.get(chunk.pack) {
                self.packs
                    .entry(pack.digest.clone())
                    .or_insert_with(|| pack.clone());
                self.chunks
                    .entry(chunk.hash)
                    .or_insert_with(|| (pack.digest.clone(), *chunk));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Where a chunk is; the pack's own number is that of the index that it comes from.
    pub(super) fn find(&self, hash: &blake3::Hash) -> Option<(&Descriptor, ChunkPlace)> {
        let (pack, place) = self.chunks.get(hash)?;
        Some((self.packs.get(pack)?, *place))
    }

    /// The same without packs of which these chunks use too little.
    pub(super) fn worth_keeping(&self, used: &[blake3::Hash]) -> Self {
        let mut live: HashMap<&Digest, u64> = HashMap::new();
        let used: HashSet<&blake3::Hash> = used.iter().collect();
        for hash in used {
            if let Some((pack, place)) = self.chunks.get(hash) {
                *live.entry(pack).or_default() += u64::from(place.stored);
            }
        }
        let mut kept: Vec<&Descriptor> = self.packs.values().collect();
        kept.retain(|pack| {
            let live = live.get(&pack.digest).copied().unwrap_or_default();
            live.saturating_mul(LEAST_USED) >= pack.size
        });
        if kept.iter().filter(|pack| pack.size < SMALL).count() > MOST_SMALL {
            kept.retain(|pack| pack.size >= SMALL);
        }
        let packs: HashMap<_, _> = kept
            .into_iter()
            .map(|pack| (pack.digest.clone(), pack.clone()))
            .collect();
        let chunks = self.chunks.iter();
        let chunks = chunks
            .filter(|(_, (pack, _))| packs.contains_key(pack))
            .map(|(hash, place)| (*hash, place.clone()))
            .collect();
        Self { chunks, packs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_packs_become_one() {
        let of = |count: u8| {
            let mut known = Known::default();
            let mut hashes = Vec::new();
            for number in 0..count {
                let hash = blake3::hash(&[number]);
                let pack = Descriptor::new("pack", Digest::sha256(&[number]), 100);
                let place = ChunkPlace {
                    pack: 0,
                    offset: 0,
                    stored: 100,
                    size: 200,
                    hash,
                };
                known.add(&[pack], &[place]);
                hashes.push(hash);
            }
            known.worth_keeping(&hashes).packs.len()
        };
        assert_eq!(of(8), 8);
        assert_eq!(of(9), 0);
    }
}
