//! What stands for `/dev` and `/proc` where the kernel's own cannot be mounted.
//!
//! Devices are real ones, or, where none can be made, empty files for which whoever answers a step's system calls gives the real ones
//! ([`crate::supervisor`]). Of `/proc` there is what is the same for every process: programs ask it for the number of processors, the
//! memory, the kernel's version. What is of one process (`/proc/self/exe`, `/proc/self/fd`, and with it `/dev/stdin` and the like)
//! is not there: the kernel would have to make it up anew for each that asks.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev};

use super::manifest::open_directory;
use crate::error::{Doing as _, Result};
use crate::owners::Ownership;

/// Name, major and minor number: those that are safe for everybody.
pub(crate) const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Files of `/proc` that are copied as they are now.
const COPIED: [&str; 17] = [
    "cpuinfo",
    "meminfo",
    "version",
    "filesystems",
    "stat",
    "loadavg",
    "uptime",
    "devices",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/version",
    "sys/kernel/pid_max",
    "sys/kernel/ngroups_max",
    "sys/kernel/cap_last_cap",
    "sys/kernel/random/entropy_avail",
    "sys/vm/overcommit_memory",
    "sys/fs/file-max",
];

/// The only mount that is to be seen.
const MOUNTS: &str = "rootfs / rootfs rw 0 0\n";
const MOUNT_INFO: &str = "1 1 0:1 / / rw - rootfs rootfs rw\n";

/// Fills `/dev`.
pub(super) fn devices(dev: &OwnedFd, ownership: Ownership) -> Result<()> {
    for (name, major, minor) in DEVICES {
        match ownership {
            Ownership::Real => make_device(dev, name, major, minor),
            Ownership::Recorded | Ownership::RecordedWithModes => stand_for_device(dev, name),
        }
        .doing(|| format!("make /dev/{name}"))?;
    }
    for (name, mode) in [("shm", 0o1777), ("mqueue", 0o1777), ("pts", 0o755)] {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(mode))
            .and_then(|()| {
                rustix::fs::chmodat(dev, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            })
            .doing(|| format!("make /dev/{name}"))?;
    }
    Ok(())
}

fn stand_for_device(directory: &OwnedFd, name: &str) -> std::result::Result<(), rustix::io::Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o666)).map(drop)
}

/// Makes a character device that everybody may use.
pub(super) fn make_device(
    directory: &OwnedFd,
    name: &str,
    major: u32,
    minor: u32,
) -> std::result::Result<(), rustix::io::Errno> {
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        directory,
        name,
        FileType::CharacterDevice,
        mode,
        makedev(major, minor),
    )
}

/// Fills `/proc`.
pub(super) fn processes(proc: &OwnedFd) -> Result<()> {
    for path in COPIED {
        // Of what this place does not show there is nothing to copy.
        if let Ok(bytes) = std::fs::read(Path::new("/proc").join(path)) {
            write(proc, Path::new(path), &bytes)?;
        }
    }
    write(proc, Path::new("mounts"), MOUNTS.as_bytes())?;
    write(proc, Path::new("self/mounts"), MOUNTS.as_bytes())?;
    write(proc, Path::new("self/mountinfo"), MOUNT_INFO.as_bytes())
}

fn write(top: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<()> {
    let action = || format!("make /proc/{}", path.display());
    let mut directory = rustix::io::fcntl_dupfd_cloexec(top, 3).doing(action)?;
    let mut names: Vec<_> = path.iter().collect();
    let name = names.pop().unwrap_or_default();
    for folder in names {
        match rustix::fs::mkdirat(&directory, folder, Mode::from_raw_mode(0o555)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno).doing(action),
        }
        directory = open_directory(&directory, folder).doing(action)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o444)).doing(action)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), bytes).doing(action)
}
