//! The diffID: a hash over all blocks of a layer, made beside their reading.
//!
//! SHA-256 cannot be made of parts, so it has one thread, and that is as busy as the reader's where nothing has to be compressed. Most
//! layers of a Dockerfile are one block: no thread is started before the second.

use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use shipway_oci::{Algorithm, Hasher};

use super::ahead::Chunk;
use super::{CompressError, Compressed};

/// Hashes the blocks of a layer.
pub(super) struct Hashing<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    hasher: Option<Hasher>,
    beside: Option<Beside<'scope>>,
    total: u64,
}

/// A thread that hashes.
struct Beside<'scope> {
    blocks: mpsc::Sender<Chunk>,
    thread: ScopedJoinHandle<'scope, Hasher>,
}

impl<'scope, 'env> Hashing<'scope, 'env> {
    /// No block yet.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self {
            scope,
            hasher: Some(Hasher::new(Algorithm::Sha256)),
            beside: None,
            total: 0,
        }
    }

    /// The next block.
    pub(super) fn add(&mut self, block: &Chunk) -> Result<(), CompressError> {
        let is_first = self.total == 0;
        self.total += block.len() as u64;
        if let Some(mut hasher) = self.hasher.take() {
            if is_first {
                hasher.update(block);
                self.hasher = Some(hasher);
                return Ok(());
            }
            let (blocks, coming) = mpsc::channel::<Chunk>();
            let thread = self.scope.spawn(move || {
                coming.iter().for_each(|block| hasher.update(&block));
                hasher
            });
            self.beside = Some(Beside { blocks, thread });
        }
        let beside = self.beside.as_ref().ok_or(CompressError::ThreadLost)?;
        let sent = beside.blocks.send(block.clone());
        sent.map_err(|_| CompressError::ThreadLost)
    }

    /// All blocks were added.
    pub(super) fn finish(self) -> Result<Compressed, CompressError> {
        let hasher = match (self.hasher, self.beside) {
            (Some(hasher), _) => hasher,
            (None, Some(Beside { blocks, thread })) => {
                drop(blocks);
                thread.join().map_err(|_| CompressError::ThreadLost)?
            }
            (None, None) => return Err(CompressError::ThreadLost),
        };
        Ok(Compressed {
            diff_id: hasher.finish(),
            uncompressed: self.total,
        })
    }
}
