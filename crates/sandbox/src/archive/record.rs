//! The parts of tar's format that reading has to understand: headers, numbers, extended records.

use super::attributes::Attribute;
use crate::error::{KeeperError, Result};

pub(super) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    Directory,
    Fifo,
    /// A character or block device: a user namespace may not make one.
    Device,
}

/// An entry without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: (i64, i64),
    pub(super) link: Vec<u8>,
    pub(super) attributes: Vec<Attribute>,
}

impl Entry {
    /// An error about this entry.
    pub(super) fn error(&self, reason: impl Into<String>) -> KeeperError {
        broken(&self.name, reason)
    }
}

pub(super) fn broken(name: &[u8], reason: impl Into<String>) -> KeeperError {
    let shown = &name[..name.len().min(300)];
    KeeperError::Archive {
        entry: String::from_utf8_lossy(shown).into_owned(),
        reason: reason.into(),
    }
}

/// A header block.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

impl Header<'_> {
    fn field(&self, start: usize, length: usize) -> &[u8] {
        &self.0[start..start + length]
    }

    fn text(&self, start: usize, length: usize) -> &[u8] {
        let field = self.field(start, length);
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = if self.field(257, 6) == b"ustar\0" {
            self.text(345, 155)
        } else {
            b""
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// A number of this header; `what` is for the error.
    pub(super) fn number(&self, start: usize, length: usize, what: &str) -> Result<i64> {
        parse_number(self.field(start, length))
            .ok_or_else(|| broken(&self.name(), format!("the header's {what} is not a number")))
    }

    /// Whether the sum of the bytes is the one that the header states; some writers add signed bytes.
    pub(super) fn is_sound(&self) -> bool {
        let Some(stated) = parse_number(self.field(148, 8)) else {
            return false;
        };
        let counted = |index: usize, byte: u8| if (148..156).contains(&index) { b' ' } else { byte };
        let bytes = || {
            self.0
                .iter()
                .enumerate()
                .map(|(index, byte)| counted(index, *byte))
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        stated == unsigned || stated == signed
    }
}

/// Octal digits, or, marked by the highest bit, a binary number.
fn parse_number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let start = if negative { -1 } else { 0 };
        let head = if negative { first } else { first & 0x7f };
        return std::iter::once(head).chain(field[1..].iter().copied()).try_fold(
            start,
            |number: i64, byte| {
                let shifted = number.checked_mul(256)?;
                Some(shifted | i64::from(byte))
            },
        );
    }
    let text: &[u8] = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let digits = text.trim_ascii();
    digits.iter().try_fold(0_i64, |number, digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value < 8)?;
        number.checked_mul(8)?.checked_add(i64::from(value))
    })
}

/// What extended records say about the entry that follows.
#[derive(Debug, Default)]
pub(super) struct Extension {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) attributes: Vec<Attribute>,
}

impl Extension {
    /// Adds the records of a PAX header: `LENGTH KEY=VALUE\n`, one after the other.
    pub(super) fn add_records(&mut self, mut bytes: &[u8]) -> Result<()> {
        let malformed = || broken(b"", "an extended header is malformed");
        while !bytes.is_empty() {
            let space = bytes
                .iter()
                .take(20)
                .position(|byte| *byte == b' ')
                .ok_or_else(malformed)?;
            let length: usize = decimal(&bytes[..space]).ok_or_else(malformed)?;
            let record = bytes.get(space + 1..length).ok_or_else(malformed)?;
            bytes = &bytes[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(malformed)?;
            self.add_record(&record[..equals], &record[equals + 1..])?;
        }
        Ok(())
    }

    fn add_record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || {
            broken(
                b"",
                format!(
                    "the extended record {} is malformed",
                    String::from_utf8_lossy(key)
                ),
            )
        };
        match key {
            b"path" => self.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value).ok_or_else(malformed)?),
            b"uid" => self.uid = Some(decimal(value).ok_or_else(malformed)?),
            b"gid" => self.gid = Some(decimal(value).ok_or_else(malformed)?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(malformed)?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(broken(b"", "sparse files are not supported in archives"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with a decimal fraction; the fraction goes towards the future, also before 1970.
fn time(value: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let negative = seconds.starts_with('-');
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    if negative && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_two_forms() {
        assert_eq!(parse_number(b"0000644\0"), Some(0o644));
        assert_eq!(parse_number(b"  644 \0\0"), Some(0o644));
        assert_eq!(parse_number(b"\0\0\0\0"), Some(0));
        assert_eq!(parse_number(&[0x80, 0, 0, 1, 0, 0, 0, 0]), Some(1 << 32));
        assert_eq!(parse_number(&[0xff; 12]), Some(-1));
        assert_eq!(
            parse_number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
        assert_eq!(parse_number(b"9"), None);
    }

    #[test]
    fn records_are_read_and_garbage_is_refused() {
        let mut extension = Extension::default();
        extension
            .add_records(b"12 path=abc\n14 mtime=-1.5\n31 SCHILY.xattr.user.x=a\nb=\n c\n")
            .unwrap();
        assert_eq!(extension.name.as_deref(), Some(b"abc".as_slice()));
        assert_eq!(extension.mtime, Some((-2, 500_000_000)));
        assert_eq!(
            extension.attributes,
            [(b"user.x".to_vec(), b"a\nb=\n c".to_vec())]
        );
        for garbage in [
            b"x".as_slice(),
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 abc\n",
            b"13 size=many\n",
            b"14 mtime=1.-5\n",
        ] {
            assert!(Extension::default().add_records(garbage).is_err(), "{garbage:?}");
        }
    }
}
