//! How much of the disk files take that processes hold open and that have no name any more.
//!
//! A worker of the keeper looks, since it is root of the pod's user namespace and may see the descriptors of all its processes.
//! Whatever it asks is answered by the kernel alone: a job may mount a file system that it serves itself, and would not answer.
//!
//! Not found: what is only mapped, or on its way through a socket.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxFlags, makedev};
use rustix::io::Errno;

use crate::error::{Doing as _, Result};
use crate::usage::{BLOCK, DiskUsage};

/// Descriptors that are looked at. Who has more counts as growing: nobody hides among them.
const MOST: usize = 1_000_000;
/// What the kernel puts behind the path of a file that has lost it.
const LOST: &[u8] = b" (deleted)";

/// What these processes, as the keeper's `/proc` numbers them, hold of the file system of `directory`, with what containers have
/// on it. One that has ended, or is not the pod's to see, holds nothing.
pub(crate) fn usage(directory: &OwnedFd, processes: &[u32]) -> Result<DiskUsage> {
    let place = rustix::fs::fstat(directory).doing(|| "look at the keepers' directory".into())?;
    let mut search = Search {
        place: place.st_dev,
        seen: BTreeSet::new(),
        left: MOST,
        total: DiskUsage::default(),
    };
    for process in processes {
        match search.look_at(*process) {
            Ok(()) => {}
            Err(_) if search.left > 0 => {}
            Err(_) => return Ok(DiskUsage::BEYOND),
        }
    }
    Ok(search.total)
}

struct Search {
    place: u64,
    /// By file system and number: processes share what they open.
    seen: BTreeSet<(u64, u64)>,
    left: usize,
    total: DiskUsage,
}

impl Search {
    fn look_at(&mut self, process: u32) -> std::result::Result<(), Errno> {
        let descriptors = rustix::fs::openat(
            CWD,
            format!("/proc/{process}/fd"),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut layered = None;
        for entry in Dir::read_from(&descriptors)? {
            let entry = entry?;
            self.left = self.left.checked_sub(1).ok_or(Errno::MFILE)?;
            let leads = rustix::fs::readlinkat(&descriptors, entry.file_name(), Vec::new());
            // Not one of `.` and `..`, and closed meanwhile perhaps.
            if !leads.is_ok_and(|path| path.as_bytes().ends_with(LOST)) {
                continue;
            }
            let asked = StatxFlags::NLINK | StatxFlags::INO | StatxFlags::BLOCKS;
            let without_waiting = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
            let Ok(file) = rustix::fs::statx(&descriptors, entry.file_name(), without_waiting, asked) else {
                continue;
            };
            let device = makedev(file.stx_dev_major, file.stx_dev_minor);
            let is_here = device == self.place
                || layered
                    .get_or_insert_with(|| layered_devices(process))
                    .contains(&device);
            if file.stx_nlink == 0 && is_here && self.seen.insert((device, file.stx_ino)) {
                self.total = self.total.plus(DiskUsage {
                    bytes: file.stx_blocks.saturating_mul(BLOCK),
                    files: 1,
                });
            }
        }
        Ok(())
    }
}

/// The overlays that a process sees: a file of a container says that it is of one, and lies in the pod's directory.
fn layered_devices(process: u32) -> BTreeSet<u64> {
    let mounts = std::fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    String::from_utf8_lossy(&mounts)
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let device = mount.split(' ').nth(2)?;
            let (major, minor) = device.split_once(':')?;
            (kind.split(' ').next()? == "overlay")
                .then_some(makedev(major.parse().ok()?, minor.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_without_a_name_is_found_once_and_one_with_a_name_is_not() {
        let place = tempfile::tempdir().unwrap();
        let directory = crate::launcher::open_directory(place.path()).unwrap();
        let named = std::fs::File::create(place.path().join("named (deleted)")).unwrap();
        (&named).write_all(&vec![1; 1 << 20]).unwrap();
        let mut lost = tempfile::tempfile_in(place.path()).unwrap();
        lost.write_all(&vec![1; 1 << 20]).unwrap();
        lost.sync_all().unwrap();
        let _again = lost.try_clone().unwrap();
        let here = std::process::id();
        let found = usage(&directory, &[here, here, u32::MAX]).unwrap();
        assert!(found.bytes >= 1 << 20, "{found:?}");
        drop((lost, _again));
        let left = usage(&directory, &[here]).unwrap();
        assert!(left.bytes + (1 << 20) <= found.bytes, "{left:?} of {found:?}");
    }
}
