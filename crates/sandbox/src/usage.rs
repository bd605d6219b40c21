//! How much of a disk trees that jobs have written take.
//!
//! Every level on the way down stays open, since jobs move directories while they are looked at. That bounds the depth: a tree
//! that goes deeper counts as larger than any that can be measured, so that nobody hides files below it.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use serde::{Deserialize, Serialize};

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};

/// As many levels are open at a time.
const DEEPEST: usize = 256;
/// The unit of `st_blocks`, whatever the file system.
pub(crate) const BLOCK: u64 = 512;
/// Parts of a file of several names: each name counts as its part.
const PARTS: u64 = 1 << 20;

/// What is taken of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUsage {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Files, directories and all else that has an inode.
    pub files: u64,
}

impl DiskUsage {
    /// More than can be measured.
    pub const BEYOND: Self = Self {
        bytes: u64::MAX,
        files: u64::MAX,
    };

    /// Both together, which is never more than [`DiskUsage::BEYOND`].
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }
}

/// What these directories below `directory` take, with all below them. One that is not there takes nothing.
pub(crate) fn usage(directory: &OwnedFd, paths: &[PathBuf]) -> Result<DiskUsage> {
    let mut total = DiskUsage::default();
    for path in paths {
        let top = match beneath::open(directory, path) {
            Ok(top) => top,
            Err(KeeperError::System { cause, .. }) if cause.errno() == Errno::NOENT.raw_os_error() => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let tree = rustix::fs::openat(&top, c".", READ, Mode::empty())
            .and_then(measure)
            .doing(|| format!("measure {}", path.display()))?;
        total = total.plus(tree);
    }
    Ok(total)
}

/// The bytes that each directory in one takes, with all below it; the one is below `directory`.
pub(crate) fn sizes(directory: &OwnedFd, path: &Path) -> Result<Vec<(String, u64)>> {
    let action = || format!("measure {}", path.display());
    let opened = beneath::open(directory, path)?;
    let top = rustix::fs::openat(&opened, c".", READ, Mode::empty()).doing(action)?;
    let mut sizes = Vec::new();
    for name in directories(&top).doing(action)? {
        match rustix::fs::openat(&top, &name, READ, Mode::empty()).and_then(measure) {
            Ok(usage) => sizes.push((name.to_string_lossy().into_owned(), usage.bytes)),
            // It ended meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).doing(action),
        }
    }
    Ok(sizes)
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn measure(top: OwnedFd) -> std::result::Result<DiskUsage, Errno> {
    let mut total = own_files(&top)?;
    let left = directories(&top)?;
    let mut levels = vec![(top, left)];
    while let Some((directory, left)) = levels.last_mut() {
        let Some(name) = left.pop() else {
            levels.pop();
            continue;
        };
        let below = match rustix::fs::openat(&*directory, &name, READ, Mode::empty()) {
            Ok(below) => below,
            // Removed or replaced meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno),
        };
        if levels.len() == DEEPEST {
            return Ok(DiskUsage::BEYOND);
        }
        match own_files(&below).and_then(|files| Ok((files, directories(&below)?))) {
            Ok((files, left)) => {
                total = total.plus(files);
                levels.push((below, left));
            }
            // Removed meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(total)
}

/// What the directory itself and all in it but directories take; a file of several names takes its part under each.
fn own_files(directory: &OwnedFd) -> std::result::Result<DiskUsage, Errno> {
    let mut parts = PARTS;
    let mut bytes = rustix::fs::fstat(directory)?
        .st_blocks
        .cast_unsigned()
        .saturating_mul(BLOCK);
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory {
            continue;
        }
        match rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) != FileType::Directory => {
                let names = u64::from(u32::try_from(status.st_nlink).unwrap_or(u32::MAX)).max(1);
                // Rounded up, so that no number of names makes a file nothing.
                let part = status
                    .st_blocks
                    .cast_unsigned()
                    .saturating_mul(BLOCK)
                    .div_ceil(names);
                bytes = bytes.saturating_add(part);
                parts = parts.saturating_add(PARTS.div_ceil(names));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(DiskUsage {
        bytes,
        files: parts.div_ceil(PARTS),
    })
}

fn directories(directory: &OwnedFd) -> std::result::Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_one = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory),
            _ => false,
        };
        if is_one && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(place: &Path, paths: &[&str]) -> DiskUsage {
        let directory = rustix::fs::open(place, READ, Mode::empty()).unwrap();
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        usage(&directory, &paths).unwrap()
    }

    #[test]
    fn a_tree_counts_by_its_blocks_and_a_file_once() {
        let place = tempfile::tempdir().unwrap();
        let pods = place.path().join("pods");
        std::fs::create_dir_all(pods.join("a/b/c")).unwrap();
        std::fs::create_dir_all(pods.join("z")).unwrap();
        std::fs::write(pods.join("a/b/c/file"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(pods.join("a/b/c/file"), pods.join("a/again")).unwrap();
        // A file that promises much and holds nothing.
        let sparse = std::fs::File::create(pods.join("z/sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/", pods.join("z/link")).unwrap();
        let [a, z] = ["pods/a", "pods/z"].map(|path| measured(place.path(), &[path]));
        assert!((1 << 20..1_200_000).contains(&a.bytes), "{a:?}");
        assert!(z.bytes < 100_000, "{z:?}");
        // Parts of files are made up to whole ones in each directory.
        assert_eq!((a.files, z.files), (5, 3));
        assert_eq!(
            measured(place.path(), &["pods/a", "pods/z", "pods/none"]),
            a.plus(z)
        );
        let directory = rustix::fs::open(place.path(), READ, Mode::empty()).unwrap();
        let mut each = sizes(&directory, Path::new("pods")).unwrap();
        each.sort();
        assert_eq!(each, [("a".to_owned(), a.bytes), ("z".to_owned(), z.bytes)]);
    }

    #[test]
    fn who_digs_too_deep_counts_as_the_largest() {
        let place = tempfile::tempdir().unwrap();
        let mut deep = place.path().join("pods/a");
        for _ in 0..DEEPEST {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(measured(place.path(), &["pods/a"]), DiskUsage::BEYOND);
    }
}
