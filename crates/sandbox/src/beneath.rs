//! Paths that cannot leave the directory they begin at.
//!
//! The keepers' directory holds trees that jobs have written. Whatever they put there (a link to `/`, a `..`), a
//! path of a request is resolved by the kernel with links refused and the beginning as a floor; a path seen from a
//! container is resolved with the container's root as `/`.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::error::{Doing as _, KeeperError, Result};

/// Opens what a relative path names, as a place (`O_PATH`).
pub(crate) fn open(directory: impl AsFd, path: &Path) -> Result<OwnedFd> {
    open_with(directory, path, OFlags::PATH)
}

/// Opens what a relative path names.
pub(crate) fn open_with(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let path = checked(path)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    retried(|| rustix::fs::openat2(&directory, &path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
        .doing(|| format!("open {} in the keepers' directory", path.display()))
}

/// The directory that holds what a relative path names, and its name there.
pub(crate) fn parent(directory: impl AsFd, path: &Path) -> Result<(OwnedFd, OsString)> {
    let path = checked(path)?;
    let name = path.file_name().ok_or_else(|| KeeperError::Path {
        path: path.clone(),
        reason: "names the keepers' directory itself".into(),
    })?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok((
        open_with(directory, parent, OFlags::PATH | OFlags::DIRECTORY)?,
        name.to_owned(),
    ))
}

/// Opens what a container's absolute path names, as a place, links followed inside `root`.
pub(crate) fn open_inside(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    retried(|| rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// The root that this process stands in: a worker that has entered one, by whichever means, and not moved since.
pub(crate) fn here() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(
        ".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The root that this process is in.
pub(crate) fn own_root() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens the directory that a container's absolute path names, with what is missing of it made; links are followed
/// inside `root`, those of `/proc` that lead to open files are refused.
pub(crate) fn make_inside(root: impl AsFd, path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open_inside(&root, path, flags) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut prefix = PathBuf::from("/");
    let mut current = open_inside(&root, &prefix, flags)?;
    for component in path.components().skip(1) {
        prefix.push(component);
        current = match open_inside(&root, &prefix, flags) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&current, component.as_os_str(), Mode::from_raw_mode(0o755)) {
                    // Somebody else made it in the meantime, or a link there leads nowhere: opening tells.
                    Ok(()) | Err(Errno::EXIST) => open_inside(&root, &prefix, flags)?,
                    Err(errno) => return Err(errno),
                }
            }
            other => other?,
        };
    }
    Ok(current)
}

/// Gives an open directory, be it open as a place only, the modification time that it had.
pub(crate) fn set_modified(directory: impl AsFd, before: &Stat) -> std::result::Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: before.st_mtime_nsec as i64,
        },
    };
    rustix::fs::utimensat(directory, c".", &times, AtFlags::empty())
}

/// The kernel gives up when a rename elsewhere races with a `..`; trying again is what it asks for.
fn retried<T>(mut open: impl FnMut() -> std::result::Result<T, Errno>) -> std::result::Result<T, Errno> {
    for _ in 0..64 {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    open()
}

/// A request's path without its needless parts; an absolute one or a `..` is refused by name rather than by errno.
fn checked(path: &Path) -> Result<PathBuf> {
    let refuse = |reason: &str| KeeperError::Path {
        path: path.into(),
        reason: reason.into(),
    };
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse("must not contain `..`")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(refuse("must be relative to the keepers' directory"));
            }
        }
    }
    if plain.as_os_str().is_empty() {
        plain.push(".");
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_dots_are_refused() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("real")).unwrap();
        std::os::unix::fs::symlink("/", home.path().join("link")).unwrap();
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        assert!(open(&directory, Path::new("real")).is_ok());
        assert!(open(&directory, Path::new("./real/.")).is_ok());
        for bad in ["link", "link/etc", "real/../..", "/etc", "../x"] {
            assert!(open(&directory, Path::new(bad)).is_err(), "{bad}");
        }
        assert!(parent(&directory, Path::new(".")).is_err());
        assert_eq!(parent(&directory, Path::new("real/x")).unwrap().1, "x");
    }
}
