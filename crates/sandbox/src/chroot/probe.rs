//! Whether this place gives what containers in trees need: asked of the kernel by doing it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::WaitOptions;

use super::{kernel_files, manifest};
use crate::error::{Doing as _, KeeperError, Result};
use crate::landlock::Landlock;
use crate::overlay;
use crate::owners::{Owners, Ownership};
use crate::sys::{self, Fork};
use crate::tree::remove_entry;

/// Makes a device, gives a file away, marks it, and enters a directory.
pub(crate) fn examine(directory: &OwnedFd) -> Result<String> {
    examine_by(directory, try_in)
}

/// The same without a device, and with the owner as it is recorded.
pub(crate) fn examine_tree(directory: &OwnedFd, ownership: Ownership) -> Result<String> {
    examine_by(directory, |place| {
        try_to_enter(place, &Owners::outside_layers(ownership))
    })
}

/// Marks a file as gone, a directory as new, and finds a file behind a link out of it.
pub(crate) fn examine_files(directory: &OwnedFd) -> Result<String> {
    examine_by(directory, try_with)
}

fn examine_by(directory: &OwnedFd, attempt: impl FnOnce(&OwnedFd) -> Result<String>) -> Result<String> {
    let name = c"chroot-probe";
    let home = crate::beneath::open_with(
        directory,
        std::path::Path::new(".keeper"),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )?;
    remove_entry(&home, &name.to_owned()).doing(|| "remove what an earlier probe left".into())?;
    rustix::fs::mkdirat(&home, name, Mode::from_raw_mode(0o700)).doing(|| "make a directory".into())?;
    let tried = manifest::open_directory(&home, OsStr::new("chroot-probe"))
        .doing(|| "open a directory".into())
        .and_then(|place| attempt(&place));
    remove_entry(&home, &name.to_owned()).doing(|| "remove a probe".into())?;
    tried
}

fn try_with(place: &OwnedFd) -> Result<String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(place, "file", flags, Mode::from_raw_mode(0o600)).doing(|| "make a file".into())?;
    let marked = || "mark a file (does the file system take extended attributes?)".to_owned();
    crate::archive::whiteout::make(place, OsStr::new("gone")).doing(marked)?;
    crate::archive::whiteout::make_opaque(place).doing(marked)?;
    rustix::fs::symlinkat("/file", place, "link").doing(|| "make a link".into())?;
    crate::beneath::open_inside(place, std::path::Path::new("link"), OFlags::PATH)
        .doing(|| "follow a link inside a tree (openat2)".into())?;
    Ok("a tree can be made and read".into())
}

fn try_in(place: &OwnedFd) -> Result<String> {
    kernel_files::make_device(place, "null", 1, 3).doing(|| "make a device".into())?;
    try_to_enter(place, &Owners::default())
}

fn try_to_enter(place: &OwnedFd, owners: &Owners) -> Result<String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place, "file", flags, Mode::from_raw_mode(0o600))
        .doing(|| "make a file".into())?;
    owners
        .own(&file, Uid::from_raw(1), Gid::from_raw(1))
        .doing(|| "give a file to another user".into())?;
    crate::archive::whiteout::make(place, OsStr::new("gone"))
        .doing(|| "mark a file as gone (does the file system take extended attributes?)".into())?;
    match sys::fork().doing(|| "fork".into())? {
        Fork::Child => sys::exit(match overlay::enter_directory(place) {
            Ok(()) => 0,
            Err(KeeperError::System { cause, .. }) => cause.errno(),
            Err(_) => libc::EIO,
        }),
        Fork::Parent(pid) => {
            let waited =
                rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))
                    .doing(|| "wait for a child".into())?;
            match waited.and_then(|(_, status)| status.exit_status()) {
                Some(0) => {}
                Some(errno) => {
                    return Err(rustix::io::Errno::from_raw_os_error(errno))
                        .doing(|| "change the root".into());
                }
                None => {
                    return Err(KeeperError::Worker {
                        how: "killed while it changed its root".into(),
                    });
                }
            }
        }
    }
    Ok("a tree can be made and entered".into())
}

/// What Landlock does here, or what is missing.
pub(crate) fn landlock() -> std::result::Result<String, &'static str> {
    match Landlock::here() {
        Landlock::Scopes(version) => Ok(format!(
            "version {version}: files, tracing, signals, abstract sockets"
        )),
        Landlock::Files(version) => Ok(format!("version {version}: files and tracing")),
        Landlock::Missing => Err("not offered by the kernel, or forbidden by the container engine"),
    }
}
