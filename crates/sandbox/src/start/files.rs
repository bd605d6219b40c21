//! Files that are made for a container: mounted over what the root has, so that no layer ever holds them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mounts::{Shape, Targets, file_system};
use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::layout;

/// Writes `files` and mounts each at its path.
pub(crate) fn generated(
    directory: &OwnedFd,
    targets: &mut Targets<'_>,
    files: &[(PathBuf, Vec<u8>)],
) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let memory = file_system("tmpfs", &[("mode", "755")], attributes)
        .doing(|| "make a file system for generated files".into())?;
    // Attached for a moment: files of a mount that is mounted nowhere cannot be mounted elsewhere. The old root
    // takes it away with itself.
    let target = beneath::open(directory, Path::new(layout::FILES))?;
    move_mount(
        &memory,
        "",
        &target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .doing(|| "mount generated files".into())?;
    for (index, (path, bytes)) in files.iter().enumerate() {
        let action = || format!("make {} for the container", path.display());
        let name = index.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&memory, &name, flags, Mode::from_raw_mode(0o644)).doing(action)?;
        std::io::Write::write_all(&mut std::fs::File::from(file), bytes).doing(action)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = open_tree(&memory, &name, flags).doing(action)?;
        targets.attach(copy, path, Shape::File)?;
    }
    Ok(())
}
