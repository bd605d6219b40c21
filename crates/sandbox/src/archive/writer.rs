//! Writing a tar whose bytes depend on the tree alone.
//!
//! Plain ustar, with a PAX header only for what ustar cannot say; ids as numbers, no names; records in a fixed order.

use std::io::Write;

use super::attributes::Attribute;
use super::record::BLOCK;
use crate::error::{Doing as _, Result};

/// What an entry is, as tar's letter says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letter {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    SymbolicLink = b'2' as isize,
    Character = b'3' as isize,
    Block = b'4' as isize,
    Directory = b'5' as isize,
    Fifo = b'6' as isize,
}

/// An entry to be written.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) letter: Letter,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) link: &'a [u8],
    pub(super) device: (u32, u32),
    pub(super) attributes: Vec<Attribute>,
}

/// A tar being written.
pub(super) struct Writer<W> {
    sink: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Writes an entry's headers; its contents and [`Self::padding`] follow.
    pub(super) fn head(&mut self, head: &Head<'_>) -> Result<()> {
        let records = records(head);
        if !records.is_empty() {
            let last = head
                .name
                .rsplit(|byte| *byte == b'/')
                .find(|part| !part.is_empty())
                .unwrap_or_default();
            let name = [b"PaxHeaders.0/", &last[..last.len().min(80)]].concat();
            let extended = Head {
                name: &name,
                letter: Letter::File,
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: records.len() as u64,
                mtime: 0,
                link: b"",
                device: (0, 0),
                attributes: Vec::new(),
            };
            self.bytes(&block(&extended, b'x'))?;
            self.bytes(&records)?;
            self.padding(records.len() as u64)?;
        }
        self.bytes(&block(head, head.letter as u8))
    }

    /// Writes contents.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).doing(|| "write the archive".into())
    }

    /// Fills the last block of contents of this size.
    pub(super) fn padding(&mut self, size: u64) -> Result<()> {
        let missing = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.bytes(&[0; BLOCK][..missing as usize])
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> Result<()> {
        self.bytes(&[0; 2 * BLOCK])?;
        self.sink.flush().doing(|| "write the archive".into())
    }
}

/// Name and prefix as ustar has them; none if they do not fit.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((name, b""));
    }
    let slash = (1..name.len() - 1).find(|index| name[*index] == b'/' && name.len() - index - 1 <= 100)?;
    (slash <= 155).then(|| (&name[slash + 1..], &name[..slash]))
}

const LARGEST_ID: u32 = 0o7_777_777;
const LARGEST: u64 = 0o77_777_777_777;

fn time_fits(mtime: i64) -> bool {
    u64::try_from(mtime).is_ok_and(|mtime| mtime <= LARGEST)
}

/// What ustar cannot say, sorted by key.
fn records(head: &Head<'_>) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut number = |key: &str, value: String| records.push((key.into(), value.into_bytes()));
    if head.gid > LARGEST_ID {
        number("gid", head.gid.to_string());
    }
    if head.uid > LARGEST_ID {
        number("uid", head.uid.to_string());
    }
    if !time_fits(head.mtime) {
        number("mtime", head.mtime.to_string());
    }
    if head.size > LARGEST {
        number("size", head.size.to_string());
    }
    if split_name(head.name).is_none() {
        records.push((b"path".to_vec(), head.name.to_vec()));
    }
    if head.link.len() > 100 {
        records.push((b"linkpath".to_vec(), head.link.to_vec()));
    }
    for (name, value) in &head.attributes {
        records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
    }
    records.sort();
    records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn block(head: &Head<'_>, letter: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (name, prefix) = split_name(head.name).unwrap_or_else(|| (&head.name[..100], b""));
    let link = &head.link[..head.link.len().min(100)];
    let id = |id: u32| u64::from(if id > LARGEST_ID { 0 } else { id });
    let mtime = if time_fits(head.mtime) {
        head.mtime.unsigned_abs()
    } else {
        0
    };
    let size = if head.size > LARGEST { 0 } else { head.size };
    put(&mut block, 0, name);
    octal(&mut block, 100, 8, u64::from(head.mode));
    octal(&mut block, 108, 8, id(head.uid));
    octal(&mut block, 116, 8, id(head.gid));
    octal(&mut block, 124, 12, size);
    octal(&mut block, 136, 12, mtime);
    put(&mut block, 148, b"        ");
    block[156] = letter;
    put(&mut block, 157, link);
    put(&mut block, 257, b"ustar\x0000");
    octal(&mut block, 329, 8, u64::from(head.device.0));
    octal(&mut block, 337, 8, u64::from(head.device.1));
    put(&mut block, 345, prefix);
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], start: usize, bytes: &[u8]) {
    block[start..start + bytes.len()].copy_from_slice(bytes);
}

fn octal(block: &mut [u8; BLOCK], start: usize, length: usize, number: u64) {
    let digits = length - 1;
    let mut text = format!("{number:0digits$o}").into_bytes();
    text.truncate(digits);
    put(block, start, &text);
}

#[cfg(test)]
mod tests;
