//! eStargz: gzip of which a reader can take single files, by a table of contents at the end.
//!
//! ```text
//! member: headers │ member: piece of a file │ … │ member: the table's tar │ footer, 51 bytes: where that begins
//! ```
//!
//! The tar goes in as it is, so that whoever does not know of the table unpacks the same files: the table stands behind the tar's
//! end mark. The diffID is that of the whole, table included. The format is that of stargz-snapshotter's `docs/estargz.md`. One thread
//! writes it; memory holds one piece and the table.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::Serialize;
use shipway_oci::{Algorithm, Digest, Hasher};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::gzip::{Member, deflate};
use super::{CompressError, Compressed};
use crate::headers::BoundedHeaders;

/// The name of the table in its tar.
const TABLE: &str = "stargz.index.json";
/// The largest piece of a file that is compressed on its own. Part of what a layer's digest depends on.
const PIECE: usize = 1 << 20;
/// Files of a layer: the table is in memory until all are written.
const MOST_ENTRIES: usize = 300_000;

/// What a layer became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Estargz {
    /// The tar that went in.
    pub(crate) tar: Digest,
    /// What comes out when all of it is unpacked: tar and table.
    pub(crate) whole: Compressed,
    /// The digest of the table's JSON.
    pub(crate) table: Digest,
}

#[derive(Serialize)]
struct Table {
    version: u32,
    entries: Vec<Row>,
}

/// A row of the table; what is nothing is left out.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(rename = "modtime", skip_serializing_if = "String::is_empty")]
    modified: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Reads a tar to its end and writes it as eStargz. Blocks.
///
/// # Errors
/// When one of both sides fails, or the tar holds what the format has no word for.
pub(crate) fn write(
    level: u32,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<Estargz, CompressError> {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let mut tar = Hasher::new(Algorithm::Sha256);
    let recorded = Recorded {
        inner: input,
        taken: Rc::clone(&taken),
        hasher: &mut tar,
    };
    let unreadable = |source| CompressError::Read { source };
    let mut members = Members::new(level, output);
    let mut entries = Vec::new();
    let (bounded, bound) = BoundedHeaders::new(recorded);
    let mut archive = tar::Archive::new(bounded);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        bound.contents();
        let mut row = row(&mut entry).map_err(unreadable)?;
        if row.name.trim_start_matches("./").trim_end_matches('/') == TABLE {
            return Err(unreadable(io::Error::other(format!("it has a {TABLE} already"))));
        }
        if row.r#type == "reg" {
            let mut left = entry.size();
            let mut whole = Hasher::new(Algorithm::Sha256);
            let (first, mut offset) = (entries.len(), 0);
            if left == 0 {
                entries.push(std::mem::take(&mut row));
            }
            while left > 0 {
                members.write(&std::mem::take(&mut *taken.borrow_mut()))?;
                let size = left.min(PIECE as u64);
                io::copy(&mut (&mut entry).take(size), &mut io::sink()).map_err(unreadable)?;
                let piece = std::mem::take(&mut *taken.borrow_mut());
                if piece.len() as u64 != size {
                    return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
                }
                whole.update(&piece);
                let next = Row {
                    name: row.name.clone(),
                    r#type: "chunk",
                    ..Row::default()
                };
                row.offset = members.offset;
                row.chunk_offset = offset;
                row.chunk_size = if left > size { size } else { 0 };
                row.chunk_digest = Some(Digest::sha256(&piece));
                members.write(&piece)?;
                entries.push(std::mem::replace(&mut row, next));
                (left, offset) = (left - size, offset + size);
            }
            if let Some(first) = entries.get_mut(first) {
                first.digest = Some(whole.finish());
            }
        } else {
            entries.push(row);
        }
        if entries.len() > MOST_ENTRIES {
            let told = format!("it has more than {MOST_ENTRIES} files, the most that a table is made of");
            return Err(unreadable(io::Error::other(told)));
        }
        bound.headers(&mut entry).map_err(unreadable)?;
    }
    bound.contents();
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    members.write(&std::mem::take(&mut *taken.borrow_mut()))?;
    members.finish(tar.finish(), &Table { version: 1, entries })
}

/// What the table says of an entry, but for where its bytes are.
fn row(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Row> {
    const ATTRIBUTE: &str = "SCHILY.xattr.";
    let mut xattrs = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE)) {
                xattrs.insert(name.to_owned(), BASE64.encode(extension.value_bytes()));
            }
        }
    }
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => "reg",
        tar::EntryType::Directory => "dir",
        tar::EntryType::Symlink => "symlink",
        tar::EntryType::Link => "hardlink",
        tar::EntryType::Char => "char",
        tar::EntryType::Block => "block",
        tar::EntryType::Fifo => "fifo",
        other => {
            return Err(io::Error::other(format!(
                "eStargz has no entries of type {other:?}"
            )));
        }
    };
    let is_device = matches!(kind, "char" | "block");
    let device = |number: io::Result<Option<u32>>| match number {
        Ok(Some(number)) if is_device => u64::from(number),
        _ => 0,
    };
    let time = i64::try_from(header.mtime()?).ok().filter(|time| *time != 0);
    let modified = time
        .and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok())
        .and_then(|time| time.format(&Rfc3339).ok());
    Ok(Row {
        name: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
        r#type: kind,
        size: if kind == "reg" { entry.size() } else { 0 },
        modified: modified.unwrap_or_default(),
        link_name: entry
            .link_name_bytes()
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .unwrap_or_default(),
        mode: u64::from(header.mode()?),
        uid: header.uid().unwrap_or_default(),
        gid: header.gid().unwrap_or_default(),
        dev_major: device(header.device_major()),
        dev_minor: device(header.device_minor()),
        xattrs,
        ..Row::default()
    })
}

/// Gzip members one after the other.
struct Members<'a> {
    level: u32,
    output: &'a mut dyn Write,
    /// How many bytes are written.
    offset: u64,
    hasher: Hasher,
    uncompressed: u64,
}

impl<'a> Members<'a> {
    fn new(level: u32, output: &'a mut dyn Write) -> Self {
        Self {
            level,
            output,
            offset: 0,
            hasher: Hasher::new(Algorithm::Sha256),
            uncompressed: 0,
        }
    }

    /// One member; none for nothing.
    fn write(&mut self, plain: &[u8]) -> Result<(), CompressError> {
        if plain.is_empty() {
            return Ok(());
        }
        self.hasher.update(plain);
        self.uncompressed += plain.len() as u64;
        let mut bytes = Vec::with_capacity(plain.len() / 2 + 64);
        let failed = |source| CompressError::Write { source };
        let mut member = Member::open(&mut bytes).map_err(failed)?;
        for part in plain.chunks(PIECE) {
            member
                .block(&deflate(part, self.level)?, &mut bytes)
                .map_err(failed)?;
        }
        member.close(&mut bytes).map_err(failed)?;
        self.offset += bytes.len() as u64;
        self.output.write_all(&bytes).map_err(failed)
    }

    fn finish(mut self, tar: Digest, table: &Table) -> Result<Estargz, CompressError> {
        let failed = |source| CompressError::Write { source };
        let json = serde_json::to_vec(table).map_err(|error| failed(error.into()))?;
        let begins = self.offset;
        let mut archive = tar::Builder::new(Vec::with_capacity(json.len() + 2048));
        let mut header = tar::Header::new_ustar();
        header.set_size(json.len() as u64);
        header.set_mode(0);
        archive
            .append_data(&mut header, TABLE, json.as_slice())
            .map_err(failed)?;
        let archive = archive.into_inner().map_err(failed)?;
        self.write(&archive)?;
        self.output.write_all(&footer(begins)).map_err(failed)?;
        Ok(Estargz {
            tar,
            whole: Compressed {
                diff_id: self.hasher.finish(),
                uncompressed: self.uncompressed,
            },
            table: Digest::sha256(&json),
        })
    }
}

/// An empty gzip member with an extra field that says where the table begins.
fn footer(table: u64) -> Vec<u8> {
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
    let place = format!("{table:016x}STARGZ");
    footer.extend([26, 0, b'S', b'G', 22, 0]);
    footer.extend(place.as_bytes());
    // One stored block of nothing, the checksum and the length of nothing.
    footer.extend([1, 0, 0, 0xff, 0xff]);
    footer.extend([0; 8]);
    footer
}

/// Keeps what is read until it is taken, and hashes it.
struct Recorded<'a> {
    inner: &'a mut dyn Read,
    taken: Rc<RefCell<Vec<u8>>>,
    hasher: &'a mut Hasher,
}

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.taken.borrow_mut().extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
