//! From the tree of a commit to the files of a context.
//!
//! Names are checked as git checks them before it writes to a disk, though nothing here does. A tree may name one folder many
//! times, and a few hundred bytes can be billions of files: what counts is what the files would be.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_hash::{ObjectId, oid};
use gix_object::tree::EntryKind;

use super::connection::Passage;
use super::error::GitError;
use super::objects::{Objects, unusable};
use crate::context::{ContextError, Extent, Spooler, limits};

/// A context that repositories are put into.
pub(super) struct Checkout {
    pub(super) files: Spooler,
    /// Bytes of files that are equal are kept once.
    kept: HashMap<ObjectId, Extent>,
    /// Bytes of all files.
    bytes: u64,
    passage: Passage,
}

/// What one tree holds beside files: commits of other repositories, and what a `.git` has to know.
#[derive(Default)]
pub(super) struct Found {
    /// Folders of submodules, seen from the repository's root, and their commits.
    pub(super) links: Vec<(PathBuf, ObjectId)>,
    /// Every path of the repository with its kind and object, in the order of the walk; when a `.git` is wanted.
    pub(super) staged: Option<Vec<(PathBuf, EntryKind, ObjectId)>>,
}

impl Checkout {
    pub(super) fn new(files: Spooler, passage: Passage) -> Self {
        Self {
            files,
            kept: HashMap::new(),
            bytes: 0,
            passage,
        }
    }

    /// Puts a tree below `to`; `at` is where it lies in its repository.
    pub(super) fn tree(
        &mut self,
        objects: &mut Objects,
        tree: &oid,
        at: &Path,
        to: &Path,
        found: &mut Found,
    ) -> Result<(), GitError> {
        if to.components().count() > limits::DEPTH {
            return Err(ContextError::TooLarge.into());
        }
        let hash = objects.hash();
        let mut buffer = Vec::new();
        let data = objects.get(tree, gix_object::Kind::Tree, &mut buffer)?;
        for entry in gix_object::TreeRefIter::from_bytes(data, hash) {
            let entry = entry.map_err(|error| unusable(tree, &shipway_oci::with_causes(&error)))?;
            self.passage
                .count(0)
                .map_err(|error| self.passage.failure(&error))?;
            let name: &[u8] = entry.filename.as_ref();
            let path = at.join(OsStr::from_bytes(name));
            if let Some(reason) = forbidden(name) {
                return Err(GitError::Hostile { path, reason });
            }
            let target = to.join(OsStr::from_bytes(name));
            if self.files.has(&target) {
                let reason = "it is there twice";
                return Err(GitError::Hostile { path, reason });
            }
            let kind = entry.mode.kind();
            match kind {
                EntryKind::Tree => {
                    self.files.folder(target.clone(), 0o755)?;
                    self.tree(objects, entry.oid, &path, &target, found)?;
                    continue;
                }
                EntryKind::Blob => self.file(objects, entry.oid, target, 0o644)?,
                EntryKind::BlobExecutable => self.file(objects, entry.oid, target, 0o755)?,
                EntryKind::Link => {
                    let mut buffer = Vec::new();
                    let leads_to = objects.get(entry.oid, gix_object::Kind::Blob, &mut buffer)?;
                    if leads_to.is_empty() || leads_to.contains(&0) {
                        let reason = "a link must say where it leads";
                        return Err(GitError::Hostile { path, reason });
                    }
                    self.files
                        .link(target, PathBuf::from(OsStr::from_bytes(leads_to)))?;
                }
                EntryKind::Commit => {
                    self.files.folder(target, 0o755)?;
                    found.links.push((path.clone(), entry.oid.to_owned()));
                }
            }
            if let Some(staged) = &mut found.staged {
                staged.push((path, kind, entry.oid.to_owned()));
            }
        }
        Ok(())
    }

    fn file(&mut self, objects: &mut Objects, id: &oid, to: PathBuf, mode: u32) -> Result<(), GitError> {
        let extent = match self.kept.get(id) {
            Some(extent) => *extent,
            None => {
                let mut buffer = Vec::new();
                let mut bytes = objects.get(id, gix_object::Kind::Blob, &mut buffer)?;
                let extent = self.files.keep(&mut bytes)?;
                self.kept.insert(id.to_owned(), extent);
                extent
            }
        };
        self.bytes = self.bytes.saturating_add(extent.size);
        if self.bytes > limits::TAR_BYTES {
            return Err(ContextError::TooLarge.into());
        }
        Ok(self.files.file(to, mode, extent)?)
    }
}

/// The tree of a folder of a commit.
pub(super) fn folder(objects: &mut Objects, root: ObjectId, folder: &Path) -> Result<ObjectId, GitError> {
    let missing = || GitError::NoFolder {
        folder: folder.display().to_string(),
    };
    let mut tree = root;
    for name in folder {
        let (kind, id) = entry(objects, &tree, name)?.ok_or_else(missing)?;
        if kind != EntryKind::Tree {
            return Err(missing());
        }
        tree = id;
    }
    Ok(tree)
}

/// What a tree has under a name.
pub(super) fn entry(
    objects: &mut Objects,
    tree: &oid,
    name: &OsStr,
) -> Result<Option<(EntryKind, ObjectId)>, GitError> {
    let hash = objects.hash();
    let mut buffer = Vec::new();
    let data = objects.get(tree, gix_object::Kind::Tree, &mut buffer)?;
    for entry in gix_object::TreeRefIter::from_bytes(data, hash) {
        let entry = entry.map_err(|error| unusable(tree, &shipway_oci::with_causes(&error)))?;
        let found: &[u8] = entry.filename.as_ref();
        if found == name.as_bytes() {
            return Ok(Some((entry.mode.kind(), entry.oid.to_owned())));
        }
    }
    Ok(None)
}

/// Why a name may not be in a tree.
fn forbidden(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" | b"." | b".." => Some("it is no name for a file"),
        name if name.eq_ignore_ascii_case(b".git") => Some("no file may be called `.git`"),
        name if name.contains(&b'/') || name.contains(&0) => Some("it is no name for a file"),
        _ => None,
    }
}
