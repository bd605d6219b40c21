//! Writing a tar whose bytes depend on the tree alone.
//!
//! Plain ustar, with a PAX header only for what ustar cannot say; ids as numbers, no names; records in a fixed order.

use std::io::Write;

use super::record::{Attribute, BLOCK};
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
mod tests {
    use super::super::reader::Reader;
    use super::super::record::Kind;
    use super::*;
    use crate::requests::UnpackLimits;

    #[test]
    fn what_is_written_is_read_again() {
        let long = [b"d/".repeat(90).as_slice(), &b"n".repeat(150)].concat();
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let attributes = vec![(b"user.x".to_vec(), b"\0\xff\n".to_vec())];
        let head = Head {
            name: &long,
            letter: Letter::File,
            mode: 0o4755,
            uid: 3_000_000,
            gid: 5,
            size: 3,
            mtime: -7,
            link: b"",
            device: (0, 0),
            attributes: attributes.clone(),
        };
        writer.head(&head).unwrap();
        writer.bytes(b"abc").unwrap();
        writer.padding(3).unwrap();
        let name = [b"p".repeat(120).as_slice(), b"/", &b"q".repeat(99)].concat();
        let link = b"l".repeat(200);
        let head = Head {
            name: &name,
            letter: Letter::SymbolicLink,
            size: 0,
            link: &link,
            attributes: vec![],
            ..head
        };
        writer.head(&head).unwrap();
        writer.finish().unwrap();

        let mut reader = Reader::new(bytes.as_slice(), UnpackLimits::default());
        let first = reader.next().unwrap().unwrap();
        assert_eq!((&first.name, first.kind, first.mode), (&long, Kind::File, 0o4755));
        assert_eq!(
            (first.uid, first.gid, first.size, first.mtime),
            (3_000_000, 5, 3, (-7, 0))
        );
        assert_eq!(first.attributes, attributes);
        let mut contents = [0; 10];
        assert_eq!(reader.read(&mut contents).unwrap(), 3);
        let second = reader.next().unwrap().unwrap();
        assert_eq!(
            (second.name, second.kind, second.link),
            (name, Kind::SymbolicLink, link)
        );
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let head = Head {
            name: b"a",
            letter: Letter::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 600,
            mtime: 0,
            link: b"",
            device: (0, 0),
            attributes: vec![],
        };
        writer.head(&head).unwrap();
        writer.bytes(&[1; 100]).unwrap();
        let mut reader = Reader::new(bytes.as_slice(), UnpackLimits::default());
        reader.next().unwrap().unwrap();
        assert!(reader.next().is_err());
        assert!(
            Reader::new([7; 512].as_slice(), UnpackLimits::default())
                .next()
                .is_err()
        );
        let limits = UnpackLimits {
            entries: 0,
            ..UnpackLimits::default()
        };
        assert!(Reader::new(bytes.as_slice(), limits).next().is_err());
    }

    /// Any byte of an archive may be anything: an error, perhaps other entries, but an end.
    #[test]
    fn no_damage_is_more_than_an_error() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for letter in [Letter::File, Letter::Directory, Letter::SymbolicLink] {
            let head = Head {
                name: b"directory/name",
                letter,
                mode: 0o644,
                uid: 4_000_000,
                gid: 1,
                size: 0,
                mtime: 1,
                link: b"target",
                device: (0, 0),
                attributes: vec![(b"user.a".to_vec(), b"value".to_vec())],
            };
            writer.head(&head).unwrap();
        }
        writer.finish().unwrap();
        for position in 0..bytes.len() {
            for value in [0, b'9', 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] = value;
                let start = position / BLOCK * BLOCK;
                let block = &mut damaged[start..start + BLOCK];
                let sum: u64 = (0..BLOCK)
                    .map(|at| {
                        if (148..156).contains(&at) {
                            32
                        } else {
                            u64::from(block[at])
                        }
                    })
                    .sum();
                // Only headers have a sum; in contents this is one more damage.
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                let mut reader = Reader::new(damaged.as_slice(), UnpackLimits::default());
                while let Ok(Some(entry)) = reader.next() {
                    assert!(entry.name.len() <= UnpackLimits::default().path);
                }
            }
        }
    }
}
