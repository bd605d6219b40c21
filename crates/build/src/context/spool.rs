//! Making a context of files that come one after the other: contents in one unnamed file, everything else in an index.
//!
//! Nothing is ever written to a path that the files' maker chose.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use shipway_store::{Meter, MeteredFile};

use super::archive::Spooled;
use super::tree::{Entry, EntryKind, Tree};
use super::{ContextError, limits};

/// Where the bytes of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Extent {
    fn kind(self) -> EntryKind {
        EntryKind::File {
            size: self.size,
            offset: Some(self.offset),
        }
    }
}

/// A context that is being filled.
pub(crate) struct Spooler {
    pub(super) tree: Tree,
    writer: BufWriter<MeteredFile>,
    spool: PathBuf,
    offset: u64,
}

impl Spooler {
    /// Contents go to an unnamed file in `spool`, which counts for `written` while it is there.
    pub(crate) fn new(spool: &Path, written: &Meter) -> Result<Self, ContextError> {
        let file = tempfile::tempfile_in(spool).map_err(|source| ContextError::Spool {
            path: spool.to_owned(),
            source,
        })?;
        Ok(Self {
            tree: Tree::default(),
            writer: BufWriter::with_capacity(1 << 17, MeteredFile::new(file, written)),
            spool: spool.to_owned(),
            offset: 0,
        })
    }

    /// Keeps bytes, which [`Self::file`] then names.
    pub(crate) fn keep(&mut self, bytes: &mut dyn Read) -> Result<Extent, ContextError> {
        let size = std::io::copy(bytes, &mut self.writer).map_err(|source| self.failed(source))?;
        let offset = self.offset;
        self.offset += size;
        Ok(Extent { offset, size })
    }

    pub(crate) fn file(&mut self, path: PathBuf, mode: u32, bytes: Extent) -> Result<(), ContextError> {
        self.place(
            path,
            Entry {
                kind: bytes.kind(),
                mode,
            },
        )
    }

    pub(crate) fn folder(&mut self, path: PathBuf, mode: u32) -> Result<(), ContextError> {
        let kind = EntryKind::Directory;
        self.place(path, Entry { kind, mode })
    }

    pub(crate) fn link(&mut self, path: PathBuf, target: PathBuf) -> Result<(), ContextError> {
        if target.as_os_str().len() > limits::PATH_BYTES {
            return Err(ContextError::TooLarge);
        }
        let kind = EntryKind::Link { target };
        self.place(path, Entry { kind, mode: 0o777 })
    }

    /// Whether something has this path.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.tree.get(path).is_some()
    }

    pub(super) fn place(&mut self, path: PathBuf, entry: Entry) -> Result<(), ContextError> {
        for folder in path
            .ancestors()
            .skip(1)
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            match self.tree.get(folder).map(|entry| &entry.kind) {
                Some(EntryKind::Directory) => break,
                Some(_) => {
                    return Err(ContextError::Hostile {
                        path,
                        reason: "it lies below something that is no folder",
                    });
                }
                None => {
                    let implied = Entry {
                        kind: EntryKind::Directory,
                        mode: 0o755,
                    };
                    self.tree.insert(folder.to_owned(), implied)?;
                }
            }
        }
        if entry.kind != EntryKind::Directory {
            self.tree.remove_below(&path);
        }
        self.tree.insert(path, entry)
    }

    /// The context, with what was left out as sentences.
    pub(crate) fn finish(mut self, skipped: Vec<String>) -> Result<Spooled, ContextError> {
        self.writer.flush().map_err(|source| self.failed(source))?;
        let spool = self.spool;
        let contents = self.writer.into_inner().map_err(|error| ContextError::Spool {
            path: spool,
            source: error.into_error(),
        })?;
        Ok(Spooled {
            tree: self.tree,
            contents,
            skipped,
        })
    }

    pub(super) fn failed(&self, source: std::io::Error) -> ContextError {
        ContextError::Spool {
            path: self.spool.clone(),
            source,
        }
    }
}
