//! Removing trees that jobs have written: any mode, any depth, any number of entries.
//!
//! One descriptor is open at a time, whatever the depth: the way up is `..`, checked to be the directory that the
//! way down came from.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes what `path` names below `directory`; a missing one is no error.
pub(crate) fn remove(directory: &OwnedFd, path: &Path) -> Result<()> {
    let (parent, name) = match beneath::parent(directory, path) {
        Err(KeeperError::System { cause, .. }) if cause.errno() == libc::ENOENT => {
            return Ok(());
        }
        other => other?,
    };
    let name = CString::new(name.into_encoded_bytes()).map_err(|_| KeeperError::Path {
        path: path.into(),
        reason: "contains a zero byte".into(),
    })?;
    remove_entry(&parent, &name).doing(|| format!("remove {}", path.display()))
}

/// Removes what `path` names below `directory` if it is an empty file or a directory with nothing in it; anything else
/// stays, and so does what lies behind a link. The directory that it was in keeps its time, as if it had never been there.
pub(crate) fn remove_empty(directory: &OwnedFd, path: &Path) -> Result<()> {
    let (parent, name) = match beneath::parent(directory, path) {
        Err(KeeperError::System { cause, .. })
            if matches!(cause.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) =>
        {
            return Ok(());
        }
        other => other?,
    };
    let before = rustix::fs::fstat(&parent).doing(|| format!("remove {}", path.display()))?;
    let removed = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).and_then(|status| {
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile if status.st_size == 0 => {
                rustix::fs::unlinkat(&parent, &name, AtFlags::empty())
            }
            FileType::Directory => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR),
            _ => return Ok(()),
        }?;
        beneath::set_modified(&parent, &before)
    });
    match removed {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).doing(|| format!("remove {}", path.display())),
    }
}

/// Removes one entry of an open directory, whatever it is.
pub(crate) fn remove_entry(parent: impl AsFd, name: &CString) -> std::result::Result<(), Errno> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    remove_contents(rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty())?)?;
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// A directory on the way down.
struct Level {
    /// Its name in the one above.
    name: CString,
    /// What it is, to know it again on the way up.
    device: u64,
    inode: u64,
    /// Directories in it that are not gone yet.
    left: Vec<CString>,
}

fn remove_contents(top: OwnedFd) -> std::result::Result<(), Errno> {
    let mut current = top;
    let mut levels = vec![level(&current, CString::default())?];
    loop {
        let Some(level_here) = levels.last_mut() else {
            return Ok(());
        };
        if let Some(name) = level_here.left.pop() {
            match rustix::fs::openat(&current, &name, DIRECTORY, Mode::empty()) {
                Ok(below) => {
                    current = below;
                    levels.push(level(&current, name)?);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            continue;
        }
        let Some(done) = levels.pop() else { return Ok(()) };
        let Some(above) = levels.last() else { return Ok(()) };
        let up = rustix::fs::openat(&current, c"..", DIRECTORY, Mode::empty())?;
        let status = rustix::fs::fstat(&up)?;
        if (status.st_dev, status.st_ino) != (above.device, above.inode) {
            // Somebody moved it while it was being removed.
            return Err(Errno::BUSY);
        }
        current = up;
        match rustix::fs::unlinkat(&current, &done.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes what can be removed at once and remembers the directories.
fn level(directory: &OwnedFd, name: CString) -> std::result::Result<Level, Errno> {
    let status = rustix::fs::fstat(directory)?;
    let mut left = Vec::new();
    let mut files = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory | FileType::Unknown => left.push(name.to_owned()),
            _ => files.push(name.to_owned()),
        }
    }
    for file in files {
        match rustix::fs::unlinkat(directory, &file, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    // File systems that do not tell kinds, and the many directories that are empty already.
    left.retain(|name| {
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).is_err()
            && rustix::fs::unlinkat(directory, name, AtFlags::empty()).is_err()
    });
    Ok(Level {
        name,
        device: status.st_dev,
        inode: status.st_ino,
        left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_goes() {
        let home = tempfile::tempdir().unwrap();
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("full/empty")).unwrap();
        std::fs::write(at("full/nothing"), "").unwrap();
        std::fs::write(at("full/something"), "x").unwrap();
        std::os::unix::fs::symlink("full", at("link")).unwrap();
        std::os::unix::fs::symlink("full/nothing", at("file-link")).unwrap();
        let remove = |name: &str| remove_empty(&directory, Path::new(name)).unwrap();
        for name in [
            "full",
            "full/something",
            "link",
            "file-link",
            "link/nothing",
            "no",
            "no/such",
            "full/something/x",
        ] {
            remove(name);
        }
        let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!((names(home.path()), names(&at("full"))), (3, 3));
        for name in ["full/nothing", "full/empty"] {
            remove(name);
        }
        assert_eq!(names(&at("full")), 1);
    }

    #[test]
    fn depth_beyond_any_path_and_closed_directories_go() {
        let home = tempfile::tempdir().unwrap();
        let directory = crate::launcher::open_directory(home.path()).unwrap();
        let mut current = crate::launcher::open_directory(home.path()).unwrap();
        for depth in 0..1000 {
            rustix::fs::mkdirat(&current, "deeper", Mode::from_raw_mode(0o755)).unwrap();
            let below = rustix::fs::openat(&current, "deeper", DIRECTORY, Mode::empty()).unwrap();
            if depth % 100 == 0 {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                rustix::fs::openat(&below, "file", flags, Mode::from_raw_mode(0)).unwrap();
                rustix::fs::symlinkat("/", &below, "link").unwrap();
            }
            current = below;
        }
        remove(&directory, Path::new("deeper")).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        remove(&directory, Path::new("deeper")).unwrap();
        remove(&directory, Path::new("no/such/parent")).unwrap();
        assert!(Path::new("/etc").exists());
    }
}
