//! What a keeper is executed from: a sealed copy of the binary in memory.
//!
//! Root of a container reaches, through `/proc/self/exe` of the process that brings it there, the file that this
//! process was executed from. Where the pod's root is an ordinary user that file may be the user's own, and a job
//! could change its mode, or the file itself once nothing runs from it any more. So the keeper is executed from a
//! memory file that nobody can write to; its execute bits are sealed too where the kernel can (Linux 6.3).
//!
//! Where the file's owner is nobody inside, a job can do nothing to it, and no copy is made.
//!
//! Failure: where memory files cannot be made or executed (`vm.memfd_noexec=2`, a security module), the keeper is
//! executed from the binary itself, and a job of the binary's own owner can change the binary's mode.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::io::Errno;

use crate::id_map::{IdMap, IdRange};

/// Read and execute, for who starts keepers and nobody else.
const MODE: u32 = 0o500;

/// The copies that this process has made: one, but for tests.
static COPIES: Mutex<Vec<(Identity, Arc<OwnedFd>)>> = Mutex::new(Vec::new());

/// Tells a file from one that has taken its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Something to be executed; keep it until it was.
pub(crate) struct Image {
    copy: Option<Arc<OwnedFd>>,
    original: PathBuf,
}

impl Image {
    /// What a keeper with these ids is to be executed from, when it is the program at `original`.
    pub(crate) fn of(original: &Path, map: &IdMap) -> Self {
        Self {
            copy: copy_if_needed(original, map).ok().flatten(),
            original: original.into(),
        }
    }

    /// The program at `original`, whoever may reach it.
    pub(crate) fn original(original: &Path) -> Self {
        Self {
            copy: None,
            original: original.into(),
        }
    }

    /// The binary itself.
    pub(crate) fn plain(self) -> Self {
        Self { copy: None, ..self }
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    pub(crate) fn path(&self) -> PathBuf {
        match &self.copy {
            Some(copy) => format!("/proc/self/fd/{}", copy.as_raw_fd()).into(),
            None => self.original.clone(),
        }
    }
}

fn copy_if_needed(original: &Path, map: &IdMap) -> std::io::Result<Option<Arc<OwnedFd>>> {
    let mut file = File::open(original)?;
    let status = file.metadata()?;
    let mapped = |ranges: &[IdRange], id: u32| {
        ranges
            .iter()
            .any(|range| id >= range.outside && id - range.outside < range.length)
    };
    let reachable = mapped(&map.uids, status.uid())
        || (mapped(&map.gids, status.gid()) && status.mode() & 0o020 != 0)
        || status.mode() & 0o002 != 0;
    if !reachable || !status.is_file() {
        return Ok(None);
    }
    let identity = Identity {
        device: status.dev(),
        inode: status.ino(),
        size: status.size(),
        modified: (status.mtime(), status.mtime_nsec()),
    };
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, copy)) = copies.iter().find(|(of, _)| *of == identity)
        && is_untouched(copy)
    {
        return Ok(Some(Arc::clone(copy)));
    }
    copies.retain(|(of, _)| *of != identity);
    let copy = Arc::new(sealed_copy(&mut file)?);
    copies.push((identity, Arc::clone(&copy)));
    Ok(Some(copy))
}

/// Before Linux 6.3 a job may still have taken the execute bits away.
fn is_untouched(copy: &OwnedFd) -> bool {
    rustix::fs::fstat(copy).is_ok_and(|status| status.st_mode & 0o7777 == MODE)
}

fn sealed_copy(file: &mut File) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create("shipway-keeper", flags | MemfdFlags::EXEC) {
        // A kernel that does not know the flag executes every memory file.
        Err(Errno::INVAL) => rustix::fs::memfd_create("shipway-keeper", flags)?,
        other => other?,
    };
    let mut memory = File::from(memory);
    // By sendfile where the kernel can.
    std::io::copy(file, &mut memory)?;
    rustix::fs::fchmod(memory.as_fd(), Mode::from_raw_mode(MODE))?;
    match rustix::fs::fcntl_add_seals(&memory, SealFlags::EXEC) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, all)?;
    Ok(memory.into())
}
