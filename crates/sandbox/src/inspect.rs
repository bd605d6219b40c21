//! Looking at a root without starting anything in it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::archive;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::overlay::{self, Access};
use crate::pattern;
use crate::requests::{ArchiveRoot, FileKind, FileStatus};
use crate::rooted::rooted;
use crate::spec::RootSpec;
use crate::start;

/// More matches than any instruction means.
const MOST_MATCHES: usize = 100_000;

/// Goes into a root to look at it, with nothing in hand that is the keeper's.
fn enter(place: &Workplace<'_>, root: &RootSpec) -> Result<()> {
    overlay::enter(place.directory, root, Access::View)?;
    place.close_all_but(&[])
}

/// What is at each path.
pub(crate) fn stat(
    place: &Workplace<'_>,
    root: &ArchiveRoot,
    inside: Option<OwnedFd>,
    paths: &[PathBuf],
) -> Result<Vec<Option<FileStatus>>> {
    archive::enter(place, root, inside, Access::View)?;
    place.close_all_but(&[])?;
    paths.iter().map(|path| look(&rooted(path))).collect()
}

/// Errors that mean that nothing is there.
fn is_absence(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG
    )
}

fn look(path: &Path) -> Result<Option<FileStatus>> {
    let action = || format!("look at {} in the root", path.display());
    let status = match rustix::fs::lstat(path) {
        Ok(status) => status,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).doing(action),
    };
    let kind = kind_of(&status);
    let (link, resolved) = if kind == FileKind::Link {
        let target = rustix::fs::readlink(path, Vec::new()).doing(action)?;
        let link = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
        (
            Some(link),
            rustix::fs::stat(path).ok().map(|status| kind_of(&status)),
        )
    } else {
        (None, Some(kind))
    };
    Ok(Some(FileStatus {
        kind,
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        size: u64::try_from(status.st_size).unwrap_or(0),
        mtime: status.st_mtime,
        link,
        resolved,
    }))
}

fn kind_of(status: &Stat) -> FileKind {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    }
}

/// The paths that match.
pub(crate) fn glob(place: &Workplace<'_>, root: &RootSpec, wanted: &str) -> Result<Vec<PathBuf>> {
    enter(place, root)?;
    let mut found = vec![PathBuf::from("/")];
    for part in wanted.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let mut next = Vec::new();
        for directory in found {
            if !pattern::has_wildcard(part) {
                let path = directory.join(pattern::unescaped(part));
                next.extend(look(&path)?.map(|_| path));
                continue;
            }
            for name in names(&directory)? {
                if pattern::matches(part.as_bytes(), name.as_bytes()) {
                    next.push(directory.join(name));
                }
            }
            if next.len() > MOST_MATCHES {
                return Err(KeeperError::Path {
                    path: wanted.into(),
                    reason: format!("matches more than {MOST_MATCHES} files"),
                });
            }
        }
        found = next;
    }
    found.sort_unstable();
    Ok(found)
}

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<std::io::Result<Vec<_>>>()
            .doing(|| format!("list {}", directory.display())),
        // Only directories have anything that could match.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOTDIR | libc::ENOENT | libc::ELOOP)
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error).doing(|| format!("list {}", directory.display())),
    }
}

/// User and group that a name means.
pub(crate) fn resolve_user(place: &Workplace<'_>, root: &RootSpec, user: &str) -> Result<(u32, u32)> {
    enter(place, root)?;
    let user = start::resolve_user(user)?;
    Ok((user.uid, user.gid))
}
