//! A thread whose call is being answered: its memory, its paths.
//!
//! All that it says is hostile. Paths are resolved from its own root and its own directory, and never through links of `/proc`, which
//! would lead into this process. What is opened is opened as a place only (`O_PATH`), which waits for nobody and does nothing.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::calls::Named;
use crate::sys::notification;

/// Bytes of a path, its end included, as the kernel takes it.
const LONGEST: usize = 4096;
const PAGE: usize = 4096;

/// What is known beforehand: `/proc` of the namespace that threads are numbered in, and the supervisor's own root.
pub(super) struct View {
    pub(super) processes: OwnedFd,
    /// Device and inode.
    root: (u32, u32, u64),
}

impl View {
    pub(super) fn new(processes: OwnedFd) -> Result<Self, Errno> {
        let root = identity(rustix::fs::CWD, "/")?;
        Ok(Self { processes, root })
    }
}

fn identity(at: impl std::os::fd::AsFd, path: &str) -> Result<(u32, u32, u64), Errno> {
    let status = rustix::fs::statx(at, path, AtFlags::empty(), StatxFlags::INO)?;
    Ok((status.stx_dev_major, status.stx_dev_minor, status.stx_ino))
}

/// A thread that waits.
pub(super) struct Task<'v> {
    view: &'v View,
    pub(super) thread: Pid,
}

impl<'v> Task<'v> {
    pub(super) fn new(view: &'v View, thread: Pid) -> Self {
        Self { view, thread }
    }

    pub(super) fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        let read = notification::read_memory(self.thread, address, &mut bytes)?;
        if read == length {
            Ok(bytes)
        } else {
            Err(Errno::FAULT)
        }
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        notification::write_memory(self.thread, address, bytes)
    }

    /// Text up to its zero byte, read page by page: behind its end there may be no memory.
    pub(super) fn text(&self, mut address: u64) -> Result<PathBuf, Errno> {
        let mut text = Vec::new();
        while text.len() < LONGEST {
            let left = PAGE - usize::try_from(address % PAGE as u64).unwrap_or(0);
            let mut piece = [0; PAGE];
            let length = notification::read_memory(self.thread, address, &mut piece[..left])?;
            let piece = &piece[..length];
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&piece[..end]);
                return if text.len() < LONGEST {
                    Ok(PathBuf::from(OsStr::from_bytes(&text)))
                } else {
                    Err(Errno::NAMETOOLONG)
                };
            }
            if length == 0 {
                return Err(Errno::FAULT);
            }
            text.extend_from_slice(piece);
            address = address.checked_add(length as u64).ok_or(Errno::FAULT)?;
        }
        Err(Errno::NAMETOOLONG)
    }

    /// What a call names, as a place.
    pub(super) fn open(&self, named: Named) -> Result<OwnedFd, Errno> {
        let path = named.path.map(|address| self.text(address)).transpose()?;
        match path {
            None => self.descriptor(named.directory),
            Some(path) if path.as_os_str().is_empty() => {
                if named.may_be_empty {
                    self.descriptor(named.directory)
                } else {
                    Err(Errno::NOENT)
                }
            }
            Some(path) => self.resolve(named.directory, &path, named.follows),
        }
    }

    /// The directory that something is to be made in, and its name. None where the kernel is to say what is wrong.
    pub(super) fn parent(&self, named: Named) -> Result<Option<(OwnedFd, PathBuf)>, Errno> {
        let Some(address) = named.path else {
            return Ok(None);
        };
        let path = self.text(address)?;
        let bytes = path.as_os_str().as_bytes();
        let end = bytes
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |last| last + 1);
        let start = bytes[..end]
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let (parent, name) = (&bytes[..start], &bytes[start..end]);
        if name.is_empty() || name == b"." || name == b".." {
            return Ok(None);
        }
        let parent = match parent {
            b"" => self.descriptor(named.directory)?,
            parent => self.resolve(named.directory, Path::new(OsStr::from_bytes(parent)), true)?,
        };
        Ok(Some((parent, PathBuf::from(OsStr::from_bytes(name)))))
    }

    /// A descriptor of the thread, or its working directory.
    fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        let name = if number == libc::AT_FDCWD {
            self.file("cwd")
        } else {
            self.file(&format!("fd/{number}"))
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.view.processes, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Err(Errno::BADF),
            other => other,
        }
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.thread.as_raw_nonzero())
    }

    fn resolve(&self, directory: i32, path: &Path, follows: bool) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follows {
            flags |= OFlags::NOFOLLOW;
        }
        let root = self.file("root");
        let has_own_root = identity(&self.view.processes, &root)? != self.view.root;
        if path.is_relative() && !has_own_root {
            let directory = self.descriptor(directory)?;
            return open(&directory, path, flags, ResolveFlags::NO_MAGICLINKS);
        }
        let place = rustix::fs::openat(
            &self.view.processes,
            root.as_str(),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let path = if path.is_relative() {
            // As it is called from here, less what its root is called.
            let whole = self.name_of(&self.descriptor(directory)?)?;
            let root = self.name_of(&place)?;
            whole.strip_prefix(&root).map_err(|_| Errno::NOENT)?.join(path)
        } else {
            path.to_owned()
        };
        open(
            &place,
            &path,
            flags,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// What the kernel calls an open file of this process.
    pub(super) fn name_of(&self, file: &OwnedFd) -> Result<PathBuf, Errno> {
        let name = rustix::fs::readlinkat(&self.view.processes, own(file), Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(name.as_bytes())))
    }

    pub(super) fn umask(&self) -> Result<Mode, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.view.processes, self.file("status"), flags, Mode::empty())?;
        let mut bytes = [0; 512];
        let length = rustix::io::read(file, &mut bytes)?;
        let text = std::str::from_utf8(&bytes[..length]).map_err(|_| Errno::IO)?;
        text.lines()
            .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok())
            .map(Mode::from_raw_mode)
            .ok_or(Errno::IO)
    }
}

/// The name of an open file of this process in its `/proc`, where it is that this process stands.
pub(super) fn own(file: &OwnedFd) -> String {
    format!("self/fd/{}", file.as_raw_fd())
}

fn open(at: &OwnedFd, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(at, path, flags, Mode::empty(), how) {
            // Something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}
