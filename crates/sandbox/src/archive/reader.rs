//! Reading a tar as a stream: ustar, PAX and GNU long names, in bounded memory.
//!
//! Own code rather than a library's, because the bounds are the point: how many entries, how long a name, how large
//! an extended header. Anything that is not understood is an error, never a guess.

use std::io::{ErrorKind, Read};

use super::record::{BLOCK, Entry, Extension, Header, Kind, broken};
use crate::error::{Doing as _, Result};
use crate::requests::UnpackLimits;

/// A tar being read.
pub(super) struct Reader<R> {
    source: R,
    limits: UnpackLimits,
    entries: u64,
    /// Bytes of the current entry's contents that were not read, and of the padding behind.
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R, limits: UnpackLimits) -> Self {
        Self {
            source,
            limits,
            entries: 0,
            left: 0,
            padding: 0,
        }
    }

    /// How many entries there were so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The next entry; what was not read of the last one is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extension = Extension::default();
        let mut room = self.limits.header;
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(block) = self.block()? else {
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header(&block);
            if !header.is_sound() {
                return Err(broken(
                    &header.name(),
                    "the header's checksum is wrong: this is not a tar, or it is damaged",
                ));
            }
            let size = header.number(124, 12, "size")?;
            let size = u64::try_from(size).map_err(|_| broken(&header.name(), "the size is negative"))?;
            match header.kind() {
                b'x' => extension.add_records(&self.extended(size, &mut room)?)?,
                b'L' => extension.name = Some(without_zero(self.extended(size, &mut room)?)),
                b'K' => extension.link = Some(without_zero(self.extended(size, &mut room)?)),
                // For all entries: a comment of `git archive`, in practice.
                b'g' => drop(self.extended(size, &mut room)?),
                _ => return self.entry(&header, size, extension).map(Some),
            }
        }
    }

    /// Reads from the current entry's contents.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let length = self.read_some(&mut buffer[..wanted])?;
        if length == 0 {
            return Err(ends_early());
        }
        self.left -= length as u64;
        Ok(length)
    }

    /// Reads to the end of the stream, so that who writes it is not cut off.
    pub(super) fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 8192];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(())
    }

    fn entry(&mut self, header: &Header<'_>, size: u64, extension: Extension) -> Result<Entry> {
        let name = extension.name.unwrap_or_else(|| header.name());
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(broken(
                &name,
                format!("the archive has more than {} entries", self.limits.entries),
            ));
        }
        let kind = match header.kind() {
            0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(broken(&name, "sparse files are not supported in archives")),
            other => {
                return Err(broken(
                    &name,
                    format!("entries of type {:?} are not understood", char::from(other)),
                ));
            }
        };
        let size = if kind == Kind::File {
            extension.size.unwrap_or(size)
        } else {
            0
        };
        let id = |start, what| {
            let number = header.number(start, 8, what)?;
            u32::try_from(number).map_err(|_| broken(&name, format!("the {what} {number} is out of range")))
        };
        let uid = extension.uid.map_or_else(|| id(108, "owner"), Ok)?;
        let gid = extension.gid.map_or_else(|| id(116, "group"), Ok)?;
        let mode = (header.number(100, 8, "mode")? & 0o7777) as u32;
        let mtime = extension
            .mtime
            .map_or_else(|| Ok((header.number(136, 12, "time")?, 0)), Ok)?;
        let link = match kind {
            Kind::HardLink | Kind::SymbolicLink => extension.link.unwrap_or_else(|| header.link()),
            _ => Vec::new(),
        };
        let entry = Entry {
            name,
            kind,
            mode,
            uid,
            gid,
            size,
            mtime,
            link,
            attributes: extension.attributes,
        };
        self.check(&entry)?;
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        Ok(entry)
    }

    fn check(&self, entry: &Entry) -> Result<()> {
        if entry.name.len() > self.limits.path || entry.link.len() > self.limits.path {
            return Err(entry.error(format!("a path is longer than {} bytes", self.limits.path)));
        }
        if entry.name.contains(&0) || entry.link.contains(&0) {
            return Err(entry.error("a path contains a zero byte"));
        }
        if entry.size > i64::MAX as u64 / 2 {
            return Err(entry.error("the size is out of range"));
        }
        for (name, value) in &entry.attributes {
            if value.len() > self.limits.attribute || name.len() > 255 || name.contains(&0) {
                return Err(entry.error(format!(
                    "the extended attribute {} is longer than {} bytes",
                    String::from_utf8_lossy(name),
                    self.limits.attribute
                )));
            }
        }
        Ok(())
    }

    /// What follows an extended header; all those of one entry share the room, because their records add up.
    fn extended(&mut self, size: u64, room: &mut u64) -> Result<Vec<u8>> {
        *room = room.checked_sub(size).ok_or_else(|| {
            broken(
                b"",
                format!(
                    "an entry's extended headers are longer than {} bytes",
                    self.limits.header
                ),
            )
        })?;
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes)?;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        Ok(bytes)
    }

    /// One block; none at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let first = self.read_some(&mut block)?;
        if first == 0 {
            return Ok(None);
        }
        self.read_exact(&mut block[first..])?;
        Ok(Some(block))
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            match self.read_some(buffer)? {
                0 => return Err(ends_early()),
                length => buffer = &mut buffer[length..],
            }
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.doing(|| "read the archive".into()),
            }
        }
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        let mut buffer = [0; 8192];
        while count > 0 {
            let wanted = buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            match self.read_some(&mut buffer[..wanted])? {
                0 => return Err(ends_early()),
                length => count -= length as u64,
            }
        }
        Ok(())
    }
}

fn ends_early() -> crate::error::KeeperError {
    broken(b"", "the archive ends in the middle of an entry")
}

fn without_zero(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests;
