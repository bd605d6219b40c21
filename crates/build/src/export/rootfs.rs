//! One layer's tar as entries: names made safe, headers bounded, the diffID checked on the way.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use shipway_oci::{Algorithm, Descriptor, Digest, Hasher};
use shipway_store::Store;

use super::error::ExportError;
use crate::context::decompressed;
use crate::headers::BoundedHeaders;

/// A layer of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) blob: &'a Descriptor,
    pub(super) diff_id: &'a Digest,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// To what it leads, as it is.
    SymbolicLink(PathBuf),
    /// The other name of the same file.
    HardLink(PathBuf),
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

/// A file of a root file system, but for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the root, without `.` and `..`, never empty.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// The lower twelve bits.
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// As PAX has them: the name behind `SCHILY.xattr.`.
    pub(super) attributes: Vec<(String, Vec<u8>)>,
    pub(super) size: u64,
}

/// Takes the entries of a layer with their number in it.
pub(super) type Visit<'a> = dyn FnMut(u32, Entry, &mut dyn Read) -> Result<(), ExportError> + 'a;

const ATTRIBUTE: &str = "SCHILY.xattr.";

/// Reads a layer to its end. Blocks.
///
/// # Errors
/// When it cannot be read, is not what its diffID says, or the visitor fails.
pub(super) fn walk(store: &Store, layer: Layer<'_>, visit: &mut Visit<'_>) -> Result<(), ExportError> {
    let unreadable = |source: io::Error| ExportError::Layer {
        layer: layer.blob.digest.clone(),
        source,
    };
    let failed = |source| ExportError::Store { source };
    let file = store.open_blob(&layer.blob.digest).map_err(failed)?;
    // Who has looked before is believed.
    let proven = store.diff_id(&layer.blob.digest).map_err(failed)?.as_ref() == Some(layer.diff_id);
    let plain = decompressed(file, "layer").map_err(|error| unreadable(io::Error::other(error)))?;
    let mut hashed = Hashed {
        inner: plain,
        hasher: (!proven).then(|| Hasher::new(Algorithm::Sha256)),
    };
    let (input, bound) = BoundedHeaders::new(&mut hashed);
    let mut archive = tar::Archive::new(input);
    for (number, entry) in (0..).zip(archive.entries().map_err(unreadable)?) {
        let mut entry = entry.map_err(unreadable)?;
        bound.contents();
        if let Some(header) = read(&mut entry).map_err(unreadable)? {
            visit(number, header, &mut entry)?;
        }
        bound.headers(&mut entry).map_err(unreadable)?;
    }
    bound.contents();
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let Some(found) = hashed.hasher.map(Hasher::finish) else {
        return Ok(());
    };
    if found != *layer.diff_id {
        return Err(ExportError::DiffId {
            layer: layer.blob.digest.clone(),
            expected: layer.diff_id.clone(),
            found,
        });
    }
    store.keep_diff_id(&layer.blob.digest, &found).map_err(failed)
}

/// The entry as ours; nothing for the root itself and for what is no file.
fn read(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Entry>> {
    let path = clean(&entry.path()?);
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let link = |entry: &tar::Entry<'_, _>| -> io::Result<PathBuf> {
        Ok(entry.link_name()?.unwrap_or_default().into_owned())
    };
    let device = |header: &tar::Header, block| -> io::Result<Kind> {
        Ok(Kind::Device {
            block,
            major: header.device_major()?.unwrap_or_default(),
            minor: header.device_minor()?.unwrap_or_default(),
        })
    };
    let kind = match entry.header().entry_type() {
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Symlink => Kind::SymbolicLink(link(entry)?),
        tar::EntryType::Link => Kind::HardLink(clean(&link(entry)?)),
        tar::EntryType::Fifo => Kind::Fifo,
        tar::EntryType::Char => device(entry.header(), false)?,
        tar::EntryType::Block => device(entry.header(), true)?,
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => Kind::File,
        _ => return Ok(None),
    };
    let mut attributes = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE)) {
                attributes.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    Ok(Some(Entry {
        path,
        mode: header.mode()? & 0o7777,
        // An empty field is nothing to other readers, too.
        owner: (header.uid().unwrap_or_default(), header.gid().unwrap_or_default()),
        modified: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
        size: if kind == Kind::File { entry.size() } else { 0 },
        kind,
        attributes,
    }))
}

fn clean(path: &Path) -> PathBuf {
    let normal = |component: &Component<'_>| matches!(component, Component::Normal(_));
    path.components().filter(normal).collect()
}

struct Hashed<R> {
    inner: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}
