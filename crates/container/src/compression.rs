//! What a layer or an archive is compressed with, told by its first bytes, and taken off again.
//!
//! The media type is not asked: registries and tools mislabel layers, and a wrong guess here would fail with nonsense.
//! What comes out is bounded, since a small blob may unpack to any size.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// How some bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells it from the first bytes of a stream; four are enough.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, which zstd files in seekable form begin with.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// More came out than any layer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it unpacks to more than {limit} bytes, the most that is accepted")]
pub(crate) struct TooLarge {
    limit: u64,
}

/// Decompressed bytes of a stream of any of the kinds.
pub(crate) struct Decompressor<R: Read> {
    inner: Inner<R>,
    left: u64,
    limit: u64,
}

enum Inner<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<Peeked<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Peeked<R>>>),
}

/// The first bytes are looked at and put back.
type Peeked<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> Decompressor<R> {
    /// At most `limit` bytes come out; one more is an error of kind `InvalidData` around [`TooLarge`].
    pub(crate) fn new(mut reader: R, limit: u64) -> io::Result<Self> {
        let mut start = Vec::new();
        (&mut reader).take(4).read_to_end(&mut start)?;
        let compression = Compression::of(&start);
        let reader = BufReader::with_capacity(128 * 1024, Cursor::new(start).chain(reader));
        let inner = match compression {
            Compression::None => Inner::Plain(reader),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
                // What `zstd --ultra --long=27` makes, and as much memory as a stranger may ask for.
                decoder.window_log_max(27)?;
                Inner::Zstd(Box::new(decoder))
            }
        };
        Ok(Self {
            inner,
            left: limit,
            limit,
        })
    }

    pub(crate) fn compression(&self) -> Compression {
        match self.inner {
            Inner::Plain(_) => Compression::None,
            Inner::Gzip(_) => Compression::Gzip,
            Inner::Zstd(_) => Compression::Zstd,
        }
    }

    /// Reads what is behind the end of the compressed data, so that a verifying reader below sees its own end.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut rest = match self.inner {
            Inner::Plain(reader) => reader,
            Inner::Gzip(decoder) => decoder.into_inner(),
            Inner::Zstd(decoder) => decoder.finish(),
        };
        io::copy(&mut rest, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.inner {
            Inner::Plain(reader) => reader.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, TooLarge { limit: self.limit }))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
