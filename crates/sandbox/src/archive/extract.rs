//! Making files from an archive's entries.
//!
//! The process is already in the target's root, so the kernel keeps every path inside. What remains to decide here
//! is what wins when something is in the way, and which attributes a file ends up with.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::layer::{self, Layer, Meaning};
use super::names;
use super::reader::Reader;
use super::record::{Entry, Kind};
use crate::error::{Doing as _, KeeperError, Result};
use crate::overlay::modified_at;
use crate::owner;
use crate::requests::{Conflict, UnpackLimits, UnpackReport};
use crate::sys;
use crate::tree;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Contents are copied in pieces of this size.
const PIECE: usize = 256 * 1024;

/// What is being extracted.
enum Purpose {
    /// A layer: names may be whiteouts, the last entry of a name wins.
    Layer(Layer),
    /// Files for a root: existing directories stay as they are.
    Root(Conflict),
}

/// An archive on its way into a directory.
pub(super) struct Extractor {
    base: OwnedFd,
    purpose: Purpose,
    limits: UnpackLimits,
    report: UnpackReport,
    /// The directory that the last entry was in: most entries follow their siblings.
    current: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, set last because making an entry changes them.
    times: HashMap<PathBuf, (i64, i64)>,
    /// Bytes of their paths.
    remembered: usize,
    piece: Vec<u8>,
}

impl Extractor {
    pub(super) fn for_layer(base: OwnedFd, layer: Layer, limits: UnpackLimits) -> Self {
        Self::new(base, Purpose::Layer(layer), limits)
    }

    pub(super) fn for_root(base: OwnedFd, conflict: Conflict, limits: UnpackLimits) -> Self {
        Self::new(base, Purpose::Root(conflict), limits)
    }

    fn new(base: OwnedFd, purpose: Purpose, limits: UnpackLimits) -> Self {
        let (report, current, times) = (UnpackReport::default(), None, HashMap::new());
        Self {
            base,
            purpose,
            limits,
            report,
            current,
            times,
            remembered: 0,
            piece: vec![0; PIECE],
        }
    }

    /// Extracts the whole archive.
    pub(super) fn run(mut self, stream: OwnedFd) -> Result<UnpackReport> {
        let source = std::io::BufReader::with_capacity(PIECE, File::from(stream));
        let mut reader = Reader::new(source, self.limits);
        while let Some(entry) = reader.next()? {
            self.extract(&entry, &mut reader)?;
        }
        reader.drain()?;
        self.report.entries = reader.entries();
        self.set_times();
        Ok(self.report)
    }

    fn extract(&mut self, entry: &Entry, reader: &mut Reader<impl std::io::Read>) -> Result<()> {
        let path =
            names::inside(&entry.name).ok_or_else(|| entry.error("the name leads out of the archive"))?;
        let Some(name) = path.file_name() else {
            return self.base_itself(entry);
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        if matches!(self.purpose, Purpose::Layer(_)) {
            match layer::meaning(name) {
                Meaning::Plain => {}
                Meaning::Nothing => return Ok(()),
                Meaning::Hides => {
                    let parent = self.folder(entry, folder)?;
                    return layer::hide_below(&parent).doing(|| format!("make {} opaque", folder.display()));
                }
                Meaning::Removes(removed) => return self.remove_below(entry, folder, removed),
            }
        }
        let parent = self.folder(entry, folder)?;
        match entry.kind {
            Kind::File => self.file(entry, &parent, name, reader),
            Kind::Directory => self.directory(entry, &parent, &path, name),
            Kind::SymbolicLink => self.symbolic_link(entry, &parent, name),
            Kind::HardLink => self.hard_link(entry, &parent, name),
            Kind::Fifo => self.fifo(entry, &parent, name),
            Kind::Device => {
                self.report.skipped_devices += 1;
                Ok(())
            }
        }
    }

    /// The entry for the directory that everything goes into.
    fn base_itself(&mut self, entry: &Entry) -> Result<()> {
        if matches!(self.purpose, Purpose::Layer(_)) && entry.kind == Kind::Directory {
            let base = duplicate(&self.base)?;
            self.attributes(entry, &base)?;
            self.remember(entry, Path::new(""), entry.mtime)?;
        }
        Ok(())
    }

    fn remove_below(&mut self, entry: &Entry, folder: &Path, removed: &OsStr) -> Result<()> {
        let parent = self.folder(entry, folder)?;
        let action = || format!("make a whiteout for {}", folder.join(removed).display());
        match sys::make_whiteout(&parent, removed) {
            Ok(()) => Ok(()),
            // This layer has it anew: only what is below a directory needs hiding.
            Err(Errno::EXIST) => {
                match rustix::fs::openat(&parent, removed, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                    Ok(directory) => layer::hide_below(&directory).doing(action),
                    Err(_) => Ok(()),
                }
            }
            Err(errno) => Err(errno).doing(action),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &OsStr,
        reader: &mut Reader<impl std::io::Read>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.made(entry, parent, name, || {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
        })?;
        let mut file = File::from(made);
        loop {
            let length = reader.read(&mut self.piece)?;
            if length == 0 {
                break;
            }
            file.write_all(&self.piece[..length])
                .doing(|| write_action(entry))?;
            self.report.bytes += length as u64;
        }
        self.attributes(entry, &file)?;
        rustix::fs::futimens(&file, &modified_at(entry.mtime.0, entry.mtime.1)).doing(|| write_action(entry))
    }

    fn directory(&mut self, entry: &Entry, parent: &OwnedFd, path: &Path, name: &OsStr) -> Result<()> {
        let mkdir = || rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700));
        let (is_new, was_whiteout) = match mkdir() {
            Ok(()) => (true, false),
            Err(Errno::EXIST) => {
                let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .doing(|| write_action(entry))?;
                if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                    (false, false)
                } else {
                    self.clear(entry, parent, name)?;
                    mkdir().doing(|| write_action(entry))?;
                    (true, layer::is_whiteout(&status))
                }
            }
            Err(errno) => return Err(errno).doing(|| write_action(entry)),
        };
        if !is_new && matches!(self.purpose, Purpose::Root(_)) {
            return Ok(());
        }
        let made = rustix::fs::openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .doing(|| write_action(entry))?;
        if was_whiteout && matches!(self.purpose, Purpose::Layer(_)) {
            layer::hide_below(&made).doing(|| write_action(entry))?;
        }
        self.attributes(entry, &made)?;
        self.remember(entry, path, entry.mtime)
    }

    fn symbolic_link(&mut self, entry: &Entry, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = OsStr::from_bytes(&entry.link);
        self.made(entry, parent, name, || {
            rustix::fs::symlinkat(target, parent, name)
        })?;
        // No extended attribute that an image may have can be on a link.
        self.report.skipped_attributes += entry.attributes.len() as u64;
        self.owner_and_time(entry, parent, name)
    }

    fn hard_link(&mut self, entry: &Entry, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = names::inside(&entry.link)
            .filter(|target| !target.as_os_str().is_empty())
            .ok_or_else(|| entry.error("the hard link leads out of the archive"))?;
        let status = rustix::fs::statat(&self.base, &target, AtFlags::SYMLINK_NOFOLLOW);
        match status {
            Ok(status) if layer::is_whiteout(&status) => return Err(missing_link(entry, &target)),
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing_link(entry, &target)),
            Err(errno) => return Err(errno).doing(|| write_action(entry)),
        }
        let base = duplicate(&self.base)?;
        self.made(entry, parent, name, || {
            rustix::fs::linkat(&base, &target, parent, name, AtFlags::empty())
        })
    }

    fn fifo(&mut self, entry: &Entry, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        self.made(entry, parent, name, || {
            rustix::fs::mkfifoat(parent, name, Mode::from_raw_mode(0o600))
        })?;
        self.owner_and_time(entry, parent, name)?;
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .doing(|| write_action(entry))
    }

    /// Makes something that is no directory, taking away what is in its place.
    fn made<T>(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &OsStr,
        make: impl Fn() -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(entry, parent, name)?;
                make().doing(|| write_action(entry))
            }
            other => other.doing(|| write_action(entry)),
        }
    }

    /// Removes what stands in the way of `entry`, if that may be.
    fn clear(&mut self, entry: &Entry, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let status =
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).doing(|| write_action(entry))?;
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let becomes_directory = entry.kind == Kind::Directory;
        if matches!(self.purpose, Purpose::Root(Conflict::Refuse)) && is_directory != becomes_directory {
            let reason = if is_directory {
                "cannot replace a directory by something else"
            } else {
                "cannot copy a directory over something else"
            };
            return Err(entry.error(reason));
        }
        self.current = None;
        let name =
            std::ffi::CString::new(name.as_bytes()).map_err(|_| entry.error("the name has a zero byte"))?;
        tree::remove_entry(parent, &name).doing(|| write_action(entry))
    }

    fn owner_and_time(&self, entry: &Entry, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let (uid, gid) = owner::ids(&String::from_utf8_lossy(&entry.name), (entry.uid, entry.gid))?;
        owned(
            entry,
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW),
        )?;
        let times = modified_at(entry.mtime.0, entry.mtime.1);
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).doing(|| write_action(entry))
    }

    /// Owner, mode, extended attributes, in the order in which none undoes another: a new owner clears set-id bits
    /// and capabilities.
    fn attributes(&mut self, entry: &Entry, file: impl AsFd) -> Result<()> {
        let (uid, gid) = owner::ids(&String::from_utf8_lossy(&entry.name), (entry.uid, entry.gid))?;
        owned(entry, rustix::fs::fchown(&file, Some(uid), Some(gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).doing(|| write_action(entry))?;
        for (name, value) in &entry.attributes {
            let wanted = name == b"security.capability" || name.starts_with(b"user.");
            if !wanted || name.starts_with(layer::OVERLAY) {
                self.report.skipped_attributes += 1;
                continue;
            }
            match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => self.report.skipped_attributes += 1,
                Err(errno) => return Err(errno).doing(|| write_action(entry)),
            }
        }
        Ok(())
    }

    /// The directory that an entry goes into, with the parents that the archive implies.
    fn folder(&mut self, entry: &Entry, path: &Path) -> Result<OwnedFd> {
        if let Some((current, fd)) = &self.current
            && current == path
        {
            return duplicate(fd);
        }
        let flags = DIRECTORY;
        let opened = if path.as_os_str().is_empty() {
            duplicate(&self.base)?
        } else {
            match rustix::fs::openat(&self.base, path, flags, Mode::empty()) {
                Ok(opened) => opened,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO) => {
                    self.imply(entry, path)?;
                    rustix::fs::openat(&self.base, path, flags, Mode::empty())
                        .doing(|| write_action(entry))?
                }
                Err(errno) => return Err(errno).doing(|| write_action(entry)),
            }
        };
        self.current = Some((path.to_owned(), duplicate(&opened)?));
        Ok(opened)
    }

    /// Makes the missing directories of `path`.
    fn imply(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let mut prefix = PathBuf::new();
        for name in path.iter() {
            prefix.push(name);
            let mkdir = || rustix::fs::mkdirat(&self.base, &prefix, Mode::from_raw_mode(0o755));
            let was_whiteout = match mkdir() {
                Ok(()) => false,
                Err(Errno::EXIST) => {
                    let status = rustix::fs::statat(&self.base, &prefix, AtFlags::SYMLINK_NOFOLLOW)
                        .doing(|| write_action(entry))?;
                    if !layer::is_whiteout(&status) {
                        continue;
                    }
                    rustix::fs::unlinkat(&self.base, &prefix, AtFlags::empty())
                        .doing(|| write_action(entry))?;
                    mkdir().doing(|| write_action(entry))?;
                    true
                }
                Err(errno) => return Err(errno).doing(|| write_action(entry)),
            };
            let made = rustix::fs::openat(&self.base, &prefix, DIRECTORY, Mode::empty())
                .doing(|| write_action(entry))?;
            self.look_as_below(entry, &prefix, &made, was_whiteout)?;
        }
        Ok(())
    }

    /// Gives a directory that the archive only implies the looks that it has in the layers below.
    fn look_as_below(
        &mut self,
        entry: &Entry,
        path: &Path,
        made: &OwnedFd,
        was_whiteout: bool,
    ) -> Result<()> {
        let Purpose::Layer(layer) = &self.purpose else {
            return Ok(());
        };
        if was_whiteout {
            return layer::hide_below(made).doing(|| write_action(entry));
        }
        let Some(status) = layer.directory_below(path)? else {
            self.report.implied += 1;
            return Ok(());
        };
        let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
        rustix::fs::fchown(made, Some(uid), Some(gid)).doing(|| write_action(entry))?;
        rustix::fs::fchmod(made, Mode::from_raw_mode(status.st_mode & 0o7777))
            .doing(|| write_action(entry))?;
        self.remember(entry, path, (status.st_mtime, status.st_mtime_nsec as i64))
    }

    /// Keeps the time that a directory is to have in the end.
    fn remember(&mut self, entry: &Entry, path: &Path, time: (i64, i64)) -> Result<()> {
        if self.times.insert(path.to_owned(), time).is_none() {
            self.remembered += path.as_os_str().len();
        }
        if self.remembered > self.limits.directories {
            let most = self.limits.directories;
            return Err(entry.error(format!(
                "the names of the archive's directories have more than {most} bytes"
            )));
        }
        Ok(())
    }

    /// A directory whose time cannot be set was replaced by a later entry.
    fn set_times(&self) {
        for (path, (seconds, nanoseconds)) in &self.times {
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let times = modified_at(*seconds, *nanoseconds);
            let _ = rustix::fs::utimensat(&self.base, path, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).doing(|| "keep a directory open".into())
}

fn write_action(entry: &Entry) -> String {
    format!("extract {}", String::from_utf8_lossy(&entry.name))
}

fn missing_link(entry: &Entry, target: &Path) -> KeeperError {
    entry.error(format!(
        "it is a hard link to {}, which the archive does not have before it",
        target.display()
    ))
}

/// An owner that the pod's id map does not have is the archive's fault, and says so.
fn owned(entry: &Entry, result: std::result::Result<(), Errno>) -> Result<()> {
    match result {
        Err(Errno::INVAL) => Err(entry.error(format!(
            "its owner {}:{} is outside the ids that the pod has (see /etc/subuid)",
            entry.uid, entry.gid
        ))),
        other => other.doing(|| write_action(entry)),
    }
}
