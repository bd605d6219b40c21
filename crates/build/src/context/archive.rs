//! A context that came as a tar, and contexts whose contents lie in an unnamed file.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Chain, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use shipway_store::{Meter, MeteredFile};

use super::left_out::LeftOut;
use super::spool::Spooler;
use super::tree::{Entry, EntryKind, Tree};
use super::{ContextError, limits};
use crate::headers::BoundedHeaders;

/// Files that came as a stream, read to its end.
#[derive(Debug)]
pub struct Spooled {
    /// Modes as they came; a view normalises its own copy.
    pub(super) tree: Tree,
    pub(super) contents: MeteredFile,
    pub(super) skipped: Vec<String>,
}

impl Spooled {
    /// Reads a whole tar. Contents go to an unnamed file in `spool`, which counts for `written` while it is there.
    pub fn read(stream: impl Read, spool: &Path, written: &Meter) -> Result<Self, ContextError> {
        let mut index = Indexing {
            files: Spooler::new(spool, written)?,
            skipped: LeftOut::default(),
        };
        let plain = decompressed(stream, "build context")?;
        let ended = Rc::new(Cell::new(false));
        let padded = Padded {
            inner: plain.take(limits::TAR_BYTES),
            read: 0,
            ended: Rc::clone(&ended),
        };
        let (bounded, bound) = BoundedHeaders::new(padded);
        let mut archive = tar::Archive::new(bounded);
        for entry in archive.entries().map_err(|source| ContextError::Tar { source })? {
            let mut entry = entry.map_err(|source| ContextError::Tar { source })?;
            bound.contents();
            index.entry(&mut entry, &ended)?;
            bound
                .headers(&mut entry)
                .map_err(|source| ContextError::Tar { source })?;
        }
        bound.contents();
        // What follows the end mark is padding; a client that still writes must not get a broken pipe.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink())
            .map_err(|source| ContextError::Tar { source })?;
        index.files.finish(index.skipped.sentences())
    }

    pub(super) fn contents(&self) -> &File {
        self.contents.file()
    }

    pub(super) fn read_file(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>, ContextError> {
        let Some(resolved) = self.tree.resolve(path)? else {
            return Ok(None);
        };
        let Some(Entry {
            kind: EntryKind::File {
                size,
                offset: Some(offset),
            },
            ..
        }) = self.tree.get(&resolved)
        else {
            return Ok(None);
        };
        if *size > most {
            return Err(ContextError::FileTooLarge {
                path: path.to_owned(),
                most,
            });
        }
        let mut bytes = vec![0; usize::try_from(*size).unwrap_or(0)];
        self.contents
            .file()
            .read_exact_at(&mut bytes, *offset)
            .map_err(|source| ContextError::Read {
                path: path.to_owned(),
                source,
            })?;
        Ok(Some(bytes))
    }
}

struct Indexing {
    files: Spooler,
    skipped: LeftOut,
}

impl Indexing {
    fn entry(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        ended: &Cell<bool>,
    ) -> Result<(), ContextError> {
        let path = entry
            .path()
            .map_err(|source| ContextError::Tar { source })?
            .into_owned();
        let Some(path) = relative(&path)? else {
            return Ok(());
        };
        let mode = entry
            .header()
            .mode()
            .map_err(|source| ContextError::Tar { source })?;
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let kept = self.files.keep(entry)?;
                if ended.get() || kept.size != entry.size() {
                    let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    return Err(ContextError::Tar { source });
                }
                EntryKind::File {
                    size: kept.size,
                    offset: Some(kept.offset),
                }
            }
            tar::EntryType::Symlink => EntryKind::Link {
                target: link_name(entry, &path)?,
            },
            tar::EntryType::Link => {
                let target = relative(&link_name(entry, &path)?)?;
                match target
                    .and_then(|target| self.files.tree.get(&target))
                    .map(|entry| &entry.kind)
                {
                    Some(kind @ EntryKind::File { .. }) => kind.clone(),
                    _ => {
                        let reason = "a hard link must name a file that came before it";
                        return Err(ContextError::Hostile { path, reason });
                    }
                }
            }
            tar::EntryType::XGlobalHeader => return Ok(()),
            _ => {
                self.skipped.add(&path);
                return Ok(());
            }
        };
        let mode = if matches!(kind, EntryKind::Link { .. }) {
            0o777
        } else {
            mode & 0o7777
        };
        self.files.place(path, Entry { kind, mode })
    }
}

fn link_name(entry: &tar::Entry<'_, impl Read>, path: &Path) -> Result<PathBuf, ContextError> {
    match entry.link_name().map_err(|source| ContextError::Tar { source })? {
        Some(target) if target.as_os_str().len() <= limits::PATH_BYTES => Ok(target.into_owned()),
        Some(_) => Err(ContextError::TooLarge),
        None => Err(ContextError::Hostile {
            path: path.to_owned(),
            reason: "a link must say where it leads",
        }),
    }
}

/// The path inside the context; `None` for the root, an error for what leads out of it.
fn relative(path: &Path) -> Result<Option<PathBuf>, ContextError> {
    let mut done = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => done.push(name),
            Component::ParentDir => {
                let reason = "a path may not hold `..`";
                return Err(ContextError::Hostile {
                    path: path.to_owned(),
                    reason,
                });
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if done.components().count() > limits::DEPTH {
        return Err(ContextError::TooLarge);
    }
    Ok((!done.as_os_str().is_empty()).then_some(done))
}

/// A stream that ends on a whole block: Docker's client leaves out the padding behind the last file when it has
/// rewritten the Dockerfile on its way. Whoever reads content looks at `ended`, so that padding never passes for it.
struct Padded<R> {
    inner: R,
    read: u64,
    ended: Rc<Cell<bool>>,
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        const BLOCK: u64 = 512;
        if !self.ended.get() {
            let read = self.inner.read(buffer)?;
            self.read += read as u64;
            if read > 0 || buffer.is_empty() || self.read.is_multiple_of(BLOCK) {
                return Ok(read);
            }
            self.ended.set(true);
        }
        let left = usize::try_from(self.read.next_multiple_of(BLOCK) - self.read).unwrap_or(0);
        let padding = left.min(buffer.len());
        buffer[..padding].fill(0);
        self.read += padding as u64;
        Ok(padding)
    }
}

/// What decompressing xz may take: an archive says how much it wants. `xz -9` wants 65 MiB.
const XZ_MEMORY_KIB: u32 = 256 << 10;

type Head<R> = Chain<Cursor<Vec<u8>>, R>;

/// The stream without its compression, told by its first bytes.
pub(crate) fn decompressed<R: Read>(mut stream: R, what: &str) -> Result<Plain<R>, ContextError> {
    let mut head = Vec::with_capacity(6);
    (&mut stream)
        .take(6)
        .read_to_end(&mut head)
        .map_err(|source| ContextError::Tar { source })?;
    let compression = Compression::of(&head);
    let whole = Cursor::new(head).chain(stream);
    match compression {
        Compression::None => Ok(Plain::As(whole)),
        Compression::Gzip => Ok(Plain::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(
            BufReader::with_capacity(1 << 17, whole),
        )))),
        Compression::Zstd => {
            let decoder =
                zstd::stream::read::Decoder::new(whole).map_err(|source| ContextError::Tar { source })?;
            Ok(Plain::Zstd(Box::new(decoder)))
        }
        Compression::Xz => Ok(Plain::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(
            whole,
            true,
            XZ_MEMORY_KIB,
        )))),
        Compression::Foreign(format) => Err(ContextError::Compression {
            what: what.to_owned(),
            format,
        }),
    }
}

/// A compression, told by magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    /// Known, not supported.
    Foreign(&'static str),
}

impl Compression {
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Foreign("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// A decompressed stream.
pub(crate) enum Plain<R: Read> {
    As(Head<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Head<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Head<R>>>>),
    Xz(Box<lzma_rust2::XzReader<Head<R>>>),
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::As(stream) => stream.read(buffer),
            Self::Gzip(stream) => stream.read(buffer),
            Self::Zstd(stream) => stream.read(buffer),
            Self::Xz(stream) => stream.read(buffer),
        }
    }
}

/// A reader over a part of the spool that leaves the file's own position alone.
pub(super) struct SpoolReader<'a> {
    pub(super) contents: &'a File,
    pub(super) offset: u64,
    pub(super) left: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.contents.read_at(&mut buffer[..most], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
