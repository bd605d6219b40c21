//! A layer under way in one of the formats: its blocks, each compressed on its own, and what stands around them.

use std::io::{self, Write};

use super::gzip::{Deflated, HEADER, Member, deflate};
use super::pieces::Piece;
use super::zstd::Zstd;
use super::{CompressError, Compression};

/// A compressed block.
pub(super) enum Block {
    Plain(Vec<u8>),
    Gzip(Deflated),
    Zstd(Vec<u8>),
}

impl Block {
    /// One that is known from an earlier layer, by its bytes there.
    pub(super) fn known(compression: Compression, bytes: Vec<u8>, piece: &Piece) -> Self {
        match compression {
            Compression::Uncompressed => Self::Plain(bytes),
            Compression::Gzip(_) | Compression::Estargz(_) => {
                Self::Gzip(Deflated::known(bytes, piece.crc, piece.length))
            }
            Compression::Zstd(_) => Self::Zstd(bytes),
        }
    }

    /// What stands in the layer.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) | Self::Zstd(bytes) | Self::Gzip(Deflated { bytes, .. }) => bytes,
        }
    }

    /// The CRC-32 of what was compressed, where the format has one.
    pub(super) fn crc(&self) -> u32 {
        match self {
            Self::Gzip(block) => block.crc.clone().finalize(),
            Self::Plain(_) | Self::Zstd(_) => 0,
        }
    }
}

/// How many bytes stand before the first block.
pub(super) fn before_blocks(compression: Compression) -> u64 {
    match compression {
        Compression::Gzip(_) | Compression::Estargz(_) => HEADER.len() as u64,
        Compression::Uncompressed | Compression::Zstd(_) => 0,
    }
}

/// Compresses blocks; each thread has its own.
pub(super) enum Worker {
    Plain,
    Gzip(u32),
    Zstd(Zstd),
}

impl Worker {
    pub(super) fn new(compression: Compression) -> Result<Self, CompressError> {
        Ok(match compression {
            Compression::Uncompressed => Self::Plain,
            Compression::Gzip(level) | Compression::Estargz(level) => Self::Gzip(level),
            Compression::Zstd(level) => Self::Zstd(Zstd::new(level)?),
        })
    }

    pub(super) fn compress(&mut self, block: &[u8]) -> Result<Block, CompressError> {
        match self {
            Self::Plain => Ok(Block::Plain(block.to_vec())),
            Self::Gzip(level) => deflate(block, *level).map(Block::Gzip),
            Self::Zstd(zstd) => zstd.frame(block).map(Block::Zstd),
        }
    }
}

/// What stands around the blocks.
pub(super) struct Frame<'a> {
    output: &'a mut dyn Write,
    kind: Kind,
}

enum Kind {
    Plain,
    Gzip(Member),
    /// Frames stand by themselves, but a stream must have one.
    Zstd {
        empty: bool,
    },
}

impl<'a> Frame<'a> {
    pub(super) fn open(compression: Compression, output: &'a mut dyn Write) -> Result<Self, CompressError> {
        let kind = match compression {
            Compression::Uncompressed => Kind::Plain,
            Compression::Gzip(_) | Compression::Estargz(_) => {
                Kind::Gzip(Member::open(output).map_err(failed)?)
            }
            Compression::Zstd(_) => Kind::Zstd { empty: true },
        };
        Ok(Self { output, kind })
    }

    pub(super) fn write(&mut self, block: &Block) -> Result<(), CompressError> {
        match (&mut self.kind, block) {
            (Kind::Gzip(member), Block::Gzip(block)) => member.block(block, self.output),
            (Kind::Zstd { empty }, Block::Zstd(bytes)) => {
                *empty = false;
                self.output.write_all(bytes)
            }
            (_, block) => self.output.write_all(block.bytes()),
        }
        .map_err(failed)
    }

    /// Writes the end; `worker` is any of the layer's.
    pub(super) fn close(self, worker: &mut Worker) -> Result<(), CompressError> {
        match (self.kind, worker) {
            (Kind::Gzip(member), _) => member.close(self.output).map_err(failed),
            (Kind::Zstd { empty: true }, Worker::Zstd(zstd)) => {
                let bytes = zstd.frame(&[])?;
                self.output.write_all(&bytes).map_err(failed)
            }
            _ => Ok(()),
        }
    }
}

fn failed(source: io::Error) -> CompressError {
    CompressError::Write { source }
}
