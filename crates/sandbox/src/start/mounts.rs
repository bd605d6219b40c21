//! The mounts of a container.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use super::absolute;
use super::locked::locked;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::ContainerId;
use crate::spec::{Mount, MountSource};
use crate::sys;

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_RECURSIVE);

/// What a mount point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    File,
    Directory,
}

/// Finds mount points in a root, makes the missing ones and remembers which.
pub(crate) struct Targets<'a> {
    root: &'a OwnedFd,
    made: Vec<PathBuf>,
}

impl<'a> Targets<'a> {
    pub(crate) fn new(root: &'a OwnedFd) -> Self {
        Self {
            root,
            made: Vec::new(),
        }
    }

    pub(crate) fn into_made(self) -> Vec<PathBuf> {
        self.made
    }

    /// The place that `path` names in the root, links followed inside it.
    pub(crate) fn find(&mut self, path: &Path, shape: Shape) -> Result<OwnedFd> {
        let path = absolute(path);
        let action = || format!("make the mount point {}", path.display());
        let mut prefix = PathBuf::from("/");
        for component in path.components().skip(1) {
            let parent = prefix.clone();
            prefix.push(component);
            let last = prefix == path;
            match beneath::open_inside(self.root, &prefix, OFlags::PATH) {
                Ok(found) if last => return Ok(found),
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).doing(action),
            }
            let parent =
                beneath::open_inside(self.root, &parent, OFlags::PATH | OFlags::DIRECTORY).doing(action)?;
            let name = component.as_os_str();
            let status = rustix::fs::fstat(&parent).doing(action)?;
            if last && shape == Shape::File {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).doing(action)?;
            } else {
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).doing(action)?;
            }
            // No step of the image's made it: its directory is not to look as if one had.
            beneath::set_modified(&parent, &status).doing(action)?;
            self.made.push(prefix.clone());
        }
        beneath::open_inside(self.root, &path, OFlags::PATH).doing(action)
    }

    /// Puts a detached mount at `path`.
    pub(crate) fn attach(&mut self, mount: impl std::os::fd::AsFd, path: &Path, shape: Shape) -> Result<()> {
        let target = self.find(path, shape)?;
        move_mount(
            mount,
            "",
            &target,
            "",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .doing(|| format!("mount on {}", path.display()))
    }
}

/// A mount whose source has been found.
pub(crate) struct Prepared {
    target: PathBuf,
    read_only: bool,
    tree: Tree,
}

enum Tree {
    Detached(OwnedFd),
    Temporary { size: Option<u64>, mode: u32 },
}

/// Finds the sources of all mounts, from the keeper's own mount namespace and those of other containers.
pub(crate) fn prepare(
    directory: &OwnedFd,
    mounts: &[Mount],
    cloned: &[bool],
    fds: &mut impl Iterator<Item = OwnedFd>,
    others: &BTreeMap<ContainerId, OwnedFd>,
) -> Result<Vec<Prepared>> {
    let mut prepared = Vec::with_capacity(mounts.len());
    for (mount, cloned) in mounts.iter().zip(cloned) {
        let missing = || KeeperError::Message {
            reason: "a mount without its descriptor".into(),
        };
        let tree = match &mount.source {
            MountSource::Temporary { size, mode } => Tree::Temporary {
                size: *size,
                mode: *mode,
            },
            MountSource::Host(_) if *cloned => Tree::Detached(fds.next().ok_or_else(missing)?),
            MountSource::Host(path) => Tree::Detached(
                open_tree(CWD, path, CLONE).doing(|| format!("mount {} into a container", path.display()))?,
            ),
            MountSource::Keeper(path) => {
                let source = beneath::open(directory, path)?;
                Tree::Detached(clone_of(source.as_fd()).doing(|| format!("mount {}", path.display()))?)
            }
            MountSource::Container { container, path } => {
                let init = others.get(container).ok_or(KeeperError::UnknownContainer {
                    container: *container,
                })?;
                Tree::Detached(from_container(directory, *container, init, path)?)
            }
        };
        let tree = match tree {
            Tree::Detached(tree) if mount.read_only => {
                sys::make_read_only(&tree).doing(|| format!("make {} read-only", mount.target.display()))?;
                match &mount.source {
                    MountSource::Host(_) => Tree::Detached(locked(directory, &tree)?),
                    MountSource::Keeper(_)
                    | MountSource::Container { .. }
                    | MountSource::Temporary { .. } => Tree::Detached(tree),
                }
            }
            other => other,
        };
        prepared.push(Prepared {
            target: mount.target.clone(),
            read_only: mount.read_only,
            tree,
        });
    }
    Ok(prepared)
}

impl Prepared {
    /// Mounts it in the container's root.
    pub(crate) fn attach(&self, targets: &mut Targets<'_>) -> Result<()> {
        match &self.tree {
            Tree::Detached(tree) => targets.attach(tree, &self.target, shape_of(tree.as_fd())?),
            Tree::Temporary { size, mode } => {
                let size = size.map(|size| size.to_string());
                let mode = format!("{mode:o}");
                let mut options = vec![("mode", mode.as_str())];
                options.extend(size.as_deref().map(|size| ("size", size)));
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                let mount = file_system("tmpfs", &options, attributes)
                    .doing(|| format!("make a temporary file system for {}", self.target.display()))?;
                if self.read_only {
                    sys::make_read_only(&mount)
                        .doing(|| format!("make {} read-only", self.target.display()))?;
                }
                targets.attach(mount, &self.target, Shape::Directory)
            }
        }
    }
}

pub(super) fn shape_of(tree: BorrowedFd<'_>) -> Result<Shape> {
    let status = rustix::fs::fstat(tree).doing(|| "look at what is to be mounted".into())?;
    Ok(
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            Shape::Directory
        } else {
            Shape::File
        },
    )
}

fn clone_of(source: BorrowedFd<'_>) -> std::result::Result<OwnedFd, Errno> {
    open_tree(source, "", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
}

/// A copy of the mounts that another container has at `path`. Goes there and comes back: this process has one thread.
fn from_container(
    directory: &OwnedFd,
    container: ContainerId,
    init: &OwnedFd,
    path: &Path,
) -> Result<OwnedFd> {
    let action = || format!("mount {} of container {container}", path.display());
    let back = rustix::fs::open(
        "/proc/self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(|| "open this process's mount namespace".into())?;
    match rustix::thread::move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::MOUNT) {
        Err(Errno::SRCH) => return Err(KeeperError::UnknownContainer { container }),
        other => other.doing(action)?,
    }
    let tree = found_or_made(&absolute(path)).and_then(|found| clone_of(found.as_fd()));
    rustix::thread::move_into_link_name_space(back.as_fd(), Some(LinkNameSpaceType::Mount))
        .doing(|| "return to the keeper's mount namespace".into())?;
    rustix::process::fchdir(directory).doing(|| "return to the keepers' directory".into())?;
    tree.doing(action)
}

/// What `path` names in the root that this process is in; a missing directory is made, as `docker run -v` does. Links
/// to what this process has open are refused: it holds more than the container may see.
fn found_or_made(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let root = beneath::own_root()?;
    match beneath::open_inside(&root, path, OFlags::PATH) {
        Err(Errno::NOENT) => match beneath::make_inside(&root, path) {
            // It is missing; that it cannot be made either explains nothing.
            Err(Errno::ROFS | Errno::ACCESS) => Err(Errno::NOENT),
            other => other,
        },
        other => other,
    }
}

/// Makes a file system that is mounted nowhere yet.
pub(crate) fn file_system(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

const NO_PROGRAMS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// `/proc` and `/sys`.
pub(crate) fn kernel_file_systems(targets: &mut Targets<'_>, own_network: bool) -> Result<()> {
    mount_proc(targets)?;
    let own = own_network
        .then(|| file_system("sysfs", &[], NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY).ok())
        .flatten();
    let sys = match own {
        Some(own) => own,
        // The kernel gives a sysfs only to who owns its network, and only where nothing of it is masked.
        None => {
            let bound = open_tree(CWD, "/sys", CLONE).doing(|| "copy /sys".into())?;
            sys::make_read_only(&bound).doing(|| "make /sys read-only".into())?;
            bound
        }
    };
    targets.attach(sys, Path::new("/sys"), Shape::Directory)
}

/// A `/proc` of this pid namespace; where the kernel refuses one because the one here is masked, the masked one.
pub(crate) fn mount_proc(targets: &mut Targets<'_>) -> Result<()> {
    let proc = match file_system("proc", &[], NO_PROGRAMS) {
        Ok(fresh) => fresh,
        Err(Errno::PERM) => open_tree(CWD, "/proc", CLONE).doing(|| "copy /proc".into())?,
        Err(errno) => return Err(errno).doing(|| "make a /proc".into()),
    };
    targets.attach(proc, Path::new("/proc"), Shape::Directory)
}

/// Makes `root` the root of this mount namespace and lets go of everything that was there before.
pub(crate) fn pivot(root: &OwnedFd) -> Result<()> {
    let action = || "make the container's file system the root".to_owned();
    rustix::process::fchdir(root).doing(action)?;
    // The old root ends up mounted over the new one, at the same place, and is taken off again.
    rustix::process::pivot_root(".", ".").doing(action)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing(action)?;
    rustix::process::chdir("/").doing(action)
}
