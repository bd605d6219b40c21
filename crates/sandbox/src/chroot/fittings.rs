//! What a process finds in its tree only as long as it runs: devices, `/proc`, made files, mounts.
//!
//! Elsewhere these are mounts. Here each is put into the tree, what was in its place set aside, and all of it is undone when every
//! process is gone: what belongs to the pod goes back to where it was, what was set aside returns, and directories get the times that
//! they had. The comparison that follows is told which files it moved, since moving leaves a trace of its own.
//!
//! Sources are moved and not copied, which takes no time however large they are; so a source is in one tree at a time, which is for the
//! caller to see to. What is not to be written to is copied, and the copy goes.
//!
//! Failure: what cannot be undone, because the process has removed a directory around it, went with that directory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::manifest::{self, Mark, open_directory};
use super::tree::Tree;
use super::{copy, kernel_files, materialise};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::owner;
use crate::owners::{Owners, Ownership};
use crate::rooted::rooted;
use crate::spec::{ContainerSpec, GeneratedFile, Mount, MountSource};
use crate::stack::{Stack, c_name};
use crate::tree::remove_entry;

/// What is in a tree for now.
pub(super) struct Fittings<'f> {
    directory: &'f OwnedFd,
    ownership: Ownership,
    tree: &'f Tree,
    aside: OwnedFd,
    placed: Vec<Placed>,
    /// Directories that had to be made.
    made: Vec<(OwnedFd, OsString)>,
    /// Directories in which something was placed or made, by their inodes.
    parents: BTreeMap<u64, Parent>,
}

struct Placed {
    parent: OwnedFd,
    name: OsString,
    /// Under which what was there is set aside.
    aside: Option<String>,
    /// Where it goes afterwards, relative to the keepers' directory; else it is removed.
    back: Option<PathBuf>,
}

struct Parent {
    directory: OwnedFd,
    /// As it was before.
    before: Stat,
    /// As it was when everything was in its place.
    settled: Option<Mark>,
}

/// What undoing has left: which files it touched, and which of them the process had touched before.
#[derive(Default)]
pub(super) struct Restored {
    as_they_were: BTreeSet<u64>,
    changed: BTreeSet<u64>,
}

impl Restored {
    /// Whether a file is what it was.
    pub(super) fn is_as_before(&self, before: Option<Mark>, now: Mark) -> bool {
        let Some(before) = before else { return false };
        before.inode == now.inode
            && !self.changed.contains(&now.inode)
            && (before == now || self.as_they_were.contains(&now.inode))
    }
}

impl<'f> Fittings<'f> {
    pub(super) fn new(place: &Workplace<'f>, tree: &'f Tree) -> Result<Self> {
        let aside = open_directory(&tree.home, OsStr::new("aside")).doing(|| "open a tree".into())?;
        Ok(Self {
            directory: place.directory,
            ownership: place.ownership,
            tree,
            aside,
            placed: Vec::new(),
            made: Vec::new(),
            parents: BTreeMap::new(),
        })
    }

    /// Puts everything in its place.
    pub(super) fn place_all(&mut self, spec: &ContainerSpec) -> Result<()> {
        kernel_files::devices(&self.make("/dev")?, self.ownership)?;
        kernel_files::processes(&self.make("/proc")?)?;
        for mount in &spec.mounts {
            match first_writable(&spec.mounts, mount) {
                Some(first) => self.link(mount, first)?,
                None => self.mount(mount)?,
            }
        }
        for file in &spec.files {
            let (parent, name) = self.spot(&file.path, None)?;
            let owner = owner::ids(&file.path.to_string_lossy(), file.owner)?;
            write((&parent, &name), file, &self.tree.owners, owner)
                .doing(|| format!("make {} for the container", file.path.display()))?;
        }
        self.settle()
    }

    fn make(&mut self, path: &str) -> Result<OwnedFd> {
        let (parent, name) = self.spot(Path::new(path), None)?;
        rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755))
            .and_then(|()| open_directory(&parent, &name))
            .doing(|| format!("make {path}"))
    }

    fn mount(&mut self, mount: &Mount) -> Result<()> {
        let action = || format!("put {} into the container", mount.target.display());
        match &mount.source {
            MountSource::Keeper(path) => {
                let (from, from_name) = beneath::parent(self.directory, path)?;
                let status =
                    rustix::fs::statat(&from, &from_name, AtFlags::SYMLINK_NOFOLLOW).doing(action)?;
                if mount.read_only {
                    let (parent, name) = self.spot(&mount.target, None)?;
                    self.copy(path, (&from, &from_name), &status, (&parent, &name))?;
                    return Ok(());
                }
                let (parent, name) = self.spot(&mount.target, Some(path.clone()))?;
                rustix::fs::renameat(&from, &from_name, &parent, &name).doing(action)
            }
            MountSource::Temporary { mode, .. } => {
                let (parent, name) = self.spot(&mount.target, None)?;
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700))
                    .and_then(|()| open_directory(&parent, &name))
                    .and_then(|made| rustix::fs::fchmod(made, Mode::from_raw_mode(*mode)))
                    .doing(action)
            }
            MountSource::Host(_) | MountSource::Container { .. } => Err(KeeperError::Path {
                path: mount.target.clone(),
                reason:
                    "files of this machine and of other containers cannot be mounted where nothing can be \
                         mounted (tier C or B')"
                        .into(),
            }),
        }
    }

    /// A source that is in the tree already, at another place: a link to that, since it can only be in one.
    fn link(&mut self, mount: &Mount, first: &Mount) -> Result<()> {
        let (parent, name) = self.spot(&mount.target, None)?;
        rustix::fs::symlinkat(rooted(&first.target), &parent, &name).doing(|| {
            format!(
                "make {} the same as {} in the container",
                mount.target.display(),
                first.target.display()
            )
        })
    }

    fn copy(
        &self,
        path: &Path,
        (from, from_name): (&OwnedFd, &OsStr),
        status: &Stat,
        (parent, name): (&OwnedFd, &OsStr),
    ) -> Result<()> {
        let action = || format!("copy {} into the container", path.display());
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            let status = Owners::outside_layers(self.ownership)
                .corrected(from, from_name, *status)
                .doing(action)?;
            return copy::file_as((from, from_name), (parent, name), &self.tree.owners, &status)
                .doing(action);
        }
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).doing(action)?;
        let into = open_directory(parent, name).doing(action)?;
        let only = [path.to_owned()];
        let owners = Owners::of_layers(self.ownership, self.directory, &only)?;
        materialise::materialise(
            &Stack::open(self.directory, &only)?.owned(owners),
            &into,
            &self.tree.owners,
        )
    }

    /// Where `path` leads in the tree, links on the way followed inside it, with nothing there any more. Makes directories that are
    /// missing.
    fn spot(&mut self, path: &Path, back: Option<PathBuf>) -> Result<(OwnedFd, OsString)> {
        let path = rooted(path);
        let action = || format!("make the mount point {}", path.display());
        let name = path.file_name().ok_or_else(|| KeeperError::Path {
            path: path.clone(),
            reason: "nothing can be mounted over the root".into(),
        })?;
        let parent = self.parent_of(&path)?;
        let aside = self.placed.len().to_string();
        let aside = match rustix::fs::renameat(&parent, name, &self.aside, &aside) {
            Ok(()) => Some(aside),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).doing(action),
        };
        let kept = rustix::io::fcntl_dupfd_cloexec(&parent, 3).doing(action)?;
        self.placed.push(Placed {
            parent: kept,
            name: name.to_owned(),
            aside,
            back,
        });
        Ok((parent, name.to_owned()))
    }

    fn parent_of(&mut self, path: &Path) -> Result<OwnedFd> {
        let action = || format!("make the mount point {}", path.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut prefix = PathBuf::from("/");
        let mut current = beneath::open_inside(&self.tree.root, &prefix, flags).doing(action)?;
        for component in path.parent().unwrap_or(Path::new("/")).components().skip(1) {
            prefix.push(component);
            current = match beneath::open_inside(&self.tree.root, &prefix, flags) {
                Err(Errno::NOENT) => {
                    let name = component.as_os_str();
                    self.remember(&current)?;
                    rustix::fs::mkdirat(&current, name, Mode::from_raw_mode(0o755)).doing(action)?;
                    let made = open_directory(&current, name).doing(action)?;
                    self.made.push((current, name.to_owned()));
                    made
                }
                found => found.doing(action)?,
            };
        }
        self.remember(&current)?;
        Ok(current)
    }

    /// Takes note of a directory before something changes in it.
    fn remember(&mut self, directory: &OwnedFd) -> Result<()> {
        let action = || "look at a directory of a tree".to_owned();
        let status = rustix::fs::fstat(directory).doing(action)?;
        if let Entry::Vacant(place) = self.parents.entry(status.st_ino) {
            place.insert(Parent {
                directory: rustix::io::fcntl_dupfd_cloexec(directory, 3).doing(action)?,
                before: status,
                settled: None,
            });
        }
        Ok(())
    }

    /// Gives directories the times that they had, and waits until what a process changes in them shows.
    fn settle(&mut self) -> Result<()> {
        let action = || "look at a directory of a tree".to_owned();
        let mut newest = (0, 0);
        for parent in self.parents.values_mut() {
            beneath::set_modified(&parent.directory, &parent.before).doing(action)?;
            let mark = Mark::of(&rustix::fs::fstat(&parent.directory).doing(action)?);
            newest = newest.max(mark.changed);
            parent.settled = Some(mark);
        }
        manifest::wait_beyond(newest);
        Ok(())
    }

    /// Undoes everything. No process may be left in the tree.
    pub(super) fn take_out(self) -> Result<Restored> {
        let action = || "take out what was put into a tree".to_owned();
        let mut restored = Restored::default();
        let mut times = Vec::new();
        for (inode, parent) in &self.parents {
            let now = rustix::fs::fstat(&parent.directory).doing(action)?;
            if parent.settled.is_none_or(|settled| settled == Mark::of(&now)) {
                restored.as_they_were.insert(*inode);
            } else {
                restored.changed.insert(*inode);
            }
            times.push((&parent.directory, now));
        }
        for placed in self.placed.iter().rev() {
            let undone = placed.undo(self.directory, &self.aside).doing(action)?;
            restored.as_they_were.extend(undone);
        }
        for (parent, name) in self.made.iter().rev() {
            match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // With something of the step's in it, it stays; else the step has removed or replaced it.
                Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno).doing(action),
            }
        }
        for (directory, status) in times {
            match beneath::set_modified(directory, &status) {
                // It was removed.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).doing(action),
            }
        }
        Ok(restored)
    }
}

impl Placed {
    /// Gives the inode of what was set aside and is in its place again.
    fn undo(&self, directory: &OwnedFd, aside: &OwnedFd) -> std::result::Result<Option<u64>, Errno> {
        let back = self
            .back
            .as_ref()
            .and_then(|path| beneath::parent(directory, path).ok());
        let moved = back
            .is_some_and(|(to, to_name)| rustix::fs::renameat(&self.parent, &self.name, to, to_name).is_ok());
        if !moved {
            remove_entry(&self.parent, &c_name(&self.name)?)?;
        }
        let Some(set_aside) = &self.aside else {
            return Ok(None);
        };
        match rustix::fs::renameat(aside, set_aside, &self.parent, &self.name) {
            Ok(()) => {
                let status = rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(Some(status.st_ino))
            }
            // The directory around it is gone, and it with that.
            Err(Errno::NOENT) => {
                remove_entry(aside, &c_name(OsStr::new(set_aside))?)?;
                Ok(None)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Where a mount's source is to be found, if that is another mount's place: of several of one source the first that can be written to has
/// it. Those that cannot have a copy each, unless one of the others can: then they show what is written there.
fn first_writable<'m>(mounts: &'m [Mount], mount: &Mount) -> Option<&'m Mount> {
    let MountSource::Keeper(path) = &mount.source else {
        return None;
    };
    let first = mounts
        .iter()
        .find(|other| !other.read_only && matches!(&other.source, MountSource::Keeper(of) if of == path))?;
    (first.target != mount.target).then_some(first)
}

/// On disk, where elsewhere it is in memory: in the tree, which nobody else sees, and only as long as the process runs.
fn write(
    (parent, name): (&OwnedFd, &OsStr),
    generated: &GeneratedFile,
    owners: &Owners,
    (uid, gid): (Uid, Gid),
) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
    // Owner first: changing it clears the set-id bits.
    owners.own(&file, uid, gid)?;
    owners.set_mode(&file, generated.mode)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), &generated.bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
