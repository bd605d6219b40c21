//! From blobs to a directory: packs are brought some ahead of what is being unpacked, and each chunk is verified before the keeper
//! sees a byte of it.
//!
//! What is unpacked is untrusted: the keeper extracts it in a root of its own, as it does any archive, and how many bytes and entries
//! there are is bounded. Blobs stay in the store until a collection takes them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use futures::{StreamExt as _, stream};
use shipway_oci::Descriptor;
use shipway_sandbox::{ApplyRequest, ArchiveRoot, Keeper};
use shipway_store::Store;

use super::index::ChunkPlace;
use super::offer::{OfferedMount, RestoreError, open_index};
use crate::error::StepError;
use crate::solve::through_pipe;

/// Packs that are brought at a time.
const AHEAD: usize = 4;
/// Files of packs that are open at a time.
const MOST_OPEN: usize = 64;
/// Entries of a mount: more than the largest module caches have.
const MOST_ENTRIES: u64 = 4_000_000;

impl OfferedMount {
    /// Unpacks it into a directory of the keepers' directory, which is there and empty. After a failure anything may be in it.
    pub(crate) async fn restore(
        &self,
        store: &Store,
        keeper: &Keeper,
        into: &Path,
    ) -> Result<(), RestoreError> {
        let chunks = open_index(&self.claim, &self.origin, store).await?;
        let (arrived, arrivals) = channel();
        let unpacking = Unpacking {
            store: store.clone(),
            packs: self.claim.packs.clone(),
            chunks,
            arrivals,
        };
        let (keeper, into) = (keeper.clone(), into.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || unpacking.run(&keeper, &into));
        // Collected first: a stream over the closure itself would not be `Send` for every lifetime.
        let brought: Vec<_> = self
            .claim
            .packs
            .iter()
            .map(|pack| self.origin.bring(pack, store))
            .collect();
        let bringing = async move {
            let mut brought = stream::iter(brought).buffered(AHEAD);
            while let Some(done) = brought.next().await {
                done?;
                if arrived.send(()).is_err() {
                    // The other side failed, and says why.
                    break;
                }
            }
            Ok::<_, RestoreError>(())
        };
        let (brought, unpacked) = tokio::join!(bringing, unpacked);
        brought?;
        unpacked
            .map_err(|_| RestoreError::Interrupted)?
            .map_err(|source| {
                let source = Box::new(source);
                RestoreError::Files { source }
            })
    }
}

/// A mount whose packs are on their way.
struct Unpacking {
    store: Store,
    packs: Vec<Descriptor>,
    chunks: Vec<ChunkPlace>,
    /// One for each pack, in their order.
    arrivals: Receiver<()>,
}

impl Unpacking {
    fn run(self, keeper: &Keeper, into: &Path) -> Result<(), StepError> {
        let unpacked = through_pipe(
            move |output| Ok(self.write(&mut io::BufWriter::with_capacity(1 << 17, File::from(output)))?),
            |input| {
                let root = ArchiveRoot::Directory(into.to_owned());
                let mut request = ApplyRequest::new(input, root, "/".into());
                request.limits.entries = MOST_ENTRIES;
                keeper.apply(request).map_err(|source| StepError::Keeper {
                    action: "unpack the cache mount",
                    source,
                })
            },
        );
        unpacked.map(drop)
    }

    fn write(self, output: &mut dyn Write) -> io::Result<()> {
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let mut open: Vec<Option<File>> = self.packs.iter().map(|_| None).collect();
        let (mut arrived, mut count) = (0, 0);
        let mut frame = Vec::new();
        for chunk in &self.chunks {
            while arrived <= chunk.pack {
                let waited = self.arrivals.recv();
                waited.map_err(|_| io::Error::other("the rest of it did not arrive"))?;
                arrived += 1;
            }
            if open.get(chunk.pack).is_none_or(Option::is_none) {
                if count == MOST_OPEN {
                    open.iter_mut().for_each(|file| *file = None);
                    count = 0;
                }
                let file = self
                    .packs
                    .get(chunk.pack)
                    .map(|pack| self.store.open_blob(&pack.digest));
                if let (Some(place), Some(file)) = (open.get_mut(chunk.pack), file) {
                    *place = Some(file.map_err(io::Error::other)?);
                    count += 1;
                }
            }
            let Some(Some(file)) = open.get(chunk.pack) else {
                return Err(io::Error::other("a chunk is in no pack"));
            };
            frame.resize(chunk.stored as usize, 0);
            file.read_exact_at(&mut frame, chunk.offset)?;
            let bytes = decompressor.decompress(&frame, chunk.size as usize)?;
            if bytes.len() != chunk.size as usize || blake3::hash(&bytes) != chunk.hash {
                return Err(io::Error::other("a chunk is not what its index says"));
            }
            output.write_all(&bytes)?;
        }
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{chunks, tests::noise};
    use super::super::known::Known;
    use super::super::pack::Packer;
    use super::*;

    #[test]
    fn what_was_packed_comes_out_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let bytes = noise(7, 40 << 20);
        let known = Known::default();
        let mut packer = Packer::new(&store, &known).unwrap();
        chunks(bytes.as_slice()).for_each(|chunk| packer.add(&chunk.unwrap()).unwrap());
        let packed = packer.finish().unwrap();
        let unpacked = |chunks: &[ChunkPlace], packs: usize| {
            let (arrived, arrivals) = channel();
            (0..packs).for_each(|_| arrived.send(()).unwrap());
            drop(arrived);
            let mut out = Vec::new();
            let unpacking = Unpacking {
                store: store.clone(),
                packs: packed.packs.clone(),
                chunks: chunks.to_vec(),
                arrivals,
            };
            unpacking.write(&mut out).map(|()| out)
        };
        assert_eq!(unpacked(&packed.chunks, 2).unwrap(), bytes);
        let error = unpacked(&packed.chunks, 1).unwrap_err().to_string();
        assert!(error.contains("did not arrive"), "{error}");
        let mut exchanged = packed.chunks.clone();
        exchanged[3].hash = exchanged[4].hash;
        let error = unpacked(&exchanged, 2).unwrap_err().to_string();
        assert!(error.contains("not what its index says"), "{error}");
        let mut short = packed.chunks.clone();
        short[3].size -= 1;
        assert!(unpacked(&short, 2).is_err());
    }
}
