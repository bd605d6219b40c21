//! Looking at a root without starting anything in it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::archive;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::overlay::Access;
use crate::owners::Owners;
use crate::pattern;
use crate::requests::{ArchiveRoot, FileKind, FileStatus};
use crate::resolve::{Last, Missing, resolve};
use crate::rooted::rooted;
use crate::spec::RootSpec;
use crate::start;

/// More matches than any instruction means.
const MOST_MATCHES: usize = 100_000;

/// Goes into a root to look at it, with nothing in hand that is the keeper's, and gives it.
fn enter(place: &Workplace<'_>, root: &RootSpec) -> Result<OwnedFd> {
    drop(archive::enter(place, &root.clone().into(), None, Access::View)?);
    place.close_all_but(&[])?;
    here()
}

fn here() -> Result<OwnedFd> {
    beneath::here().doing(|| "open the root".into())
}

/// What is at each path.
pub(crate) fn stat(
    place: &Workplace<'_>,
    root: &ArchiveRoot,
    inside: Option<OwnedFd>,
    paths: &[PathBuf],
) -> Result<Vec<Option<FileStatus>>> {
    let owners = archive::enter(place, root, inside, Access::View)?;
    let kept: Vec<_> = owners.descriptor().map(OwnedFd::as_fd).into_iter().collect();
    place.close_all_but(&kept)?;
    let root = here()?;
    paths
        .iter()
        .map(|path| look(&root, &rooted(path), &owners))
        .collect()
}

/// Errors that mean that nothing is there.
fn is_absence(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG
    )
}

fn look(root: &OwnedFd, path: &Path, owners: &Owners) -> Result<Option<FileStatus>> {
    let action = || format!("look at {} in the root", path.display());
    let stat = |last| {
        let place = resolve(root, path, last, Missing::LastOnly)?;
        Ok((rustix::fs::lstat(&place)?, place))
    };
    let (status, place) = match stat(Last::Keep) {
        Ok(found) => found,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).doing(action),
    };
    let status = owners
        .corrected(rustix::fs::CWD, place.as_os_str(), status)
        .doing(action)?;
    let kind = kind_of(&status);
    let (link, resolved) = if kind == FileKind::Link {
        let target = rustix::fs::readlink(&place, Vec::new()).doing(action)?;
        let link = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
        (
            Some(link),
            stat(Last::Follow).ok().map(|(status, _)| kind_of(&status)),
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
    let root = enter(place, root)?;
    let mut found = vec![PathBuf::from("/")];
    for part in wanted.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let mut next = Vec::new();
        for directory in found {
            if !pattern::has_wildcard(part) {
                let path = directory.join(pattern::unescaped(part));
                next.extend(look(&root, &path, &Owners::default())?.map(|_| path));
                continue;
            }
            for name in names(&root, &directory)? {
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

fn names(root: &OwnedFd, directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let listed = resolve(root, directory, Last::Follow, Missing::LastOnly)
        .map_err(std::io::Error::from)
        .and_then(std::fs::read_dir);
    match listed {
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
    let user = start::resolve_user(&enter(place, root)?, user)?;
    Ok((user.uid, user.gid))
}
