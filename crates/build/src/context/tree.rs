//! The index of a context: paths to entries, with links resolved inside the root.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use super::{ContextError, limits};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Its length.
        size: u64,
        /// Where its bytes begin in the spool; `None` when they are in the context's directory.
        offset: Option<u64>,
    },
    /// A symbolic link, not followed.
    Link {
        /// What it says.
        target: PathBuf,
    },
}

/// A file, folder or link of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, already normalised.
    pub mode: u32,
}

/// All entries, by path relative to the root; the root itself is the empty path and always a directory.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
    /// Bytes of every name that was ever taken in: one that was replaced counts twice.
    name_bytes: usize,
}

impl Tree {
    pub(super) fn insert(&mut self, path: PathBuf, entry: Entry) -> Result<(), ContextError> {
        self.name_bytes += path.as_os_str().len();
        if let EntryKind::Link { target } = &entry.kind {
            self.name_bytes += target.as_os_str().len();
        }
        if self.entries.len() >= limits::ENTRIES
            || self.name_bytes > limits::NAME_BYTES
            || path.as_os_str().len() > limits::PATH_BYTES
        {
            return Err(ContextError::TooLarge);
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    pub(super) fn remove_below(&mut self, path: &Path) {
        let gone: Vec<PathBuf> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        for path in gone {
            self.entries.remove(&path);
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Path, &mut Entry) -> bool) {
        self.entries.retain(|path, entry| keep(path, entry));
    }

    /// How many entries there are, the root not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a path, links not followed; `None` also for the root.
    pub fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Everything below a folder, parents first, in a fixed order.
    pub fn below<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Entry)> {
        let from = if folder.as_os_str().is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(folder)
        };
        self.entries
            .range::<Path, _>((from, Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(folder))
            .map(|(path, entry)| (path.as_path(), entry))
    }

    /// Follows links, the last component's too, as if the context were the root of the file system. `None` when
    /// nothing is there.
    pub fn resolve(&self, path: &Path) -> Result<Option<PathBuf>, ContextError> {
        let mut done = PathBuf::new();
        let mut left: VecDeque<OsString> = components(path).collect();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            match self.entries.get(&next).map(|entry| &entry.kind) {
                None => return Ok(None),
                Some(EntryKind::Directory) => done = next,
                Some(EntryKind::File { .. }) if left.is_empty() => done = next,
                Some(EntryKind::File { .. }) => return Ok(None),
                Some(EntryKind::Link { target }) => {
                    links += 1;
                    if links > limits::LINKS {
                        return Err(ContextError::LinkLoop {
                            path: path.to_owned(),
                        });
                    }
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    for component in components(target).collect::<Vec<_>>().into_iter().rev() {
                        left.push_front(component);
                    }
                }
            }
        }
        Ok(Some(done))
    }
}

/// Names and `..`, without roots and dots.
fn components(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
