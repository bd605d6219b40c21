//! What of a context exists for one build, and its contents.

use std::collections::HashMap;
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{SpoolReader, SpooledTar};
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
}

#[derive(Debug)]
enum Source {
    Nothing,
    Directory(PathBuf),
    Spool(Arc<SpooledTar>),
}

impl View {
    pub(super) fn empty() -> Self {
        Self::new(Tree::default(), Source::Nothing, Vec::new())
    }

    pub(super) fn of_directory(root: &Path, ignore: &IgnoreList, modes: Modes) -> Result<Self, ContextError> {
        let (tree, skipped) = directory::walk(root, ignore, modes)?;
        Ok(Self::new(tree, Source::Directory(root.to_owned()), skipped))
    }

    pub(super) fn of_tar(tar: Arc<SpooledTar>, ignore: &IgnoreList, modes: Modes) -> Self {
        let mut tree = tar.tree.clone();
        // A folder that is ignored stays while something below it is not.
        let kept: Vec<PathBuf> = if ignore.is_empty() {
            Vec::new()
        } else {
            let mut verdicts = HashMap::new();
            verdicts.insert(PathBuf::new(), ignore.root());
            let mut kept = Vec::new();
            for (path, entry) in tar.tree.below(Path::new("")) {
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
        let skipped = tar.skipped.clone();
        Self::new(tree, Source::Spool(tar), skipped)
    }

    fn new(tree: Tree, source: Source, skipped: Vec<String>) -> Self {
        Self {
            tree,
            source,
            skipped,
            hashes: Mutex::default(),
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
                Source::Spool(tar),
            ) => Ok(Box::new(SpoolReader {
                contents: tar.contents(),
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
        let mut reader = self.open(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(&mut reader)
            .map_err(|source| ContextError::Read {
                path: path.to_owned(),
                source,
            })?;
        let hash = *hasher.finalize().as_bytes();
        self.hashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), hash);
        Ok(hash)
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
