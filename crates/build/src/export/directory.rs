//! A file system under a directory of the user's.
//!
//! What lies there already is never followed: each directory on the way is opened without links, a link in its place is replaced,
//! and a file is made anew beside nothing. So an image cannot write anywhere but below the directory that the user named, whatever an
//! earlier one left there. New files are the user's own; modes and times are the image's.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::ExportError;
use super::merge::Sink;
use super::rootfs::{Entry, Kind};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory being filled.
pub(super) struct DirectorySink {
    root: OwnedFd,
    /// The time of every file, where somebody gave one.
    epoch: Option<i64>,
    /// The directory of the last entry.
    last: Option<(PathBuf, OwnedFd)>,
    /// Directories with the mode and time that they get when nothing is made in them any more.
    finished_later: Vec<(PathBuf, u32, i64)>,
    /// Paths that were written, where stale ones are to go.
    written: Option<HashSet<PathBuf>>,
    /// Devices, which only an administrator could make.
    pub(super) left_out: Vec<PathBuf>,
}

impl DirectorySink {
    /// Writes below `root`, which is made when it is missing; with `sweeps`, what was not written goes at the end.
    pub(super) fn new(root: &Path, epoch: Option<i64>, sweeps: bool) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        // The user named it: a link there is meant.
        let root = rustix::fs::open(
            root,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root,
            epoch,
            last: None,
            finished_later: Vec::new(),
            written: sweeps.then(HashSet::new),
            left_out: Vec::new(),
        })
    }

    fn make(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let name = entry.path.file_name().unwrap_or_default();
        let folder = entry.path.parent().unwrap_or(Path::new(""));
        if let Some(written) = &mut self.written {
            written.extend(
                entry
                    .path
                    .ancestors()
                    .filter(|path| !path.as_os_str().is_empty())
                    .map(Path::to_owned),
            );
        }
        let time = self.epoch.unwrap_or(entry.modified);
        if let Kind::Device { .. } = entry.kind {
            self.left_out.push(entry.path.clone());
            return Ok(());
        }
        if entry.kind == Kind::Directory {
            self.folder(&entry.path)?;
            self.finished_later.push((entry.path.clone(), entry.mode, time));
            return Ok(());
        }
        self.folder(folder)?;
        let Some((_, parent)) = &self.last else {
            return Ok(());
        };
        clear(parent, name)?;
        match &entry.kind {
            Kind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(file);
                io::copy(content, &mut file)?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
                rustix::fs::futimens(&file, &times(time))?;
            }
            Kind::SymbolicLink(leads_to) => {
                rustix::fs::symlinkat(leads_to, parent, name)?;
                rustix::fs::utimensat(parent, name, &times(time), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Kind::HardLink(first) => {
                let link = (name.to_owned(), parent.try_clone()?);
                self.folder(first.parent().unwrap_or(Path::new("")))?;
                if let Some((_, from)) = &self.last {
                    let first = first.file_name().unwrap_or_default();
                    rustix::fs::linkat(from, first, &link.1, &link.0, AtFlags::empty())?;
                }
            }
            Kind::Fifo => {
                rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(entry.mode), 0)?;
            }
            Kind::Directory | Kind::Device { .. } => {}
        }
        Ok(())
    }

    /// Opens a directory below the root, made as far as it is missing; what is no directory there is replaced.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|(last, _)| last == path) {
            return Ok(());
        }
        let mut current = self.root.try_clone()?;
        for name in path.components() {
            current = into(&current, name.as_os_str())?;
        }
        self.last = Some((path.to_owned(), current));
        Ok(())
    }

    /// Sets what making files would have changed, and takes away what is stale.
    pub(super) fn finish(mut self) -> io::Result<Vec<PathBuf>> {
        if let Some(written) = self.written.take() {
            sweep(&self.root, Path::new(""), &written)?;
        }
        // A directory that its owner may not enter must not stand in the way of one inside.
        while let Some((path, mode, time)) = self.finished_later.pop() {
            self.folder(&path)?;
            if let Some((_, directory)) = self.last.take() {
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
                rustix::fs::futimens(&directory, &times(time))?;
            }
        }
        Ok(self.left_out)
    }
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// The directory of this name, which takes the place of whatever else has it.
fn into(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => return Ok(directory),
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => rustix::fs::unlinkat(parent, name, AtFlags::empty())?,
        // One that an earlier output made without permission to read it.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            return Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?);
        }
        Err(errno) => return Err(errno.into()),
    }
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// Makes room for a file. A directory stays: there may be anything in it.
fn clear(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "a directory is in its place: remove it, or write elsewhere",
        )),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes what is below a directory and was not written.
fn sweep(directory: &OwnedFd, path: &Path, written: &HashSet<PathBuf>) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    for name in names {
        let name = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name.to_bytes());
        let inner = path.join(name);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory {
            sweep(&into(directory, name)?, &inner, written)?;
        }
        if !written.contains(&inner) {
            let flags = if is_directory {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            rustix::fs::unlinkat(directory.as_fd(), name, flags)?;
        }
    }
    Ok(())
}

impl Sink for DirectorySink {
    fn take(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ExportError> {
        self.make(entry, content).map_err(|source| ExportError::Write {
            path: entry.path.clone(),
            source,
        })
    }
}
