//! Entries of a layer that no tree was made for.
//!
//! A keeper that writes what a step changed looks at files. Where the files are known without having been made, their entries are
//! written here, by the same writer: the bytes are those that the keeper would have given.

use super::record::BLOCK;
use super::writer::{Head, Letter, Writer};
use crate::error::Result;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedKind<'a> {
    /// A directory.
    Directory,
    /// A regular file of so many bytes, which follow the headers, and behind them [`padding`].
    File(u64),
    /// A symbolic link, and where it leads.
    Link(&'a [u8]),
}

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedEntry<'a> {
    /// Its path, with neither a slash before nor one behind.
    pub name: &'a [u8],
    /// What it is.
    pub kind: PlacedKind<'a>,
    /// Permission bits; those of a link are always the same.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub mtime: i64,
}

impl PlacedEntry<'_> {
    /// Its headers, in whole blocks of 512 bytes.
    ///
    /// # Errors
    /// None today: nothing but memory is written to.
    pub fn headers(&self) -> Result<Vec<u8>> {
        let folder_name;
        let mut head = Head {
            name: self.name,
            letter: Letter::File,
            mode: self.mode & 0o7777,
            uid: self.owner.0,
            gid: self.owner.1,
            size: 0,
            mtime: self.mtime,
            link: b"",
            device: (0, 0),
            attributes: Vec::new(),
        };
        match self.kind {
            PlacedKind::Directory => {
                folder_name = [self.name, b"/"].concat();
                head.name = &folder_name;
                head.letter = Letter::Directory;
            }
            PlacedKind::File(size) => head.size = size,
            PlacedKind::Link(target) => {
                head.letter = Letter::SymbolicLink;
                head.link = target;
                head.mode = 0o777;
            }
        }
        let mut headers = Vec::with_capacity(BLOCK);
        Writer::new(&mut headers).head(&head)?;
        Ok(headers)
    }
}

/// The zeros behind a file of this size.
pub fn padding(size: u64) -> &'static [u8] {
    let missing = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    &ARCHIVE_END[..missing as usize]
}

/// The end of an archive.
pub const ARCHIVE_END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
