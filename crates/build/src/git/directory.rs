//! A `.git` that git itself can read: the commit checked out, without history, the same bits whenever it is made.
//!
//! What a server sends differs from day to day though the objects are the same, so the objects are packed anew: in the order of
//! their ids, each by itself.

use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gix_hash::{Kind, ObjectId};
use gix_object::tree::EntryKind;
use sha2::digest::Digest as _;

use super::checkout::Checkout;
use super::error::GitError;
use super::objects::{Objects, Room};
use super::remote::Resolved;
use crate::context::Spooler;

/// What a `.git` says of its repository.
pub(super) struct Repository<'a> {
    /// Where it came from, without what logs in.
    pub(super) origin: &'a str,
    pub(super) resolved: &'a Resolved,
    pub(super) commit: ObjectId,
    /// Whether the commit's parents are missing.
    pub(super) shallow: bool,
    /// What is checked out.
    pub(super) staged: &'a mut Vec<(PathBuf, EntryKind, ObjectId)>,
}

impl Repository<'_> {
    /// Puts `.git` into a checkout.
    pub(super) fn write(
        self,
        checkout: &mut Checkout,
        objects: &mut Objects,
        room: &Room,
    ) -> Result<(), GitError> {
        let hash = objects.hash();
        let files = &mut checkout.files;
        for folder in ["refs/heads", "refs/tags", "objects/info", "objects/pack", "info"] {
            files.folder(Path::new(".git").join(folder), 0o755)?;
        }
        let mut text = |name: &str, text: &[u8]| -> Result<(), GitError> {
            let kept = files.keep(&mut &*text)?;
            Ok(files.file(Path::new(".git").join(name), 0o644, kept)?)
        };
        text("HEAD", format!("{}\n", self.commit).as_bytes())?;
        text("config", configuration(hash, self.origin).as_bytes())?;
        if let Some(name) = &self.resolved.name {
            let mut references = format!(
                "# pack-refs with: peeled fully-peeled sorted \n{} {name}\n",
                self.resolved.object
            );
            if self.resolved.object != self.commit {
                references.push_str(&format!("^{}\n", self.commit));
            }
            text("packed-refs", references.as_bytes())?;
        }
        if self.shallow {
            text("shallow", format!("{}\n", self.commit).as_bytes())?;
        }
        text("index", &index(hash, self.staged))?;
        pack(files, objects, room)
    }
}

fn configuration(hash: Kind, origin: &str) -> String {
    let (version, format) = match hash {
        Kind::Sha1 => (0, ""),
        _ => (1, "[extensions]\n\tobjectformat = sha256\n"),
    };
    let origin = origin.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n{format}\
         [remote \"origin\"]\n\turl = \"{origin}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    )
}

/// Version 2 of git's index, with no times: git looks at the files themselves and notes them.
fn index(hash: Kind, staged: &mut [(PathBuf, EntryKind, ObjectId)]) -> Vec<u8> {
    const STAT_BYTES: usize = 24;
    staged.sort_by(|(one, ..), (other, ..)| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    let mut bytes = b"DIRC\0\0\0\x02".to_vec();
    bytes.extend_from_slice(&u32::try_from(staged.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (path, kind, id) in staged.iter() {
        let (begin, name) = (bytes.len(), path.as_os_str().as_bytes());
        bytes.extend_from_slice(&[0; STAT_BYTES]);
        bytes.extend_from_slice(&u32::from(*kind as u16).to_be_bytes());
        // Owner, group and size.
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(id.as_slice());
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX).min(0x0fff);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(name);
        let padding = 8 - (bytes.len() - begin) % 8;
        bytes.extend(std::iter::repeat_n(0, padding));
    }
    let sum = checksum(hash, &bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn checksum(hash: Kind, bytes: &[u8]) -> Vec<u8> {
    match hash {
        Kind::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
        _ => {
            let mut hasher = gix_hash::hasher(hash);
            hasher.update(bytes);
            hasher
                .try_finalize()
                .map(|id| id.as_slice().to_vec())
                .unwrap_or_default()
        }
    }
}

/// Packs all objects anew, and the index of that pack beside it.
fn pack(files: &mut Spooler, objects: &mut Objects, room: &Room) -> Result<(), GitError> {
    let keep = |source: io::Error| GitError::Keep { source };
    let hash = objects.hash();
    let mut output = Summed {
        hasher: gix_hash::hasher(hash),
        inner: BufWriter::with_capacity(1 << 17, room.file()?),
    };
    let ids = objects.ids();
    output.write_all(b"PACK\0\0\0\x02").map_err(keep)?;
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    output.write_all(&count.to_be_bytes()).map_err(keep)?;
    let mut buffer = Vec::new();
    for id in ids {
        let Some(object) = objects.find(&id, &mut buffer)? else {
            continue;
        };
        output
            .write_all(&entry_header(object.kind, object.data.len() as u64))
            .map_err(keep)?;
        let mut encoder = ZlibEncoder::new(&mut output, Compression::fast());
        encoder
            .write_all(object.data)
            .and_then(|()| encoder.finish().map(drop))
            .map_err(keep)?;
    }
    let Summed { hasher, inner } = output;
    let sum = hasher
        .try_finalize()
        .map_err(|error| keep(io::Error::other(error.to_string())))?;
    let mut inner = inner;
    inner.write_all(sum.as_slice()).map_err(keep)?;
    let packed = inner.into_inner().map_err(|error| keep(error.into_error()))?;
    let mut data = packed.file();
    let rewind = |mut file: &std::fs::File| file.seek(SeekFrom::Start(0)).map(drop).map_err(keep);
    rewind(data)?;
    let indexed = objects.again(&mut BufReader::new(&mut data), room)?;
    for (mut file, extension) in [(data, "pack"), (indexed.index_file(), "idx")] {
        rewind(file)?;
        let kept = files.keep(&mut file)?;
        let name = format!(".git/objects/pack/pack-{sum}.{extension}");
        files.file(PathBuf::from(name), 0o644, kept)?;
    }
    Ok(())
}

/// The kind and the size of an object, seven bits at a time.
fn entry_header(kind: gix_object::Kind, mut size: u64) -> Vec<u8> {
    let kind: u8 = match kind {
        gix_object::Kind::Commit => 1,
        gix_object::Kind::Tree => 2,
        gix_object::Kind::Blob => 3,
        gix_object::Kind::Tag => 4,
    };
    let mut bytes = vec![(kind << 4) | (size & 0xf) as u8];
    size >>= 4;
    while size > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

/// A writer that hashes what it passes on.
struct Summed<W> {
    hasher: gix_hash::Hasher,
    inner: W,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
