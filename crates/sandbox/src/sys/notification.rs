//! System calls of other processes, answered by this one, and what is needed to look at those processes.

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;

use super::{check, last_errno};

/// Lays a filter over this process and what it will start, and gives the descriptor at which the calls arrive that the filter leaves to
/// somebody else. A call is not interrupted once it has been taken up, where the kernel can (Linux 5.19).
pub(crate) fn filter_and_listen(program: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    let lay = |flags: libc::c_ulong| {
        // SAFETY: `program` names as many initialised instructions as it says, which the kernel copies and does not change.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        }
    };
    let mut result = lay(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE);
    if result < 0 && last_errno() == Errno::INVAL {
        result = lay(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    if result < 0 {
        return Err(last_errno());
    }
    let fd = i32::try_from(result).map_err(|_| Errno::IO)?;
    // SAFETY: the kernel has just made the descriptor, which nothing else in this process knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// The thread that called, as this process numbers it; none of a thread that it cannot see.
    pub(crate) thread: Option<Pid>,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

// `linux/seccomp.h`: `_IOWR('!', n, …)` and `_IOW('!', n, …)` of structures whose sizes are of the interface.
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const IS_VALID: u64 = 0x4008_2102;
const ADD_DESCRIPTOR: u64 = 0x4018_2103;
const SET_FLAGS: u64 = 0x4008_2104;

/// Has whoever waits for a call's answer run on the processor of who gives it. Older kernels than 6.6 do without.
pub(crate) fn wake_in_place(listener: &OwnedFd) {
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the request takes a number and no memory; a kernel that does not know it says so.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
}

/// Takes up the next call. `NOENT` when its thread has ended or was interrupted meanwhile.
pub(crate) fn receive(listener: &OwnedFd) -> Result<Notification, Errno> {
    // SAFETY: a structure of integers, for which all zeroes is a value, and which the kernel wants zeroed.
    let mut taken: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's number tells the size of the structure, which is initialised and outlives the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut taken) })?;
    Ok(Notification {
        id: taken.id,
        thread: i32::try_from(taken.pid).ok().and_then(Pid::from_raw),
        number: i64::from(taken.data.nr),
        arguments: taken.data.args,
    })
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel carries it out as if nobody had looked.
    GoOn,
    /// It has this result.
    Value(i64),
    /// It has failed.
    Failed(Errno),
}

/// Answers a call. `NOENT` when nobody waits any more.
pub(crate) fn answer(listener: &OwnedFd, id: u64, answer: Answer) -> Result<(), Errno> {
    const CONTINUE: u32 = 1;
    let (val, error, flags) = match answer {
        Answer::GoOn => (0, 0, CONTINUE),
        Answer::Value(value) => (value, 0, 0),
        Answer::Failed(errno) => (0, -errno.raw_os_error(), 0),
    };
    let given = libc::seccomp_notif_resp {
        id,
        val,
        error,
        flags,
    };
    // SAFETY: the request's number tells the size of the structure, which is initialised and outlives the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const given) }).map(drop)
}

/// Gives the caller a copy of a descriptor, whose number is the call's result.
pub(crate) fn answer_with(
    listener: &OwnedFd,
    id: u64,
    descriptor: impl AsFd,
    closes_on_exec: bool,
) -> Result<(), Errno> {
    #[repr(C)]
    struct Added {
        id: u64,
        flags: u32,
        source: u32,
        target: u32,
        target_flags: u32,
    }
    const AND_SEND: u32 = 2;
    let added = Added {
        id,
        flags: AND_SEND,
        source: descriptor.as_fd().as_raw_fd().cast_unsigned(),
        target: 0,
        target_flags: if closes_on_exec {
            libc::O_CLOEXEC.cast_unsigned()
        } else {
            0
        },
    };
    // SAFETY: the request's number tells the size of the structure, which is initialised and outlives the call.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), ADD_DESCRIPTOR as _, &raw const added) }).map(drop)
}

/// Whether a call still waits: what its thread was looked up by is then still its own.
pub(crate) fn is_waiting(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the request's number tells that it takes a number of 64 bits, which outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID as _, &raw const id) == 0 }
}

/// Reads memory of another process, and says how much of it there was.
pub(crate) fn read_memory(of: Pid, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let near = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let far = libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(usize::try_from(address).map_err(|_| Errno::FAULT)?),
        iov_len: into.len(),
    };
    // SAFETY: `near` is a buffer that is borrowed for the call; what `far` names is the other process's and checked by the kernel.
    let length = unsafe {
        libc::process_vm_readv(
            of.as_raw_nonzero().get(),
            &raw const near,
            1,
            &raw const far,
            1,
            0,
        )
    };
    usize::try_from(length).map_err(|_| last_errno())
}

/// Writes memory of another process, all of it or none.
pub(crate) fn write_memory(of: Pid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let near = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let far = libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(usize::try_from(address).map_err(|_| Errno::FAULT)?),
        iov_len: bytes.len(),
    };
    // SAFETY: `near` is only read from; what `far` names is the other process's and checked by the kernel.
    let length = unsafe {
        libc::process_vm_writev(
            of.as_raw_nonzero().get(),
            &raw const near,
            1,
            &raw const far,
            1,
            0,
        )
    };
    match usize::try_from(length) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(last_errno()),
    }
}

/// What `fstat` says of an open file, as bytes of the kernel's structure after `change`.
pub(crate) fn status_bytes(file: impl AsFd, owner: (u32, u32), mode: Option<u32>) -> Result<Vec<u8>, Errno> {
    // SAFETY: a structure of integers, for which all zeroes is a value.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the path is an empty NUL-terminated string, `status` outlives the call and has the size that the call fills.
    check(unsafe { libc::fstatat(fd, c"".as_ptr(), &raw mut status, libc::AT_EMPTY_PATH) })?;
    (status.st_uid, status.st_gid) = owner;
    if let Some(mode) = mode {
        status.st_mode = status.st_mode & !0o7777 | mode;
    }
    Ok(bytes_of(&status))
}

/// What `statx` says, in the same way.
pub(crate) fn extended_status_bytes(
    file: impl AsFd,
    (flags, mask): (i32, u32),
    owner: (u32, u32),
    mode: Option<u32>,
) -> Result<Vec<u8>, Errno> {
    // SAFETY: a structure of integers, for which all zeroes is a value.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let fd = file.as_fd().as_raw_fd();
    let flags = libc::AT_EMPTY_PATH | flags & libc::AT_STATX_SYNC_TYPE;
    // SAFETY: the path is an empty NUL-terminated string, `status` outlives the call and has the size that the call fills.
    check(unsafe { libc::statx(fd, c"".as_ptr(), flags, mask, &raw mut status) })?;
    (status.stx_uid, status.stx_gid) = owner;
    if let Some(mode) = mode {
        status.stx_mode = status.stx_mode & !0o7777 | u16::try_from(mode & 0o7777).unwrap_or(0);
    }
    Ok(bytes_of(&status))
}

/// The bytes of a kernel structure that was zeroed before it was filled.
fn bytes_of<T: Copy>(structure: &T) -> Vec<u8> {
    let start = ptr::from_ref(structure).cast::<u8>();
    // SAFETY: the callers' structures were zeroed whole, so that every byte is initialised, and are borrowed while they are copied.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
}

/// The limit of file locks of another process, which is only asked for.
pub(crate) fn lock_limit(of: Pid) -> Result<rustix::process::Rlimit, Errno> {
    // SAFETY: a structure of integers, for which all zeroes is a value.
    let mut limit: libc::rlimit64 = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set (null), and `limit` has the size that the call fills and outlives it.
    check(unsafe {
        libc::prlimit64(
            of.as_raw_nonzero().get(),
            libc::RLIMIT_LOCKS,
            ptr::null(),
            &raw mut limit,
        )
    })?;
    let bound = |limit| (limit != libc::RLIM64_INFINITY).then_some(limit);
    Ok(rustix::process::Rlimit {
        current: bound(limit.rlim_cur),
        maximum: bound(limit.rlim_max),
    })
}
