//! What of a context exists for one build, and its contents.

use std::collections::HashMap;
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::archive::{SpoolReader, Spooled};
use super::memory::{Identity, Memory};
use super::tree::{Entry, EntryKind, Tree};
use super::{ContextError, Modes, directory};
use crate::ignore::IgnoreList;

/// The files that a build may see.
#[derive(Debug)]
pub struct View {
    tree: Tree,
    source: Source,
    skipped: Vec<String>,
    /// Hashes of contents, each made once: several COPY lines may name one file.
    hashes: Mutex<HashMap<PathBuf, [u8; 32]>>,
    /// When the directory was looked at, and what its files were known by then.
    looked_at: SystemTime,
    files: HashMap<PathBuf, Identity>,
    memory: Option<Memory>,
    /// Whether a file was read that the memory does not know.
    has_news: AtomicBool,
    /// Whether a file was not what it hashed to.
    has_changed: AtomicBool,
}

#[derive(Debug)]
enum Source {
    Nothing,
    Directory(PathBuf),
    Spool(Arc<Spooled>),
}

impl View {
    pub(super) fn empty() -> Self {
        Self::new(Tree::default(), Source::Nothing, Vec::new())
    }

    pub(super) fn of_directory(root: &Path, ignore: &IgnoreList, modes: Modes) -> Result<Self, ContextError> {
        let looked_at = SystemTime::now();
        let walked = directory::walk(root, ignore, modes)?;
        let skipped = walked.skipped.sentences();
        Ok(Self {
            looked_at,
            files: walked.files,
            ..Self::new(walked.tree, Source::Directory(root.to_owned()), skipped)
        })
    }

    /// The same, with what `directory` remembers of the contents of its files. Blocks.
    #[must_use]
    pub(crate) fn with_memory(mut self, directory: &Path) -> Self {
        if let Source::Directory(root) = &self.source {
            self.memory = Memory::load(directory, root);
        }
        self
    }

    /// The error of a file that is not what it hashed to. Should it be so because of what was remembered, that is forgotten.
    pub(crate) fn changed(&self, path: &Path) -> ContextError {
        self.has_changed.store(true, Ordering::Relaxed);
        ContextError::Changed {
            path: path.to_owned(),
        }
    }

    /// Leaves what was read to those that look at the same directory later. Nothing depends on it. Blocks.
    pub(crate) fn remember(&self) {
        let Some(memory) = &self.memory else { return };
        if self.has_changed.load(Ordering::Relaxed) {
            memory.forget();
            return;
        }
        if !self.has_news.load(Ordering::Relaxed) {
            return;
        }
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files.iter().filter_map(|(path, identity)| {
            let hash = hashes.get(path).copied().or_else(|| memory.find(identity))?;
            Some((identity, hash))
        });
        if let Err(error) = memory.keep(self.looked_at, files) {
            tracing::debug!(%error, "the contents of the context are not remembered");
        }
    }

    pub(super) fn of_spool(files: Arc<Spooled>, ignore: &IgnoreList, modes: Modes) -> Self {
        let mut tree = files.tree.clone();
        // A folder that is ignored stays while something below it is not.
        let kept: Vec<PathBuf> = if ignore.is_empty() {
            Vec::new()
        } else {
            let mut verdicts = HashMap::new();
            verdicts.insert(PathBuf::new(), ignore.root());
            let mut kept = Vec::new();
            for (path, entry) in files.tree.below(Path::new("")) {
                let Some(verdict) = path
                    .parent()
                    .and_then(|parent| verdicts.get(parent))
                    .map(|above| ignore.below(above, &path.to_string_lossy()))
                else {
                    continue;
                };
                if !verdict.ignored {
                    kept.push(path.to_owned());
                }
                if entry.kind == EntryKind::Directory {
                    verdicts.insert(path.to_owned(), verdict);
                }
            }
            kept
        };
        let keep: std::collections::HashSet<&Path> = kept.iter().flat_map(|path| path.ancestors()).collect();
        tree.retain(|path, entry| {
            match entry.kind {
                EntryKind::Directory => entry.mode = modes.of_folder(entry.mode),
                EntryKind::File { .. } => entry.mode = modes.of_file(entry.mode),
                EntryKind::Link { .. } => {}
            }
            ignore.is_empty() || keep.contains(path)
        });
        let skipped = files.skipped.clone();
        Self::new(tree, Source::Spool(files), skipped)
    }

    fn new(tree: Tree, source: Source, skipped: Vec<String>) -> Self {
        Self {
            tree,
            source,
            skipped,
            hashes: Mutex::default(),
            looked_at: SystemTime::UNIX_EPOCH,
            files: HashMap::new(),
            memory: None,
            has_news: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
        }
    }

    /// The index.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What was left out because no image can hold it, as sentences.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The bytes of a regular file.
    pub fn open(&self, path: &Path) -> Result<Box<dyn Read + '_>, ContextError> {
        match (self.tree.get(path), &self.source) {
            (
                Some(Entry {
                    kind:
                        EntryKind::File {
                            size,
                            offset: Some(offset),
                        },
                    ..
                }),
                Source::Spool(files),
            ) => Ok(Box::new(SpoolReader {
                contents: files.contents(),
                offset: *offset,
                left: *size,
            })),
            (
                Some(Entry {
                    kind: EntryKind::File { .. },
                    ..
                }),
                Source::Directory(root),
            ) => Ok(Box::new(directory::open_file(root, path)?)),
            _ => {
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(ContextError::Read {
                    path: path.to_owned(),
                    source,
                })
            }
        }
    }

    /// The BLAKE3 of a regular file's bytes.
    pub fn content_hash(&self, path: &Path) -> Result<[u8; 32], ContextError> {
        let known = self
            .hashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .copied();
        if let Some(hash) = known {
            return Ok(hash);
        }
        let hash = match self.remembered(path) {
            Some(hash) => hash,
            None => self.read_hash(path)?,
        };
        self.hashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), hash);
        Ok(hash)
    }

    fn remembered(&self, path: &Path) -> Option<[u8; 32]> {
        self.memory.as_ref()?.find(self.files.get(path)?)
    }

    fn read_hash(&self, path: &Path) -> Result<[u8; 32], ContextError> {
        let mut reader = self.open(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(&mut reader)
            .map_err(|source| ContextError::Read {
                path: path.to_owned(),
                source,
            })?;
        self.has_news.store(true, Ordering::Relaxed);
        Ok(*hasher.finalize().as_bytes())
    }

    /// Hashes many files on all processors, so that the calls that follow find them done.
    pub fn hash_all(&self, paths: &[&Path]) -> Result<(), ContextError> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        if paths.len() < 64 || threads == 1 {
            return Ok(());
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = paths
                .chunks(paths.len().div_ceil(threads))
                .map(|part| {
                    scope.spawn(move || part.iter().try_for_each(|path| self.content_hash(path).map(drop)))
                })
                .collect();
            // A lost thread hashed nothing; the calls that follow do it and report.
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or(Ok(())))
        })
    }
}
