//! A context that is a directory: walking it and opening its files without following links.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use shipway_sandbox::rooted;

use super::left_out::LeftOut;
use super::memory::Identity;
use super::tree::{Entry, EntryKind, Tree};
use super::{ContextError, Modes, limits};
use crate::ignore::{IgnoreList, Verdict};

/// Walks `root`; what is ignored is not entered unless an exception may bring something below it back.
pub(super) fn walk(root: &Path, ignore: &IgnoreList, modes: Modes) -> Result<Walked, ContextError> {
    let mut walk = Walk {
        root,
        ignore,
        modes,
        found: Walked::default(),
    };
    let metadata = std::fs::metadata(root).map_err(|source| ContextError::Open {
        path: root.to_owned(),
        source,
    })?;
    if !metadata.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(ContextError::Open {
            path: root.to_owned(),
            source,
        });
    }
    walk.folder(Path::new(""), &ignore.root(), 0)?;
    Ok(walk.found)
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) tree: Tree,
    /// What was left out because no image can hold it.
    pub(super) skipped: LeftOut,
    /// What the regular files were known by.
    pub(super) files: HashMap<PathBuf, Identity>,
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a IgnoreList,
    modes: Modes,
    found: Walked,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, above: &Verdict, depth: usize) -> Result<(), ContextError> {
        if depth > limits::DEPTH {
            return Err(ContextError::TooLarge);
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ContextError::Read { path, source }
        };
        for entry in std::fs::read_dir(self.root.join(folder)).map_err(failed(folder))? {
            let entry = entry.map_err(failed(folder))?;
            let path = folder.join(entry.file_name());
            let verdict = if self.ignore.is_empty() {
                above.clone()
            } else {
                self.ignore.below(above, &path.to_string_lossy())
            };
            let kind = entry.file_type().map_err(failed(&path))?;
            if kind.is_dir() {
                if verdict.ignored && !self.ignore.may_except_below(&path.to_string_lossy()) {
                    continue;
                }
                if !verdict.ignored {
                    self.add_folder(&path)?;
                }
                self.folder(&path, &verdict, depth + 1)?;
            } else if !verdict.ignored {
                self.add_leaf(path, &entry, kind)?;
            }
        }
        Ok(())
    }

    /// Adds a folder and, when an exception brought it back, the ignored ones above it.
    fn add_folder(&mut self, path: &Path) -> Result<(), ContextError> {
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            if self.found.tree.get(folder).is_some() {
                break;
            }
            let metadata =
                std::fs::symlink_metadata(self.root.join(folder)).map_err(|source| ContextError::Read {
                    path: folder.to_owned(),
                    source,
                })?;
            let mode = self.modes.of_folder(metadata.mode());
            self.found.tree.insert(
                folder.to_owned(),
                Entry {
                    kind: EntryKind::Directory,
                    mode,
                },
            )?;
        }
        Ok(())
    }

    fn add_leaf(
        &mut self,
        path: PathBuf,
        entry: &std::fs::DirEntry,
        kind: std::fs::FileType,
    ) -> Result<(), ContextError> {
        let failed = |source| ContextError::Read {
            path: path.clone(),
            source,
        };
        if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
            self.found.skipped.add(&path);
            return Ok(());
        }
        let made = if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).map_err(failed)?;
            Entry {
                kind: EntryKind::Link { target },
                mode: 0o777,
            }
        } else {
            let metadata = entry.metadata().map_err(failed)?;
            let mode = self.modes.of_file(metadata.mode());
            self.found.files.insert(path.clone(), Identity::of(&metadata));
            Entry {
                kind: EntryKind::File {
                    size: metadata.len(),
                    offset: None,
                },
                mode,
            }
        };
        if let Some(folder) = path.parent() {
            self.add_folder(folder)?;
        }
        self.found.tree.insert(path, made)
    }
}

impl Modes {
    /// The mode of a file in keys and layers.
    pub(super) fn of_file(self, mode: u32) -> u32 {
        match self {
            Self::Git if mode & 0o100 != 0 => 0o755,
            Self::Git => 0o644,
            Self::AsGiven => mode & 0o7777,
        }
    }

    /// The mode of a folder in keys and layers.
    pub(super) fn of_folder(self, mode: u32) -> u32 {
        match self {
            Self::Git => 0o755,
            Self::AsGiven => mode & 0o7777,
        }
    }
}

/// Opens a regular file of the context; no component may be a link.
pub(super) fn open_file(root: &Path, path: &Path) -> Result<File, ContextError> {
    let failed = |source: rustix::io::Errno| ContextError::Read {
        path: path.to_owned(),
        source: source.into(),
    };
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(root, through, Mode::empty()).map_err(failed)?;
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return Err(failed(rustix::io::Errno::INVAL));
        };
        if names.peek().is_some() {
            folder = openat(&folder, name, through | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
            continue;
        }
        // Without NONBLOCK a pipe that took the file's place would hang the build.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&folder, name, flags, Mode::empty()).map_err(failed)?);
        let metadata = file.metadata().map_err(|source| ContextError::Read {
            path: path.to_owned(),
            source,
        })?;
        if metadata.is_file() {
            return Ok(file);
        }
        if !metadata.is_dir() {
            return Err(ContextError::Read {
                path: path.to_owned(),
                source: std::io::Error::other("it is a pipe, a socket or a device and no regular file"),
            });
        }
    }
    Err(failed(rustix::io::Errno::ISDIR))
}

/// A small file, links inside the root followed; `None` when there is none.
pub(super) fn read_file(root: &Path, path: &Path, most: u64) -> Result<Option<Vec<u8>>, ContextError> {
    let mut at = below(path);
    for _ in 0..limits::LINKS {
        match std::fs::read_link(root.join(&at)) {
            Ok(target) => {
                let folder = at.parent().map(Path::to_owned).unwrap_or_default();
                // An absolute target replaces the folder.
                at = below(folder.join(target));
            }
            Err(_) => break,
        }
    }
    let file = match open_file(root, &at) {
        Ok(file) => file,
        Err(ContextError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ContextError::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > most {
        return Err(ContextError::FileTooLarge {
            path: path.to_owned(),
            most,
        });
    }
    Ok(Some(bytes))
}

/// The path from the root, without what only says how to get there.
fn below(path: impl AsRef<Path>) -> PathBuf {
    let rooted = rooted(path);
    rooted.strip_prefix("/").map(Path::to_owned).unwrap_or(rooted)
}
