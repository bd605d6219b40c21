//! Files that are made for somebody who is not root, or in a directory that gives its group, and devices that are opened.
//!
//! The call is carried out here, with the caller's mask, so that what is made has its owner before the caller sees it. What turns out to
//! be nothing new, or to be root's, is left to the kernel.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::calls::{MAKING, Made, Named};
use super::files::{Files, made};
use super::task::Task;

/// The flag of a file that is made under a name, or opened if it is there.
const CREATING: u32 = libc::O_CREAT.cast_unsigned();

/// What became of a call that makes something.
pub(super) enum Outcome {
    /// The kernel's to do.
    Left,
    Done,
    /// A file for the caller, and whether it is to be closed when the caller executes a program.
    Opened(OwnedFd, bool),
}

/// Makes what a call asks for. `maker` gives user and group that its files have, of a caller that still waits.
pub(super) fn make(
    task: &Task<'_>,
    files: &mut Files,
    maker: impl Fn() -> Result<(u32, u32), Errno>,
    named: Named,
    what: Made,
) -> Result<Outcome, Errno> {
    let what = match what {
        Made::OpenedHow(address, length) => match read_how(task, address, length)? {
            Some((flags, mode)) => Made::Opened(flags, mode),
            None => return Ok(Outcome::Left),
        },
        what => what,
    };
    if let Made::Opened(flags, mode) = what {
        let asked = OFlags::from_bits_retain(flags.cast_unsigned());
        if let Some(device) = files.devices.open(task, named, asked)? {
            return Ok(Outcome::Opened(device, asked.contains(OFlags::CLOEXEC)));
        }
        match flags.cast_unsigned() & MAKING {
            0 => return Ok(Outcome::Left),
            CREATING => {}
            _ => return nameless(task, files, maker()?, named, (flags, mode)),
        }
    }
    let maker = maker()?;
    let Some((parent, name)) = task.parent(named)? else {
        return Ok(Outcome::Left);
    };
    let owner = files.owner_in(&parent, maker)?;
    if owner == (0, 0) {
        return Ok(Outcome::Left);
    }
    let outcome = match what {
        Made::Opened(flags, mode) => {
            return file(task, files, owner, (&parent, &name), (flags, mode));
        }
        Made::OpenedHow(..) => return Ok(Outcome::Left),
        Made::Directory(mode) => masked(task, || {
            rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(mode))
        }),
        Made::Link(target) => {
            let target = task.text(target)?;
            rustix::fs::symlinkat(target, &parent, &name)
        }
        Made::Node(mode) => match FileType::from_raw_mode(mode) {
            FileType::Fifo | FileType::Socket | FileType::RegularFile => {
                let kind = FileType::from_raw_mode(mode);
                let mode = Mode::from_raw_mode(mode & 0o7777);
                masked(task, || rustix::fs::mknodat(&parent, &name, kind, mode, 0))
            }
            // Devices are refused by the kernel, as in every user namespace; no kind at all means a file.
            _ => return Ok(Outcome::Left),
        },
    };
    outcome?;
    files.give_new(task, &made(&parent, &name)?, owner)?;
    Ok(Outcome::Done)
}

fn file(
    task: &Task<'_>,
    files: &mut Files,
    owner: (u32, u32),
    (parent, name): (&OwnedFd, &Path),
    (flags, mode): (i32, u32),
) -> Result<Outcome, Errno> {
    let asked = OFlags::from_bits_retain(flags.cast_unsigned());
    if asked.intersects(OFlags::PATH | OFlags::DIRECTORY) {
        return Ok(Outcome::Left);
    }
    let flags = asked | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = masked(task, || {
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode & 0o7777))
    });
    match opened {
        Ok(file) => {
            files.give_new(task, &file, owner)?;
            Ok(Outcome::Opened(file, asked.contains(OFlags::CLOEXEC)))
        }
        // There already, which is an error or not as the caller asked.
        Err(Errno::EXIST) => Ok(Outcome::Left),
        Err(errno) => Err(errno),
    }
}

/// A file without a name, which may get one later.
fn nameless(
    task: &Task<'_>,
    files: &mut Files,
    maker: (u32, u32),
    named: Named,
    (flags, mode): (i32, u32),
) -> Result<Outcome, Errno> {
    let directory = task.open(Named {
        follows: true,
        ..named
    })?;
    let owner = files.owner_in(&directory, maker)?;
    if owner == (0, 0) {
        return Ok(Outcome::Left);
    }
    let asked = OFlags::from_bits_retain(flags.cast_unsigned());
    let flags = asked | OFlags::CLOEXEC;
    let file = masked(task, || {
        rustix::fs::openat(&directory, ".", flags, Mode::from_raw_mode(mode & 0o7777))
    })?;
    files.give_new(task, &file, owner)?;
    Ok(Outcome::Opened(file, asked.contains(OFlags::CLOEXEC)))
}

/// Does something under the caller's mask. This process has one thread.
fn masked<T>(task: &Task<'_>, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let own = rustix::process::umask(task.umask()?);
    let made = make();
    rustix::process::umask(own);
    made
}

/// Flags and mode of `openat2`, if there are no more conditions.
fn read_how(task: &Task<'_>, address: u64, length: u64) -> Result<Option<(i32, u32)>, Errno> {
    if length < 24 {
        return Ok(None);
    }
    let bytes = task.read(address, 24)?;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_ne_bytes(number)
    };
    let (flags, mode, conditions) = (number(0), number(8), number(16));
    let (Ok(flags), Ok(mode)) = (u32::try_from(flags), u32::try_from(mode)) else {
        return Ok(None);
    };
    Ok((conditions == 0).then_some((flags.cast_signed(), mode)))
}
