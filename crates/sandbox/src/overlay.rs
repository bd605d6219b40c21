//! Root file systems as overlay mounts.
//!
//! Always with `userxattr`: without it a mount in a user namespace succeeds and later fails at removing directories.
//! Layers are named by descriptors, as numbers below `/proc/self/fd`: that needs no permission on the directories
//! above, no escaping, fits 200 layers and more into the one page that mount options may take, and works on kernels
//! from before overlayfs took layers one by one.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Timestamps, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::layout;
use crate::owners::{Owners, Ownership};
use crate::spec::RootSpec;
use crate::tree;

/// Whether changes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// As the spec says: writable if it has an upper directory.
    AsSpecified,
    /// Only looking: an upper directory becomes the topmost layer, so that a container may be using it.
    View,
}

/// Mounts `root` on the keeper's mount point and returns it opened. The calling process must have a mount namespace
/// of its own, and `directory` must be of that namespace. Changes the working directory.
pub(crate) fn mount(
    directory: &OwnedFd,
    root: &RootSpec,
    access: Access,
    ownership: Ownership,
) -> Result<OwnedFd> {
    let mut layers = Vec::with_capacity(root.layers.len() + 2);
    for layer in &root.layers {
        layers.push(beneath::open(directory, layer)?);
    }
    let upper = match (&root.upper, access) {
        (Some(upper), Access::AsSpecified) => {
            Some(Upper::prepare(directory, upper, layers.last(), ownership)?)
        }
        (Some(upper), Access::View) => {
            layers.push(beneath::open(directory, &upper.join("fs"))?);
            None
        }
        (None, _) => None,
    };
    let wanted = if upper.is_some() { 1 } else { 2 };
    for empty in layout::EMPTY {
        if layers.len() < wanted {
            layers.insert(0, beneath::open(directory, Path::new(empty))?);
        }
    }
    let numbers: Vec<_> = layers
        .iter()
        .rev()
        .map(|layer| layer.as_raw_fd().to_string())
        .collect();
    let mut options = format!("userxattr,lowerdir={}", numbers.join(":"));
    let mut flags = MountFlags::empty();
    if let Some(upper) = &upper {
        let (changes, work) = (upper.changes.as_raw_fd(), upper.work.as_raw_fd());
        options.push_str(&format!(",upperdir={changes},workdir={work}"));
    } else {
        flags |= MountFlags::RDONLY;
    }
    let target = beneath::open(directory, Path::new(layout::ROOT))?;
    let target_path = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::process::chdir("/proc/self/fd").doing(|| "enter /proc/self/fd (is /proc mounted?)".into())?;
    mount_overlay(&target_path, flags, &options, upper.is_some())
        .doing(|| format!("mount an overlay of {} layers", numbers.len()))?;
    rustix::process::fchdir(directory).doing(|| "enter the keepers' directory".into())?;
    // The place that `target` names is now below the mount.
    beneath::open_with(
        directory,
        Path::new(layout::ROOT),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )
}

fn mount_overlay(
    target: &str,
    flags: MountFlags,
    options: &str,
    writable: bool,
) -> std::result::Result<(), Errno> {
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", target, "overlay", flags, options.as_c_str())
    };
    if writable {
        // A crash loses the container anyway, so nothing needs to be synced; kernels before 5.10 do not know it.
        match mount(&format!("{options},volatile")) {
            Err(Errno::INVAL) => {}
            other => return other,
        }
    }
    mount(options)
}

/// The two directories that a writable overlay needs.
struct Upper {
    changes: OwnedFd,
    work: OwnedFd,
}

impl Upper {
    fn prepare(
        directory: &OwnedFd,
        upper: &Path,
        top: Option<&OwnedFd>,
        ownership: Ownership,
    ) -> Result<Self> {
        let home = beneath::open_with(directory, upper, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let made = match rustix::fs::mkdirat(&home, "fs", Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno).doing(|| format!("make {}/fs", upper.display())),
        };
        let changes = beneath::open_with(&home, Path::new("fs"), OFlags::RDONLY | OFlags::DIRECTORY)?;
        if let Some(top) = top.filter(|_| made) {
            copy_attributes(top, &changes, &Owners::outside_layers(ownership))
                .doing(|| format!("make {}/fs", upper.display()))?;
        }
        // What an earlier mount left: a volatile one must not be mounted again without a fresh work directory.
        tree::remove(&home, Path::new("work"))?;
        rustix::fs::mkdirat(&home, "work", Mode::from_raw_mode(0o700))
            .doing(|| format!("make {}/work", upper.display()))?;
        Ok(Self {
            changes,
            work: beneath::open(&home, Path::new("work"))?,
        })
    }
}

/// The merged root looks as the upper directory does, so that must look as the topmost layer.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd, owners: &Owners) -> std::result::Result<(), Errno> {
    // Opened as a place, it has no attributes to be read.
    let from = rustix::fs::openat(
        from,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let status = owners.corrected_open(&from, rustix::fs::fstat(&from)?)?;
    owners.own(to, Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &modified_at(status.st_mtime, status.st_mtime_nsec as i64))
}

/// Times of a file that was last modified then.
pub(crate) fn modified_at(seconds: i64, nanoseconds: i64) -> Timestamps {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Makes `root` this process's root, in a mount namespace of its own, for looking or writing without a container.
pub(crate) fn enter(
    directory: &OwnedFd,
    root: &RootSpec,
    access: Access,
    ownership: Ownership,
) -> Result<()> {
    if access == Access::AsSpecified && root.upper.is_none() {
        return Err(nowhere_to_write());
    }
    let directory = own_mounts(directory)?;
    let root = mount(&directory, root, access, ownership)?;
    enter_directory(&root)
}

/// A root that is a view cannot be changed.
pub(crate) fn nowhere_to_write() -> KeeperError {
    KeeperError::Path {
        path: layout::ROOT.into(),
        reason: "the root has no upper directory to write to".into(),
    }
}

/// Makes an open directory this process's root.
pub(crate) fn enter_directory(root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root).doing(|| "enter the root".into())?;
    rustix::process::chroot(".").doing(|| "make it the root".into())?;
    rustix::process::chdir("/").doing(|| "enter the root".into())
}

/// Leaves the keeper's mount namespace for a new one and returns the keepers' directory as that one has it: a
/// directory of another mount namespace can be neither mounted nor mounted on.
pub(crate) fn own_mounts(directory: &OwnedFd) -> Result<OwnedFd> {
    rustix::process::fchdir(directory).doing(|| "enter the keepers' directory".into())?;
    crate::sys::unshare(rustix::thread::UnshareFlags::NEWNS).doing(|| "make a mount namespace".into())?;
    crate::launcher::open_directory(Path::new("."))
}
