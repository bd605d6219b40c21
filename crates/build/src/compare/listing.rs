//! A layer's entries, with what can differ in them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use shipway_oci::Digest;
use shipway_store::Store;

use crate::context::decompressed;
use crate::headers::BoundedHeaders;

/// Entries of one layer that are compared; a layer with more cannot be.
const MOST_ENTRIES: usize = 2_000_000;

/// By path.
pub(super) type Listing = BTreeMap<String, Entry>;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    kind: u8,
    mode: u32,
    owner: (u64, u64),
    modified: u64,
    link: Vec<u8>,
    device: (u32, u32),
    /// PAX records that do not only spell out the rest.
    attributes: BTreeMap<String, Vec<u8>>,
    size: u64,
    content: [u8; 32],
}

/// What is not the same in two entries of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// One is a file, the other a directory, a link or a device.
    Kind,
    /// The bytes, or the size.
    Content {
        /// The sizes.
        sizes: (u64, u64),
    },
    /// The permissions.
    Mode {
        /// Both.
        modes: (u32, u32),
    },
    /// User or group.
    Owner {
        /// User and group of both.
        owners: ((u64, u64), (u64, u64)),
    },
    /// The time of the last change.
    Modified {
        /// Seconds since 1970.
        times: (u64, u64),
    },
    /// Where a link leads.
    Link,
    /// The numbers of a device.
    Device,
    /// Extended attributes.
    Attributes,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("kind"),
            Self::Content { sizes: (one, other) } if one == other => write!(f, "content ({one} bytes)"),
            Self::Content { sizes: (one, other) } => write!(f, "content ({one} and {other} bytes)"),
            Self::Mode { modes: (one, other) } => write!(f, "mode ({one:04o} and {other:04o})"),
            Self::Owner { owners: (one, other) } => {
                write!(f, "owner ({}:{} and {}:{})", one.0, one.1, other.0, other.1)
            }
            Self::Modified { times: (one, other) } => write!(f, "mtime ({one} and {other})"),
            Self::Link => f.write_str("link target"),
            Self::Device => f.write_str("device"),
            Self::Attributes => f.write_str("extended attributes"),
        }
    }
}

impl Entry {
    pub(super) fn differences(&self, other: &Self) -> Vec<Aspect> {
        if self.kind != other.kind {
            return vec![Aspect::Kind];
        }
        let aspects = [
            (self.content != other.content || self.size != other.size).then_some(Aspect::Content {
                sizes: (self.size, other.size),
            }),
            (self.mode != other.mode).then_some(Aspect::Mode {
                modes: (self.mode, other.mode),
            }),
            (self.owner != other.owner).then_some(Aspect::Owner {
                owners: (self.owner, other.owner),
            }),
            (self.modified != other.modified).then_some(Aspect::Modified {
                times: (self.modified, other.modified),
            }),
            (self.link != other.link).then_some(Aspect::Link),
            (self.device != other.device).then_some(Aspect::Device),
            (self.attributes != other.attributes).then_some(Aspect::Attributes),
        ];
        aspects.into_iter().flatten().collect()
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reads a layer of the store to its end. Blocks.
pub(super) fn list(store: &Store, layer: &Digest) -> Result<Listing, Cause> {
    entries(decompressed(store.open_blob(layer)?, "layer")?)
}

pub(super) fn entries(tar: impl Read) -> Result<Listing, Cause> {
    let (bounded, bound) = BoundedHeaders::new(tar);
    let mut archive = tar::Archive::new(bounded);
    let mut listing = Listing::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        bound.contents();
        if listing.len() == MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries").into());
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = format!("/{}", path.trim_start_matches("./").trim_matches('/'));
        let entry = one(&mut entry, &bound)?;
        listing.insert(path, entry);
    }
    Ok(listing)
}

fn one(entry: &mut tar::Entry<'_, impl Read>, bound: &crate::headers::HeaderBound) -> Result<Entry, Cause> {
    let mut attributes = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let name = String::from_utf8_lossy(extension.key_bytes()).into_owned();
            if name.contains('.') {
                attributes.insert(name, extension.value_bytes().to_vec());
            }
        }
    }
    let header = entry.header();
    let kind = header.entry_type().as_byte();
    // Others may have anything there.
    let device = match header.entry_type().is_character_special() || header.entry_type().is_block_special() {
        true => (
            header.device_major()?.unwrap_or(0),
            header.device_minor()?.unwrap_or(0),
        ),
        false => (0, 0),
    };
    let (mode, owner, modified) = (header.mode()?, (header.uid()?, header.gid()?), header.mtime()?);
    let link = entry.link_name_bytes().unwrap_or_default().into_owned();
    let size = entry.size();
    let mut hasher = blake3::Hasher::new();
    std::io::copy(entry, &mut hasher)?;
    bound.headers(entry)?;
    Ok(Entry {
        kind,
        mode,
        owner,
        modified,
        link,
        device,
        attributes,
        size,
        content: *hasher.finalize().as_bytes(),
    })
}
