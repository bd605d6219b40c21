//! Making files from an archive's entries.
//!
//! Every directory is opened with the root as a floor and as what absolute links mean, so the kernel keeps every path inside,
//! whether or not the process is confined to the root besides. What remains to decide here is what wins when something is in the
//! way, and which attributes a file ends up with.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::layer::{self, Layer, Meaning};
use super::names;
use super::reader::Reader;
use super::record::{Entry, Kind};
use super::{attributes, whiteout};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::overlay::modified_at;
use crate::owner;
use crate::owners::Owners;
use crate::requests::{Conflict, UnpackLimits, UnpackReport};
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
    /// What absolute links mean.
    root: OwnedFd,
    /// Where the archive goes, relative to the root, no link on the way.
    base: PathBuf,
    purpose: Purpose,
    owners: Owners,
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
    pub(super) fn for_layer(root: OwnedFd, layer: Layer, owners: Owners, limits: UnpackLimits) -> Self {
        Self::new((root, PathBuf::from(".")), Purpose::Layer(layer), owners, limits)
    }

    /// `base` is a directory of the root, as [`resolve`](crate::resolve::resolve) gives it.
    pub(super) fn for_root(
        (root, base): (OwnedFd, PathBuf),
        conflict: Conflict,
        owners: Owners,
        limits: UnpackLimits,
    ) -> Self {
        Self::new((root, base), Purpose::Root(conflict), owners, limits)
    }

    fn new((root, base): (OwnedFd, PathBuf), purpose: Purpose, owners: Owners, limits: UnpackLimits) -> Self {
        let (report, current, times) = (UnpackReport::default(), None, HashMap::new());
        Self {
            root,
            base,
            purpose,
            owners,
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
                    return whiteout::make_opaque(&parent)
                        .doing(|| format!("make {} opaque", folder.display()));
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
            let base = self.open(Path::new("")).doing(|| write_action(entry))?;
            self.attributes(entry, &base)?;
            self.remember(entry, Path::new(""), entry.mtime)?;
        }
        Ok(())
    }

    fn remove_below(&mut self, entry: &Entry, folder: &Path, removed: &OsStr) -> Result<()> {
        let parent = self.folder(entry, folder)?;
        let action = || format!("make a whiteout for {}", folder.join(removed).display());
        match whiteout::make(&parent, removed) {
            Ok(()) => Ok(()),
            // This layer has it anew: only what is below a directory needs hiding.
            Err(Errno::EXIST) => {
                match rustix::fs::openat(&parent, removed, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                    Ok(directory) => whiteout::make_opaque(&directory).doing(action),
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
                    let was_whiteout = whiteout::is_one(parent, name, &status);
                    self.clear(entry, parent, name)?;
                    mkdir().doing(|| write_action(entry))?;
                    (true, was_whiteout)
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
            whiteout::make_opaque(&made).doing(|| write_action(entry))?;
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
        let folder = target.parent().unwrap_or(Path::new(""));
        let own = target.file_name().unwrap_or_default();
        let found = self.open(folder).and_then(|folder| {
            let status = rustix::fs::statat(&folder, own, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((folder, status))
        });
        let folder = match found {
            Ok((folder, status)) if whiteout::is_one(&folder, own, &status) => {
                return Err(missing_link(entry, &target));
            }
            Ok((folder, _)) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing_link(entry, &target)),
            Err(errno) => return Err(errno).doing(|| write_action(entry)),
        };
        self.made(entry, parent, name, || {
            rustix::fs::linkat(&folder, own, parent, name, AtFlags::empty())
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
        owned(entry, self.owners.own_named(parent, name, uid, gid))?;
        let times = modified_at(entry.mtime.0, entry.mtime.1);
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).doing(|| write_action(entry))
    }

    /// Owner, mode, extended attributes, in the order in which none undoes another: a new owner clears set-id bits
    /// and capabilities.
    fn attributes(&mut self, entry: &Entry, file: impl AsFd) -> Result<()> {
        let (uid, gid) = owner::ids(&String::from_utf8_lossy(&entry.name), (entry.uid, entry.gid))?;
        owned(entry, self.owners.own(&file, uid, gid))?;
        self.owners
            .set_mode(&file, entry.mode)
            .doing(|| write_action(entry))?;
        for (name, value) in &entry.attributes {
            if !attributes::is_kept(name) {
                self.report.skipped_attributes += 1;
                continue;
            }
            match self.owners.set_attribute(&file, name, value) {
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
        let opened = match self.open(path) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NXIO) => {
                self.imply(entry, path)?;
                self.open(path).doing(|| write_action(entry))?
            }
            Err(errno) => return Err(errno).doing(|| write_action(entry)),
        };
        self.current = Some((path.to_owned(), duplicate(&opened)?));
        Ok(opened)
    }

    /// Opens a directory of the archive, links followed inside the root.
    fn open(&self, path: &Path) -> std::result::Result<OwnedFd, Errno> {
        beneath::open_inside(&self.root, &self.base.join(path), DIRECTORY)
    }

    /// Makes the missing directories of `path`.
    fn imply(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let mut prefix = PathBuf::new();
        for name in path.iter() {
            let parent = self.open(&prefix).doing(|| write_action(entry))?;
            prefix.push(name);
            let mkdir = || rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755));
            let was_whiteout = match mkdir() {
                Ok(()) => false,
                Err(Errno::EXIST) => {
                    let status = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                        .doing(|| write_action(entry))?;
                    if !whiteout::is_one(&parent, name, &status) {
                        continue;
                    }
                    rustix::fs::unlinkat(&parent, name, AtFlags::empty()).doing(|| write_action(entry))?;
                    mkdir().doing(|| write_action(entry))?;
                    true
                }
                Err(errno) => return Err(errno).doing(|| write_action(entry)),
            };
            let made = rustix::fs::openat(&parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
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
            return whiteout::make_opaque(made).doing(|| write_action(entry));
        }
        let Some(status) = layer.directory_below(path, &self.owners)? else {
            self.report.implied += 1;
            return Ok(());
        };
        let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
        self.owners.own(made, uid, gid).doing(|| write_action(entry))?;
        self.owners
            .set_mode(made, status.st_mode & 0o7777)
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
            let times = modified_at(*seconds, *nanoseconds);
            let _ = beneath::open_inside(&self.root, &self.base.join(path), DIRECTORY | OFlags::NOFOLLOW)
                .and_then(|directory| rustix::fs::futimens(directory, &times));
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
