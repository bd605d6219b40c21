//! A file system of its own in a file, which fills up or stops without harm to the machine. Mounting needs root.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::succeed;

/// A file with ext4 in it; it is unmounted with the value.
pub(crate) struct Disk {
    pub(crate) file: PathBuf,
    pub(crate) mounted: PathBuf,
}

impl Disk {
    pub(crate) fn new(file: PathBuf, mounted: PathBuf, megabytes: u64) -> Result<Self> {
        std::fs::File::create(&file)?.set_len(megabytes << 20)?;
        succeed(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file))?;
        let disk = Self { file, mounted };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn mount(&self) -> Result<()> {
        succeed(
            Command::new("mount")
                .args(["-o", "loop"])
                .args([&self.file, &self.mounted]),
        )?;
        Ok(())
    }

    pub(crate) fn unmount(&self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}
