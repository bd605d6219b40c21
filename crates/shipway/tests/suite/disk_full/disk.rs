//! A data directory on a disk of its own, on which a test leaves as much room as it likes.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use shipway_testkit::{Account, processes_naming, wait_for};

use crate::harness::{User, leftovers, names, succeed};

/// What a tmpfs counts in.
pub(super) const PAGE: u64 = 4096;

/// The disk below a user's data directory; unmounted with the value.
pub(super) struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    /// A user whose data directory is a disk of 64 MiB that belongs to the account.
    pub(super) fn user(account: Account) -> Result<(User, Self)> {
        // No job is ended before the disk is full.
        let user = User::new(account)?.with_settings("[limits]\ndisk_reserve = \"0\"\n")?;
        let mounted = user.home.data();
        let mut options = "size=64m,mode=0755".to_owned();
        if let Account::Ordinary { uid, gid } = account {
            options.push_str(&format!(",uid={uid},gid={gid}"));
        }
        succeed(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&mounted),
        )?;
        Ok((user, Self { mounted }))
    }

    /// Leaves that many pages free.
    pub(super) fn leave(&self, pages: u64) -> Result<()> {
        self.make_room()?;
        let free = statvfs(&self.mounted)?.f_bavail;
        let taken = free.checked_sub(pages).context("the disk is smaller than that")?;
        let filler = std::fs::File::create(self.filler())?;
        fallocate(&filler, FallocateFlags::empty(), 0, taken * PAGE)?;
        let left = statvfs(&self.mounted)?.f_bavail;
        ensure!(left == pages, "{left} pages are free instead of {pages}");
        Ok(())
    }

    /// There is room again.
    pub(super) fn make_room(&self) -> Result<()> {
        match std::fs::remove_file(self.filler()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }

    /// Whether a command that has ended left a process, a mount, a pod or half of a blob behind.
    pub(super) fn is_tidy(&self, user: &User) -> Result<()> {
        wait_for(Duration::from_secs(10), || {
            let mut left = processes_naming(user.home.path());
            left.extend(leftovers(&self.mounted));
            left.extend(names(&self.mounted.join("store/incoming")));
            if left.is_empty() {
                return Ok(());
            }
            Err(format!("left behind: {left:?}"))
        })?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let home = user.home.path().to_string_lossy().into_owned();
        let found: Vec<_> = mounts.lines().filter(|line| line.contains(&home)).collect();
        ensure!(found.len() == 1, "mounts left behind: {found:?}");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}
