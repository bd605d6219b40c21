//! Files that are made for a container: mounted over what the root has, so that no layer ever holds them.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mounts::{Shape, Targets, file_system};
use crate::beneath;
use crate::error::{Doing as _, Result};
use crate::layout;
use crate::owner;
use crate::owners::{Owners, Ownership};
use crate::spec::GeneratedFile;
use crate::sys;

/// Writes `files` and mounts each at its path.
pub(crate) fn generated(
    directory: &OwnedFd,
    targets: &mut Targets<'_>,
    files: &[GeneratedFile],
    ownership: Ownership,
) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
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
    let owners = Owners::outside_layers(ownership);
    for (index, generated) in files.iter().enumerate() {
        let path = &generated.path;
        let action = || format!("make {} for the container", path.display());
        let name = index.to_string();
        let (uid, gid) = owner::ids(&path.to_string_lossy(), generated.owner)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&memory, &name, flags, Mode::from_raw_mode(0o600)).doing(action)?;
        // Owner first: changing it clears the set-id bits.
        match owners.own(file.as_fd(), uid, gid) {
            // Memory that takes no record (Linux before 6.6) is root's, as which every process reads it there.
            Err(Errno::OPNOTSUPP) if ownership == Ownership::Recorded => {}
            other => other.doing(action)?,
        }
        rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(generated.mode)).doing(action)?;
        std::io::Write::write_all(&mut std::fs::File::from(file), &generated.bytes).doing(action)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = open_tree(&memory, &name, flags).doing(action)?;
        if generated.read_only {
            sys::make_read_only(&copy).doing(|| format!("make {} read-only", path.display()))?;
        }
        targets.attach(copy, path, Shape::File)?;
    }
    Ok(())
}
