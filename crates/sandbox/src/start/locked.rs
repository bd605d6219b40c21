//! Read-only mounts that stay so, whatever root of a container does.
//!
//! Root of a container administers its mount namespace, and may make writable again what was made read-only there. The kernel
//! locks a mount's restrictions when a mount namespace is copied into another user namespace, and copies of a locked mount are
//! locked. So the mount makes a detour: it is copied into a user namespace that lives for a moment, and taken from there.
//!
//! Needed where the other side of a mount is the machine's. What belongs to the pod, a container of it can do no more harm to
//! than the pod itself.
//!
//! Failure: where no user namespace may be made below the pod's, the mount is refused rather than left open.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;

use super::mounts::{Targets, file_system, shape_of};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::layout;
use crate::overlay;
use crate::sys::{self, Fork};
use crate::wire;

/// A copy of a detached mount, and of all below it, that cannot be made less restricted than it is.
pub(super) fn locked(directory: &OwnedFd, mount: &OwnedFd) -> Result<OwnedFd> {
    let (near, far) = wire::pair()?;
    // Another process, so that this one stays in its namespaces.
    match sys::fork().doing(|| "fork to lock a mount".into())? {
        Fork::Child => {
            drop(near);
            let told = match copy_from_below(directory, mount) {
                Ok(copy) => wire::send(&far, &Ok::<(), KeeperError>(()), &[copy.as_fd()]),
                Err(error) => wire::send(&far, &Err::<(), KeeperError>(error), &[]),
            };
            sys::exit(i32::from(told.is_err()));
        }
        Fork::Parent(pid) => {
            drop(far);
            let answer = wire::receive::<Result<()>>(&near);
            // It has answered or ended; its code says nothing more.
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
            let (told, fds) = answer?.ok_or(KeeperError::Gone)?;
            told?;
            fds.into_iter().next().ok_or_else(|| KeeperError::Message {
                reason: "a locked mount without its descriptor".into(),
            })
        }
    }
}

/// Where a mount is copied from, below [`layout::FILES`].
const PLACE: &str = "place";

/// The child's part: leaves this process in other namespaces.
fn copy_from_below(directory: &OwnedFd, mount: &OwnedFd) -> Result<OwnedFd> {
    let directory = overlay::own_mounts(directory)?;
    // A place of the mount's own kind, which only this process sees.
    let memory = file_system("tmpfs", &[("mode", "700")], MountAttrFlags::empty())
        .doing(|| "make a place for a mount that is to be locked".into())?;
    let files = beneath::open(&directory, Path::new(layout::FILES))?;
    move_mount(
        &memory,
        "",
        &files,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .doing(|| "mount a place for a mount that is to be locked".into())?;
    Targets::new(&memory).attach(mount, Path::new(PLACE), shape_of(mount.as_fd())?)?;
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
        .doing(|| "make a user namespace below the pod's, to lock a read-only mount".into())?;
    // The working directory is the keepers', as the new mount namespace has it.
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, Path::new(layout::FILES).join(PLACE), flags).doing(|| "copy a locked mount".into())
}
