//! A file that is there when all of it is, and not before.
//!
//! Written without a name, in the directory that it is for, so that an interrupted or killed build leaves nothing, and what had the
//! name until then stays until the new one takes its place at once. Pipes and devices are written as they are, and so is a file in a
//! file system that has no nameless files: it is removed when it could not be written whole.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Where bytes go until they are all there.
pub(super) enum Whole {
    Nameless {
        file: File,
        path: PathBuf,
    },
    Named {
        file: File,
        path: PathBuf,
    },
    /// A pipe or a device: not ours to replace or to remove.
    Passing(File),
}

impl Whole {
    /// Begins the file that is to be at `path`, through a link if that is one.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let before = path.metadata().ok();
        if before.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            return File::create(&path).map(Self::Passing);
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(directory(&path), flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => {
                let file = File::from(file);
                if let Some(before) = before {
                    file.set_permissions(before.permissions())?;
                }
                Ok(Self::Nameless { file, path })
            }
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                File::create(&path).map(|file| Self::Named { file, path })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::Nameless { file, .. } | Self::Named { file, .. } | Self::Passing(file) => file,
        }
    }

    /// All bytes are written: gives the file its name.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self::Nameless { file, path } = self else {
            return Ok(());
        };
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = |to: &Path| rustix::fs::linkat(CWD, &own, CWD, to, AtFlags::SYMLINK_FOLLOW);
        match link(&path) {
            Err(Errno::EXIST) => {}
            linked => return Ok(linked?),
        }
        // A name of its own first: only a rename takes the place of another file at once.
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(name);
        link(&beside)?;
        std::fs::rename(&beside, &path).inspect_err(|_| {
            // The rename's own error is the one to tell.
            let _ = std::fs::remove_file(&beside);
        })
    }

    /// Not all bytes could be written.
    pub(super) fn give_up(self) {
        if let Self::Named { path, .. } = self {
            // Why it is not whole is told by who writes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("image.tar");
        for text in ["first", "second"] {
            let before = std::fs::read(&path).ok();
            let whole = Whole::begin(&path).unwrap();
            whole.file().write_all(text.as_bytes()).unwrap();
            assert_eq!(
                std::fs::read(&path).ok(),
                before,
                "unfinished bytes have the name already"
            );
            whole.finish().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_given_up_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (path, link) = (home.path().join("image.tar"), home.path().join("link"));
        std::os::unix::fs::symlink("image.tar", &link).unwrap();
        std::fs::write(&path, "kept").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let whole = Whole::begin(&link).unwrap();
        whole.file().write_all(b"half").unwrap();
        whole.give_up();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        Whole::begin(&link).unwrap().finish().unwrap();
        assert!(link.is_symlink() && std::fs::read(&path).unwrap().is_empty());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
