//! The devices of a container: those that are safe for everybody, bound from this machine.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::mounts::{Shape, Targets, file_system};
use crate::error::{Doing as _, Result};

const BOUND: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes `/dev`.
pub(crate) fn devices(targets: &mut Targets<'_>) -> Result<()> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let quiet = nosuid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = file_system("tmpfs", &[("mode", "755"), ("size", "65536k")], nosuid)
        .doing(|| "make a file system for /dev".into())?;
    targets.attach(&dev, Path::new("/dev"), Shape::Directory)?;
    fill(&dev)?;

    // What is made from here on lies in that file system, not in the root: no mount point to remember.
    let mut inside = Targets::new(&dev);
    for name in BOUND {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let device =
            open_tree(CWD, Path::new("/dev").join(name), flags).doing(|| format!("copy /dev/{name}"))?;
        inside.attach(device, Path::new(name), Shape::File)?;
    }
    let terminals = file_system(
        "devpts",
        &[
            ("newinstance", ""),
            ("ptmxmode", "0666"),
            ("mode", "0620"),
            ("gid", "5"),
        ],
        quiet,
    )
    .or_else(|_| file_system("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], quiet))
    .doing(|| "make a file system for /dev/pts".into())?;
    inside.attach(terminals, Path::new("pts"), Shape::Directory)?;
    let shared = file_system(
        "tmpfs",
        &[("mode", "1777"), ("size", "65536k")],
        quiet | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
    .doing(|| "make a file system for /dev/shm".into())?;
    inside.attach(shared, Path::new("shm"), Shape::Directory)?;
    // Kernels without POSIX message queues are no obstacle.
    if let Ok(queues) = file_system("mqueue", &[], quiet | MountAttrFlags::MOUNT_ATTR_NODEV) {
        inside.attach(queues, Path::new("mqueue"), Shape::Directory)?;
    }
    Ok(())
}

fn fill(dev: &OwnedFd) -> Result<()> {
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, dev, name).doing(|| format!("make /dev/{name}"))?;
    }
    for name in BOUND {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666))
            .doing(|| format!("make /dev/{name}"))?;
    }
    Ok(())
}
