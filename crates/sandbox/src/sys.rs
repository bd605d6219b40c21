//! The system calls that have no safe wrapper.
//!
//! Every `unsafe` of the crate is here, each call as a small safe function. What forks, leaves namespaces or touches
//! signals runs in a process with one thread: the launcher is entered before any other thread exists, and everything
//! else descends from it by `fork`. The calling process uses only what works on a descriptor.

pub(crate) mod notification;

use std::ffi::{CString, c_char, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The process that forked, with the new one's pid as it sees it.
    Parent(Pid),
    /// The new process.
    Child,
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

/// Splits the process in two.
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: the launcher and its descendants never start a thread, so no lock or allocator state can be held by a
    // thread that the child would lack; the child may go on as any program.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Ends this process without running what its parent registered to run at its own end.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` takes no pointer and does not return; skipping destructors is the point, they belong to the
    // process that this one was forked from.
    unsafe { libc::_exit(code) }
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the call is unsafe for UnshareFlags::FILES only (descriptors vanish for other threads); no caller
    // passes it, and the process has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Blocks `SIGCHLD` and gives a descriptor that becomes readable when a child ends.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    caught(&[libc::SIGCHLD])
}

/// Blocks signals and gives a descriptor that becomes readable when one of them comes.
pub(crate) fn caught(signals: &[c_int]) -> Result<OwnedFd, Errno> {
    let mut set = empty_signal_set();
    for signal in signals {
        // SAFETY: `set` is an initialised signal set; the call refuses a number that is no signal's.
        check(unsafe { libc::sigaddset(&raw mut set, *signal) })?;
    }
    // SAFETY: `set` is initialised and outlives the call; a null old set is allowed.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) })?;
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    // SAFETY: the kernel has just made `fd` and nothing else in this process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts signals as a program expects them: none blocked, every disposition the default (Rust ignores `SIGPIPE`).
pub(crate) fn default_signals() {
    let set = empty_signal_set();
    // SAFETY: `set` is initialised and outlives the call; a null old set is allowed.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition for any number; the kernel refuses those that cannot be set.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn empty_signal_set() -> libc::sigset_t {
    // SAFETY: `sigset_t` is an array of integers, for which all zeroes is a value (and the empty set on Linux).
    unsafe { std::mem::zeroed() }
}

/// Sends a signal by number; 0 and unknown numbers are the kernel's to refuse.
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: `kill` takes two integers and touches no memory of this process.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed at exec.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call closes nothing, it sets a flag on descriptors; no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes every descriptor from 3 on but those in `keep`: for a process that is about to touch paths of a container.
///
/// What is closed stays owned by values in the frames below, so the caller's process must end without returning to
/// them: by executing a program or by [`exit`].
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok())
        .filter(|number| *number >= 3)
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed. Values that own a number of the range are never dropped nor used again: the
    // process was forked, and ends without returning to the frames that hold them (see `close_all_but`).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes every descriptor from `first` on: for the start of a program, before anything of ours is open.
pub(crate) fn close_inherited_from(first: u32) -> Result<(), Errno> {
    // SAFETY: called as the first thing of a process that was just executed, when no Rust value owns a descriptor of
    // that range yet; what is closed was left open by whoever started it.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Puts `fd` at the number `target`, open across exec.
pub(crate) fn place(fd: impl AsFd, target: i32) -> Result<(), Errno> {
    let source = fd.as_fd().as_raw_fd();
    if source == target {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: both are plain numbers. `target` is a standard stream of a forked child, which no Rust value owns, or
    // a descriptor whose owner is to keep the number with something else behind it (the launcher's socket).
    check(unsafe { libc::dup2(source, target) }).map(drop)
}

/// Replaces the program. Returns only to say why it could not.
pub(crate) fn execute(program: &CString, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let argv = pointers(argv);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer, their strings are NUL-terminated and outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

/// Makes a mount and all mounts below it read-only, whatever other restrictions they carry.
pub(crate) fn make_read_only(mount: impl AsFd) -> Result<(), Errno> {
    set_mount_attributes(mount, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Cuts a mount and all mounts below it off from those that it was copied from: what is mounted on one side must
/// not appear on the other.
pub(crate) fn make_private(mount: impl AsFd) -> Result<(), Errno> {
    set_mount_attributes(mount, 0, libc::MS_PRIVATE)
}

fn set_mount_attributes(mount: impl AsFd, set: u64, propagation: u64) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty NUL-terminated string (AT_EMPTY_PATH names the descriptor itself), `attributes`
    // is initialised and its true size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Leaves the session keyring that was inherited for a new, empty one. Kernels without keyrings have none to leave.
pub(crate) fn leave_keyring() {
    // SAFETY: with a null name the call takes no memory; it replaces this process's own session keyring.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        );
    }
}

/// Lays a filter of system calls over this process and what it will start.
pub(crate) fn filter_system_calls(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` names as many initialised instructions as it says, which the kernel copies and does not change.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Makes a device node; overlayfs's whiteout is the one with number 0:0.
pub(crate) fn make_whiteout(directory: impl AsFd, name: impl rustix::path::Arg) -> Result<(), Errno> {
    use rustix::fs::{FileType, Mode, makedev, mknodat};
    mknodat(
        directory,
        name,
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )
}

/// Has the C library's allocator give large blocks back to the kernel when they are freed, and keep few arenas.
///
/// Left alone, it takes the first large block that is freed as a reason to keep blocks of that size, one for each of
/// many arenas, for as long as the process lives. Blocks of compressors (1 MiB) stay below the limit: mapping them anew
/// each time would cost more than they weigh.
pub fn give_freed_memory_back() {
    const MIB: c_int = 1024 * 1024;
    for (option, value) in [
        (libc::M_MMAP_THRESHOLD, 4 * MIB),
        (libc::M_TRIM_THRESHOLD, MIB),
        (libc::M_ARENA_MAX, 4),
    ] {
        // SAFETY: the call takes two numbers and sets one of the allocator's own, under its lock. One that it refuses stays.
        unsafe { libc::mallopt(option, value) };
    }
}

/// The version of Landlock that the kernel offers here.
pub(crate) fn landlock_version() -> Result<i64, Errno> {
    const VERSION: u32 = 1;
    // SAFETY: with that flag the call takes no attributes, and says so by a null pointer of size 0.
    let result = unsafe { libc::syscall(LANDLOCK_CREATE_RULESET, ptr::null::<u64>(), 0, VERSION) };
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// Makes a set of Landlock rules for these rights: on files, on ports, beyond the domain. Older kernels know fewer of them, and take
/// as many as are not empty.
pub(crate) fn landlock_ruleset(rights: [u64; 3]) -> Result<OwnedFd, Errno> {
    let known = rights
        .iter()
        .rposition(|rights| *rights != 0)
        .map_or(1, |last| last + 1);
    // SAFETY: `rights` is the kernel's structure of three numbers, of which as many bytes are given as are meant.
    let result = unsafe {
        libc::syscall(
            LANDLOCK_CREATE_RULESET,
            rights.as_ptr(),
            known * size_of::<u64>(),
            0,
        )
    };
    let fd = c_int::try_from(result).map_err(|_| Errno::IO)?;
    // SAFETY: the kernel has just made the descriptor, which nothing else in this process knows.
    Ok(unsafe { OwnedFd::from_raw_fd(check(fd)?) })
}

/// Allows these rights at and below an open directory or file.
pub(crate) fn landlock_allow(ruleset: &OwnedFd, place: impl AsFd, rights: u64) -> Result<(), Errno> {
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    const PATH_BENEATH: c_int = 1;
    let rule = PathBeneath {
        allowed_access: rights,
        parent_fd: place.as_fd().as_raw_fd(),
    };
    // SAFETY: the rule has the layout that its kind says, and outlives the call.
    let result = unsafe {
        libc::syscall(
            LANDLOCK_ADD_RULE,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Lays rules over this process and what it will start, for good.
pub(crate) fn landlock_restrict(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the call takes two numbers and no memory.
    let result = unsafe { libc::syscall(LANDLOCK_RESTRICT_SELF, ruleset.as_raw_fd(), 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

// The same numbers everywhere, as of all calls since Linux 5.1.
const LANDLOCK_CREATE_RULESET: libc::c_long = 444;
const LANDLOCK_ADD_RULE: libc::c_long = 445;
const LANDLOCK_RESTRICT_SELF: libc::c_long = 446;
