//! Which files of the context a COPY or ADD takes, and what they are called at the destination.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use shipway_sandbox::rooted;

use crate::context::{ContextError, Entry, EntryKind, Tree};
use crate::ignore::{Glob, GlobError, IgnoreList};

/// A source that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Nothing has this name.
    #[error("{path}: not found in the build context (or left out by its ignore file)")]
    Missing {
        /// As written.
        path: String,
    },
    /// No source gave a file.
    #[error("no source files were found: none of the patterns matches anything in the build context")]
    Nothing,
    /// A malformed pattern.
    #[error("the source is not a pattern that can be matched")]
    Pattern {
        /// What is wrong.
        #[source]
        source: GlobError,
    },
    /// The context cannot be resolved.
    #[error("cannot look up {path} in the build context")]
    Context {
        /// As written.
        path: String,
        /// What is wrong.
        #[source]
        source: ContextError,
    },
}

/// One entry to be made below the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Name below the destination.
    pub(crate) to: PathBuf,
    pub(crate) mode: u32,
    pub(crate) kind: ItemKind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Directory,
    /// A regular file, by its path in the context.
    File {
        from: PathBuf,
        size: u64,
    },
    Link {
        target: PathBuf,
    },
}

/// What one source gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// In a fixed order, parents first.
    pub(crate) items: Vec<Item>,
    /// How many files and folders the source named.
    pub(crate) matches: usize,
    /// Whether one of them is a folder, so that the destination must be one.
    pub(crate) folder: bool,
    /// Whether the first of them is.
    pub(crate) begins_with_folder: bool,
}

/// Where the items go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Below this directory.
    Directory(String),
    /// Files: below this path if the root has a directory there, else each under this very name, so that the last one stays.
    FileOrDirectory(String),
    /// Below this path, where the root must have a directory: otherwise a file comes first, and no folder goes into a file.
    ExistingDirectory(String),
}

/// What is copied to one destination, in its order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sources {
    #[default]
    None,
    Files,
    /// A folder comes first, which makes the destination a directory for all that follows.
    Folder,
    /// A file comes first, and a folder later.
    FileThenFolder,
}

impl Sources {
    /// With one more behind them.
    pub(crate) fn and(self, folder: bool) -> Self {
        match (self, folder) {
            (Self::None, true) | (Self::Folder, _) => Self::Folder,
            (Self::None | Self::Files, false) => Self::Files,
            (Self::Files, true) | (Self::FileThenFolder, _) => Self::FileThenFolder,
        }
    }

    /// With what a source named behind them.
    pub(crate) fn and_all(self, placement: &Placement) -> Self {
        match placement.matches {
            0 => self,
            _ if placement.folder && !placement.begins_with_folder => self.and(false).and(true),
            _ => self.and(placement.begins_with_folder),
        }
    }
}

impl Destination {
    /// `path` is absolute and keeps its trailing slash.
    pub(crate) fn of(path: &str, sources: Sources) -> Self {
        let trimmed = path.trim_end_matches('/');
        let named = if trimmed.is_empty() { "/" } else { trimmed }.to_owned();
        match sources {
            _ if path.ends_with('/') || path.ends_with("/.") => Self::Directory(named),
            Sources::Folder | Sources::None => Self::Directory(named),
            Sources::FileThenFolder => Self::ExistingDirectory(named),
            Sources::Files => Self::FileOrDirectory(named),
        }
    }

    /// The directory, and the name in it if the destination is one, where nothing is at its path; the path, where a directory has to be
    /// there.
    pub(crate) fn on_nothing(&self) -> Result<(PathBuf, Option<PathBuf>), &str> {
        match self {
            Self::Directory(path) => Ok((PathBuf::from(path), None)),
            Self::FileOrDirectory(path) => {
                let path = Path::new(path);
                let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
                Ok((folder, path.file_name().map(PathBuf::from)))
            }
            Self::ExistingDirectory(path) => Err(path),
        }
    }
}

/// Finds what `source` names. A pattern that matches nothing gives an empty placement, a missing name is an error.
pub(crate) fn select(
    tree: &Tree,
    source: &str,
    exclude: &IgnoreList,
    parents: bool,
) -> Result<Placement, SelectError> {
    let (pivot, asked) = match source.split_once("/./").filter(|_| parents) {
        Some((pivot, rest)) => (clean(pivot), clean(&format!("{pivot}/{rest}"))),
        None => (String::new(), clean(source)),
    };
    let names = if Glob::is_pattern(&asked) {
        matching(tree, &asked)?
    } else {
        vec![PathBuf::from(&asked)]
    };
    let mut found = BTreeMap::new();
    let mut placement = Placement::default();
    for name in names {
        let failed = |source| SelectError::Context {
            path: name.display().to_string(),
            source,
        };
        let Some(resolved) = tree.resolve(&name).map_err(failed)? else {
            return Err(SelectError::Missing {
                path: source.to_owned(),
            });
        };
        let prefix = if parents {
            name.strip_prefix(&pivot).unwrap_or(&name).to_owned()
        } else {
            PathBuf::new()
        };
        if parents {
            add_parents(tree, &name, &prefix, &mut found);
        }
        placement.matches += 1;
        let is_first = placement.matches == 1;
        match tree.get(&resolved) {
            Some(entry) if entry.kind != EntryKind::Directory => {
                let base = name.file_name().unwrap_or(OsStr::new(""));
                if !exclude.ignores(&base.to_string_lossy()) {
                    let to = if parents { prefix } else { PathBuf::from(base) };
                    found.insert(to.clone(), item(to, &resolved, entry));
                }
            }
            // The root of the context has no entry of its own.
            _ => {
                placement.folder = true;
                placement.begins_with_folder |= is_first;
                add_folder(tree, &resolved, &prefix, exclude, &mut found);
            }
        }
    }
    placement.folder |= parents;
    placement.begins_with_folder |= parents;
    placement.items = found.into_values().collect();
    Ok(placement)
}

fn item(to: PathBuf, from: &Path, entry: &Entry) -> Item {
    let kind = match &entry.kind {
        EntryKind::Directory => ItemKind::Directory,
        EntryKind::File { size, .. } => ItemKind::File {
            from: from.to_owned(),
            size: *size,
        },
        EntryKind::Link { target } => ItemKind::Link {
            target: target.clone(),
        },
    };
    Item {
        to,
        mode: entry.mode,
        kind,
    }
}

fn add_folder(
    tree: &Tree,
    folder: &Path,
    prefix: &Path,
    exclude: &IgnoreList,
    found: &mut BTreeMap<PathBuf, Item>,
) {
    let mut verdicts = BTreeMap::from([(folder.to_owned(), exclude.root())]);
    for (path, entry) in tree.below(folder) {
        let Ok(relative) = path.strip_prefix(folder) else {
            continue;
        };
        let above = path.parent().and_then(|parent| verdicts.get(parent)).cloned();
        let verdict = exclude.below(
            &above.unwrap_or_else(|| exclude.root()),
            &relative.to_string_lossy(),
        );
        let ignored = verdict.ignored;
        if entry.kind == EntryKind::Directory && !exclude.is_empty() {
            verdicts.insert(path.to_owned(), verdict);
        }
        if ignored {
            continue;
        }
        for parent in relative
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let to = prefix.join(parent);
            if found.contains_key(&to) {
                break;
            }
            if let Some(entry) = tree.get(&folder.join(parent)) {
                found.insert(to.clone(), item(to, parent, entry));
            }
        }
        let to = prefix.join(relative);
        found.insert(to.clone(), item(to, path, entry));
    }
}

fn add_parents(tree: &Tree, name: &Path, prefix: &Path, found: &mut BTreeMap<PathBuf, Item>) {
    let pairs = prefix.ancestors().zip(name.ancestors()).skip(1);
    for (to, from) in pairs.filter(|(to, _)| !to.as_os_str().is_empty()) {
        let mode = tree.get(from).map_or(0o755, |entry| entry.mode);
        found.entry(to.to_owned()).or_insert_with(|| Item {
            to: to.to_owned(),
            mode: if mode == 0o777 { 0o755 } else { mode },
            kind: ItemKind::Directory,
        });
    }
}

/// Every path that a pattern names, folder by folder, so that `a/*` does not look at all of the context.
///
/// A pattern may have any number of parts: what they found so far is never more than there is in the context, and the search
/// ends when that is nothing.
fn matching(tree: &Tree, pattern: &str) -> Result<Vec<PathBuf>, SelectError> {
    let resolved = |path: &Path| {
        tree.resolve(path).map_err(|source| SelectError::Context {
            path: path.display().to_string(),
            source,
        })
    };
    let mut found = vec![PathBuf::new()];
    let mut parts = pattern.split('/').peekable();
    while let Some(part) = parts.next() {
        if found.is_empty() {
            break;
        }
        if part == "**" {
            // As many times as it stands there, it means the same.
            while parts.next_if_eq(&"**").is_some() {}
            // Any number of folders, none included; links are not entered.
            let mut all = Vec::new();
            let mut walked: Option<&Path> = None;
            found.sort();
            for path in &found {
                all.push(path.clone());
                if walked.is_some_and(|walked| path.starts_with(walked)) {
                    continue;
                }
                walked = Some(path);
                let folders = tree
                    .below(path)
                    .filter(|(_, entry)| entry.kind == EntryKind::Directory);
                all.extend(folders.map(|(folder, _)| folder.to_owned()));
            }
            all.sort();
            all.dedup();
            found = all;
            if parts.peek().is_none() {
                found.retain(|path| !path.as_os_str().is_empty());
            }
            continue;
        }
        if !Glob::is_pattern(part) {
            let mut there = Vec::with_capacity(found.len());
            for mut path in found {
                path.push(part);
                if resolved(&path)?.is_some() {
                    there.push(path);
                }
            }
            found = there;
            continue;
        }
        let glob = Glob::parse(part).map_err(|source| SelectError::Pattern { source })?;
        let mut next = Vec::new();
        for path in &found {
            let Some(folder) = resolved(path)? else {
                continue;
            };
            // A link that a pattern found is taken, but not entered.
            let last = parts.peek().is_none();
            let children = tree
                .below(&folder)
                .filter(|(child, _)| child.parent() == Some(&folder));
            let names = children
                .filter(|(_, entry)| last || entry.kind == EntryKind::Directory)
                .filter_map(|(child, _)| child.file_name());
            next.extend(
                names
                    .filter(|name| glob.matches(&name.to_string_lossy()))
                    .map(|name| path.join(name)),
            );
        }
        found = next;
    }
    let mut there = Vec::new();
    for path in found {
        if resolved(&path)?.is_some() {
            there.push(path);
        }
    }
    Ok(there)
}

/// The path below the context's root: `..` stops there, `/x` is `x`.
fn clean(path: &str) -> String {
    let rooted = rooted(path);
    rooted.to_string_lossy().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
