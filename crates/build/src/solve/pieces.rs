//! The pieces of a scope's layers, from which a build makes parts of new ones.
//!
//! Looked up by their content and not by their step: a file that was moved to another step or another directory of the same name is found
//! as well. Only layers that the scope's own build cache keeps are looked into, so nobody learns what others have built, not even
//! from how long a build takes. A build without the cache makes all of its pieces itself.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use shipway_oci::Digest;

use super::cache::Cache;
use crate::compression::{Compression, Known, Pieces};
use crate::request::PieceCount;

/// Bytes of the indices that a build reads: those of some forty gigabytes of layers.
const MOST_BYTES: u64 = 4 << 20;

/// What the layers of one build have to do with those of earlier ones.
pub(super) struct LayerPieces {
    cache: Cache,
    compression: Compression,
    known: OnceLock<Arc<Known>>,
    all: AtomicU64,
    copied: AtomicU64,
}

impl LayerPieces {
    /// For layers in this compression.
    pub(super) fn new(cache: Cache, compression: Compression) -> Self {
        Self {
            cache,
            compression,
            known: OnceLock::new(),
            all: AtomicU64::new(0),
            copied: AtomicU64::new(0),
        }
    }

    /// The pieces of earlier layers, read when the first layer has several. Blocks.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(self.known.get_or_init(|| {
            let store = self.cache.store.clone();
            let mut known = Known::new(self.compression, move |blob| {
                store.open_blob(blob).map_err(io::Error::other)
            });
            if self.cache.reads() {
                let found = self.cache.store.layer_pieces(&self.cache.scope, MOST_BYTES);
                let found = found.unwrap_or_else(|error| {
                    tracing::debug!(%error, "no pieces of earlier layers are known");
                    Vec::new()
                });
                for (blob, index) in found {
                    known.add(blob, &index);
                }
            }
            Arc::new(known)
        }))
    }

    /// Keeps what a layer is made of. Nothing but the time of later builds depends on it. Blocks.
    pub(super) fn keep(&self, blob: &Digest, pieces: &Pieces) {
        if pieces.all() == 0 {
            return;
        }
        self.all.fetch_add(pieces.all(), Ordering::Relaxed);
        self.copied.fetch_add(pieces.copied(), Ordering::Relaxed);
        let index = pieces.index(self.compression);
        if let Err(error) = self.cache.store.keep_layer_pieces(blob, &index) {
            tracing::debug!(%blob, %error, "the pieces of a layer are not remembered");
        }
    }

    /// How many there were so far.
    pub(super) fn count(&self) -> PieceCount {
        PieceCount {
            all: self.all.load(Ordering::Relaxed),
            copied: self.copied.load(Ordering::Relaxed),
        }
    }
}
