//! What the files of a directory hashed to before, so that what nobody touched is not read again.
//!
//! A file is known by its device, inode and size and its times of modification and of status change, in nanoseconds. No program that
//! writes a file can set the last of them, so that with the same ones it is as it was; a file that was changed right before it was
//! looked at is not remembered, because one more change might not show. Only keys are made of what is remembered: the bytes of a layer
//! are hashed again as they are read, and a build fails when they are others.
//!
//! Known gap, git's as well: a program that goes on writing through a mapping (`mmap`) moves these times only when the kernel has written
//! the page back, some thirty seconds at most; until then a step that was built from the bytes before is found in the cache.
//!
//! One file in the data directory for each context, the newest [`CONTEXTS`] of them. It is a cache: it may be removed at any time, and
//! one that is damaged, or cannot be written, is none.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Contexts of which something is remembered.
const CONTEXTS: usize = 32;
/// Files of one context that are remembered.
const FILES: usize = 500_000;
/// Seconds for which a file must not have changed when it was looked at.
const SETTLED: i64 = 2;
/// Changes when the form does.
const MAGIC: [u8; 16] = *b"shipway hashes 1";
/// Seven numbers of eight bytes, and a BLAKE3.
const RECORD: usize = 7 * 8 + 32;
const SUM: usize = 32;

/// By what a file that was not touched is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn bytes(&self) -> [[u8; 8]; 7] {
        [
            self.device.to_le_bytes(),
            self.inode.to_le_bytes(),
            self.size.to_le_bytes(),
            self.modified.0.to_le_bytes(),
            self.modified.1.to_le_bytes(),
            self.changed.0.to_le_bytes(),
            self.changed.1.to_le_bytes(),
        ]
    }

    fn parse(record: &[u8; RECORD]) -> Self {
        let number = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&record[index * 8..index * 8 + 8]);
            bytes
        };
        Self {
            device: u64::from_le_bytes(number(0)),
            inode: u64::from_le_bytes(number(1)),
            size: u64::from_le_bytes(number(2)),
            modified: (i64::from_le_bytes(number(3)), i64::from_le_bytes(number(4))),
            changed: (i64::from_le_bytes(number(5)), i64::from_le_bytes(number(6))),
        }
    }
}

/// What is remembered of one context.
#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    known: HashMap<Identity, [u8; 32]>,
}

impl Memory {
    /// What `directory` has of the context at `root`.
    pub(super) fn load(directory: &Path, root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok()?;
        let name = blake3::hash(root.as_os_str().as_bytes()).to_hex();
        let file = directory.join(name.as_str());
        let known = std::fs::read(&file)
            .ok()
            .and_then(|bytes| parse(&bytes))
            .unwrap_or_default();
        Some(Self { file, known })
    }

    pub(super) fn find(&self, identity: &Identity) -> Option<[u8; 32]> {
        self.known.get(identity).copied()
    }

    /// Forgets this context. Blocks.
    pub(super) fn forget(&self) {
        // One that is not there is forgotten already.
        let _ = std::fs::remove_file(&self.file);
    }

    /// Keeps the files of a context that was looked at at a time, and forgets the oldest contexts. Blocks.
    pub(super) fn keep<'a>(
        &self,
        looked_at: SystemTime,
        files: impl Iterator<Item = (&'a Identity, [u8; 32])>,
    ) -> io::Result<()> {
        let latest = looked_at
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0)
            - SETTLED;
        let mut bytes = MAGIC.to_vec();
        for (identity, hash) in files.filter(|(file, _)| file.changed.0 < latest).take(FILES) {
            bytes.extend(identity.bytes().as_flattened());
            bytes.extend(hash);
        }
        let sum = blake3::hash(&bytes);
        bytes.extend(sum.as_bytes());
        let directory = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        temporary.write_all(&bytes)?;
        temporary.persist(&self.file)?;
        forget_oldest(directory)
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<Identity, [u8; 32]>> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
    let records = body.strip_prefix(&MAGIC)?;
    if blake3::hash(body).as_bytes() != sum {
        return None;
    }
    let (records, rest) = records.as_chunks::<RECORD>();
    let known = records.iter().map(|record| {
        let mut hash = [0; 32];
        hash.copy_from_slice(&record[RECORD - 32..]);
        (Identity::parse(record), hash)
    });
    (rest.is_empty() && records.len() <= FILES).then(|| known.collect())
}

/// Removes the oldest when there are too many.
fn forget_oldest(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(CONTEXTS)) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
