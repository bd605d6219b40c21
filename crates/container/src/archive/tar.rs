//! A walk through a tar stream that holds nothing of it in memory.
//!
//! Image archives and root file systems come from strangers, and the general tar reader takes a long name or a PAX
//! header into memory whatever its size. Here a header extension has a limit, an entry's bytes are streamed or
//! skipped, and a stream that is no tar is an error at its first block.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// The longest header extension accepted: far above any real path, far below what hurts.
const MAX_EXTENSION: u64 = 1024 * 1024;

/// Why a stream is no tar that we take.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source failed.
    #[error("cannot read the archive")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ends within an entry or without an end mark.
    #[error("the archive is cut off after {position} bytes")]
    CutOff {
        /// How far it went.
        position: u64,
    },
    /// A header is not one.
    #[error("not a tar archive: the header at byte {position} has a wrong checksum")]
    Checksum {
        /// Where.
        position: u64,
    },
    /// A header says what no writer would.
    #[error("the header at byte {position} has an unusable {field}")]
    Field {
        /// Where.
        position: u64,
        /// Which part of it.
        field: &'static str,
    },
}

/// What kind of thing an entry is, as far as image archives care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Link,
    Directory,
    Other,
}

/// The header of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) link: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
}

/// The walk. Between two calls of [`TarWalk::next`], reading gives the bytes of the entry.
pub(crate) struct TarWalk<R> {
    reader: R,
    position: u64,
    left: u64,
    padding: u64,
}

impl<R: Read> TarWalk<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            position: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; whatever is left of the one before is skipped. Nothing at the end mark.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let position = self.position;
            let mut header = [0; BLOCK];
            if !self.block(&mut header)? {
                // Some writers leave the end mark out, but never within what belongs to an entry.
                return if extension.is_empty() && position > 0 {
                    Ok(None)
                } else {
                    Err(TarError::CutOff { position })
                };
            }
            if header.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            if !checksum_holds(&header) {
                return Err(TarError::Checksum { position });
            }
            let size = number(&header[124..136]).ok_or(TarError::Field {
                position,
                field: "size",
            })?;
            match header[156] {
                b'L' => extension.path = Some(self.name(size, position)?),
                b'K' => extension.link = Some(self.name(size, position)?),
                b'x' => {
                    let bytes = self.extension(size, position)?;
                    extension.read_pax(&bytes).ok_or(TarError::Field {
                        position,
                        field: "PAX record",
                    })?;
                }
                b'g' => drop(self.extension(size, position)?),
                kind => return Ok(Some(self.entry(&header, kind, size, extension))),
            }
        }
    }

    /// Everything after the end mark, so that readers below see their own end.
    pub(crate) fn finish(mut self) -> Result<R, TarError> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(|source| TarError::Read { source })?;
        Ok(self.reader)
    }

    fn entry(&mut self, header: &[u8; BLOCK], kind: u8, size: u64, extension: Extension) -> Entry {
        let kind = match kind {
            b'0' | b'\0' | b'7' => Kind::File,
            b'1' | b'2' => Kind::Link,
            b'5' => Kind::Directory,
            _ => Kind::Other,
        };
        // Only files have bytes behind their header, whatever the size of a link or directory says.
        let size = if kind == Kind::File {
            extension.size.unwrap_or(size)
        } else {
            0
        };
        self.expect(size);
        let path = extension.path.unwrap_or_else(|| {
            let name = text(&header[..100]);
            let prefix = if &header[257..262] == b"ustar" && header[262] == 0 {
                text(&header[345..500])
            } else {
                String::new()
            };
            if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            }
        });
        let link = extension.link.unwrap_or_else(|| text(&header[157..257]));
        Entry {
            path,
            link,
            kind,
            size,
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn name(&mut self, size: u64, position: u64) -> Result<String, TarError> {
        Ok(text(&self.extension(size, position)?))
    }

    fn extension(&mut self, size: u64, position: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENSION {
            return Err(TarError::Field {
                position,
                field: "header extension: it is too long",
            });
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|source| TarError::Read { source })?;
        Ok(bytes)
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink())
            .map_err(|source| TarError::Read { source })?;
        self.position += skipped;
        // The padding of the very last entry may be missing.
        if skipped < self.left {
            return Err(TarError::CutOff {
                position: self.position,
            });
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Fills a block; false at a clean end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    return Err(TarError::CutOff {
                        position: self.position + filled as u64,
                    });
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { source }),
            }
        }
        self.position += BLOCK as u64;
        Ok(true)
    }
}

impl<R: Read> Read for TarWalk<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..length])?;
        if read == 0 {
            let cut_off = TarError::CutOff {
                position: self.position,
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut_off));
        }
        self.left -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

/// What extension headers say about the entry behind them.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Extension {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.link.is_none() && self.size.is_none()
    }

    /// Records of the form `LENGTH KEY=VALUE\n`.
    fn read_pax(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let value = String::from_utf8_lossy(&record[equals + 1..]);
            match &record[..equals] {
                b"path" => self.path = Some(value.into_owned()),
                b"linkpath" => self.link = Some(value.into_owned()),
                b"size" => self.size = Some(value.parse().ok()?),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Some(())
    }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Octal digits, or, for what does not fit them, a binary number marked by its first bit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return Some(value);
    }
    let digits = text(field);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() {
        Some(0)
    } else {
        u64::from_str_radix(digits, 8).ok()
    }
}

fn checksum_holds(header: &[u8; BLOCK]) -> bool {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            if (148..156).contains(&index) {
                32
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    number(&header[148..156]) == Some(sum)
}

#[cfg(test)]
mod tests;
