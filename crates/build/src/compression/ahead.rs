//! Reading ahead of the compressor: a layer's diffID is known as soon as its tar is read, and the next step needs no
//! more than that.
//!
//! Blocks wait in memory between the two sides. All layers together hold at most what [`Room`] has, so a reader of a
//! large layer goes no faster than its compressor, while a small layer is read at once. Room is given back by
//! compressing and hashing, which wait for nobody but their own reader: two layers cannot block each other.

use std::io::{Read, Write};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};

use super::blocks::Blocks;
use super::compressor::Earlier;
use super::hashing::Hashing;
use super::{CompressError, Compressed, Compression, Compressor, Pieces};

/// Blocks that may wait, of all layers of a builder together.
const BLOCKS_AHEAD: usize = 32;

/// Room for blocks in memory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    inner: Arc<(Mutex<usize>, Condvar)>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            inner: Arc::new((Mutex::new(BLOCKS_AHEAD), Condvar::new())),
        }
    }
}

impl Room {
    fn take(&self) -> Place {
        let (free, freed) = &*self.inner;
        let free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place { room: self.clone() }
    }
}

/// Room for one block, given back when dropped.
struct Place {
    room: Room,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (free, freed) = &*self.room.inner;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
}

/// The bytes of a block, and the room that it takes. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Chunk(Arc<Held>);

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    _place: Option<Place>,
}

impl Chunk {
    fn new(bytes: Vec<u8>, _place: Option<Place>) -> Self {
        Self(Arc::new(Held { bytes, _place }))
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes, None)
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// The reading side of a layer. Dropped before [`Reader::end`], it makes the writing side fail.
pub(crate) struct Reader {
    blocks: mpsc::Sender<Chunk>,
    room: Room,
}

/// The writing side of a layer.
pub(crate) struct Writer {
    blocks: mpsc::Receiver<Chunk>,
}

/// Both sides of a layer.
pub(crate) fn ahead(room: &Room) -> (Reader, Writer) {
    let (sender, receiver) = mpsc::channel();
    let reader = Reader {
        blocks: sender,
        room: room.clone(),
    };
    (reader, Writer { blocks: receiver })
}

impl Reader {
    /// Reads `input` to its end. The layer is not whole before [`Reader::end`].
    pub(crate) fn read(&self, input: &mut dyn Read) -> Result<Compressed, CompressError> {
        let mut blocks = Blocks::new(input);
        std::thread::scope(|scope| {
            let mut hashing = Hashing::new(scope);
            loop {
                let place = self.room.take();
                let bytes = blocks.next()?;
                if bytes.is_empty() {
                    return hashing.finish();
                }
                let chunk = Chunk::new(bytes, Some(place));
                hashing.add(&chunk)?;
                self.blocks.send(chunk).map_err(|_| CompressError::ThreadLost)?;
            }
        })
    }

    /// Says that what was read is all.
    pub(crate) fn end(self) {
        // Nobody is there any more when writing has failed, which the writing side tells itself.
        let _ = self.blocks.send(Chunk::default());
    }
}

impl Writer {
    /// Writes the layer. Fails when the reader does not come to its end.
    pub(crate) fn write(
        self,
        compressor: Compressor,
        compression: Compression,
        earlier: Option<&Earlier<'_>>,
        output: &mut dyn Write,
    ) -> Result<Pieces, CompressError> {
        let mut ended = false;
        let mut next = || {
            // As any reader: the end stays the end, however often it is asked for.
            if ended {
                return Ok(Chunk::default());
            }
            let chunk = self.blocks.recv().map_err(|_| CompressError::ThreadLost)?;
            ended = chunk.is_empty();
            Ok(chunk)
        };
        compressor.write(compression, &mut next, earlier, output)
    }
}

#[cfg(test)]
mod tests;
