//! The filter of system calls that lies over a pod: the keeper and everything that it starts.
//!
//! It is laid once, over the keeper, and inherited: starting a process costs nothing more, and the keeper's own workers, which
//! read archives of strangers, are under it too. It takes away what a container has no need of and what would open more of the
//! host's kernel to it; most of it Docker's default profile takes away as well. What nested builders need stays: `unshare`,
//! `setns`, `mount`, `pivot_root`, `chroot`, `ptrace`, further filters.
//!
//! The program is written here rather than by a library: those that write it in Rust end every process of another architecture
//! (32-bit programs run in containers) and know nothing of x32, whose numbers would pass by a list of what is denied. The
//! kernel remembers which numbers always pass (since 5.11), so the length of the list is not paid at each call.
//!
//! Known gaps: 32-bit programs may open sockets through `socketcall`, whose arguments no filter can see. On arm64 the calls of
//! 32-bit programs are not listed, so there these do not run.
//!
//! Failure: a pod that cannot have the filter does not start.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use crate::error::{Doing as _, Result};
use crate::sys;

/// What a denied call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// As where the caller lacks the capability: what Docker's profile answers.
    NotPermitted,
    /// As from a kernel built without it, for calls whose users have another way then: container runtimes go on without a
    /// keyring of their own only if there are none.
    Missing,
}

impl Answer {
    const fn value(self) -> u32 {
        let errno = match self {
            Self::NotPermitted => libc::EPERM,
            Self::Missing => libc::ENOSYS,
        };
        libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
    }
}

/// One architecture's calls.
struct Calls {
    /// `AUDIT_ARCH_…` of `linux/audit.h`.
    architecture: u32,
    /// Numbers from here on are another convention's (x32).
    end: Option<u32>,
    denied: &'static [(i64, Answer)],
    /// `socket`, of whose families one is denied.
    socket: i64,
}

use Answer::{Missing, NotPermitted};

#[cfg(target_arch = "x86_64")]
const ALL: &[Calls] = &[
    Calls {
        architecture: 0xc000_003e,
        end: Some(0x4000_0000),
        denied: &[
            // Keyrings belong to user ids, not to containers: those of other jobs with the same ids are among them.
            (libc::SYS_add_key, Missing),
            (libc::SYS_request_key, Missing),
            (libc::SYS_keyctl, Missing),
            // Large, and a steady source of flaws.
            (libc::SYS_io_uring_setup, Missing),
            (libc::SYS_io_uring_enter, Missing),
            (libc::SYS_io_uring_register, Missing),
            (libc::SYS_bpf, NotPermitted),
            (libc::SYS_perf_event_open, NotPermitted),
            // Makes races in the kernel's own code easy to win.
            (libc::SYS_userfaultfd, NotPermitted),
            // Opens files by number, past every root.
            (libc::SYS_open_by_handle_at, NotPermitted),
            (libc::SYS_fanotify_init, NotPermitted),
            // The machine itself.
            (libc::SYS_init_module, NotPermitted),
            (libc::SYS_finit_module, NotPermitted),
            (libc::SYS_delete_module, NotPermitted),
            (libc::SYS_kexec_load, NotPermitted),
            (libc::SYS_kexec_file_load, NotPermitted),
            (libc::SYS_reboot, NotPermitted),
            (libc::SYS_swapon, NotPermitted),
            (libc::SYS_swapoff, NotPermitted),
            (libc::SYS_acct, NotPermitted),
            (libc::SYS_syslog, NotPermitted),
            (libc::SYS_quotactl, NotPermitted),
            (QUOTACTL_FD, NotPermitted),
            (libc::SYS_settimeofday, NotPermitted),
            (libc::SYS_clock_settime, NotPermitted),
            (libc::SYS_iopl, NotPermitted),
            (libc::SYS_ioperm, NotPermitted),
            // Of old kernels.
            (libc::SYS_nfsservctl, NotPermitted),
            (libc::SYS_lookup_dcookie, NotPermitted),
            (libc::SYS_uselib, NotPermitted),
            (libc::SYS__sysctl, NotPermitted),
        ],
        socket: libc::SYS_socket,
    },
    // The same for 32-bit programs, by the numbers of `asm/unistd_32.h`, in the same order.
    Calls {
        architecture: 0x4000_0003,
        end: None,
        denied: &[
            (286, Missing),
            (287, Missing),
            (288, Missing),
            (425, Missing),
            (426, Missing),
            (427, Missing),
            (357, NotPermitted),
            (336, NotPermitted),
            (374, NotPermitted),
            (342, NotPermitted),
            (338, NotPermitted),
            (128, NotPermitted),
            (350, NotPermitted),
            (129, NotPermitted),
            (283, NotPermitted),
            (88, NotPermitted),
            (87, NotPermitted),
            (115, NotPermitted),
            (51, NotPermitted),
            (103, NotPermitted),
            (131, NotPermitted),
            (QUOTACTL_FD, NotPermitted),
            (79, NotPermitted),
            // stime, clock_settime, clock_settime64
            (25, NotPermitted),
            (264, NotPermitted),
            (404, NotPermitted),
            (110, NotPermitted),
            (101, NotPermitted),
            (169, NotPermitted),
            (253, NotPermitted),
            (86, NotPermitted),
            (149, NotPermitted),
            // vm86old, vm86
            (113, NotPermitted),
            (166, NotPermitted),
        ],
        socket: 359,
    },
];

#[cfg(target_arch = "aarch64")]
const ALL: &[Calls] = &[Calls {
    architecture: 0xc000_00b7,
    end: None,
    denied: &[
        (libc::SYS_add_key, Missing),
        (libc::SYS_request_key, Missing),
        (libc::SYS_keyctl, Missing),
        (libc::SYS_io_uring_setup, Missing),
        (libc::SYS_io_uring_enter, Missing),
        (libc::SYS_io_uring_register, Missing),
        (libc::SYS_bpf, NotPermitted),
        (libc::SYS_perf_event_open, NotPermitted),
        (libc::SYS_userfaultfd, NotPermitted),
        (libc::SYS_open_by_handle_at, NotPermitted),
        (libc::SYS_fanotify_init, NotPermitted),
        (libc::SYS_init_module, NotPermitted),
        (libc::SYS_finit_module, NotPermitted),
        (libc::SYS_delete_module, NotPermitted),
        (libc::SYS_kexec_load, NotPermitted),
        (libc::SYS_kexec_file_load, NotPermitted),
        (libc::SYS_reboot, NotPermitted),
        (libc::SYS_swapon, NotPermitted),
        (libc::SYS_swapoff, NotPermitted),
        (libc::SYS_acct, NotPermitted),
        (libc::SYS_syslog, NotPermitted),
        (libc::SYS_quotactl, NotPermitted),
        (QUOTACTL_FD, NotPermitted),
        (libc::SYS_settimeofday, NotPermitted),
        (libc::SYS_clock_settime, NotPermitted),
        (libc::SYS_nfsservctl, NotPermitted),
        (libc::SYS_lookup_dcookie, NotPermitted),
    ],
    socket: libc::SYS_socket,
}];

/// The same number everywhere, as of all calls since Linux 5.1.
const QUOTACTL_FD: i64 = 443;

/// Where `struct seccomp_data` has the number, the architecture, and the low half of the first argument (little-endian).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Lays the filter over this process and all that it will start. It needs the capability to administer the process's user
/// namespace, so that set-user-id programs go on to work below it.
pub(crate) fn lay() -> Result<()> {
    sys::filter_system_calls(&program(ALL))
        .doing(|| "lay the filter of system calls over the pod (Linux with CONFIG_SECCOMP_FILTER)".into())
}

/// More that is taken away from a process where namespaces do not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ban {
    /// Sockets other than those between processes of one machine, and what tells the interfaces.
    Network,
    /// Looking into other processes.
    Tracing,
}

/// What a ban denies, of one architecture.
struct Banned {
    architecture: u32,
    /// `socket`.
    socket: i64,
    /// Where sockets are made by a call whose arguments no filter sees.
    hidden_socket: Option<i64>,
    tracing: &'static [i64],
}

/// What looks into other processes, by the numbers of this machine's own programs.
const TRACING: [i64; 5] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
];

#[cfg(target_arch = "x86_64")]
const BANNED: &[Banned] = &[
    Banned {
        architecture: 0xc000_003e,
        socket: libc::SYS_socket,
        hidden_socket: None,
        tracing: &TRACING,
    },
    Banned {
        architecture: 0x4000_0003,
        socket: 359,
        hidden_socket: Some(102),
        tracing: &[26, 347, 348, 349, libc::SYS_pidfd_getfd],
    },
];

#[cfg(target_arch = "aarch64")]
const BANNED: &[Banned] = &[Banned {
    architecture: 0xc000_00b7,
    socket: libc::SYS_socket,
    hidden_socket: None,
    tracing: &TRACING,
}];

/// Lays a further filter over this process and all that it will start. Needs `no_new_privs` or the capability.
pub(crate) fn ban(bans: &[Ban]) -> Result<()> {
    if bans.is_empty() {
        return Ok(());
    }
    sys::filter_system_calls(&banning(bans)).doing(|| "lay a filter of system calls over a process".into())
}

fn banning(bans: &[Ban]) -> Vec<sock_filter> {
    let failing = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
    let mut program = vec![load(ARCHITECTURE)];
    for banned in BANNED {
        let mut block = vec![load(NUMBER)];
        if bans.contains(&Ban::Tracing) {
            for number in banned.tracing {
                block.extend([jump(BPF_JEQ, low_half(*number), 0, 1), failing(libc::EPERM)]);
            }
        }
        if bans.contains(&Ban::Network) {
            if let Some(number) = banned.hidden_socket {
                block.extend([jump(BPF_JEQ, low_half(number), 0, 1), failing(libc::ENOSYS)]);
            }
            block.extend([
                jump(BPF_JEQ, low_half(banned.socket), 0, 4),
                load(FIRST_ARGUMENT),
                jump(BPF_JEQ, libc::AF_UNIX.unsigned_abs(), 2, 0),
                jump(BPF_JEQ, libc::AF_NETLINK.unsigned_abs(), 1, 0),
                failing(libc::EAFNOSUPPORT),
            ]);
        }
        block.push(answer(libc::SECCOMP_RET_ALLOW));
        program.push(jump(
            BPF_JEQ,
            banned.architecture,
            0,
            u8::try_from(block.len()).unwrap_or(u8::MAX),
        ));
        program.extend(block);
    }
    // The filter over the pod refuses every call of an architecture that is not listed.
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// The filter: per architecture one block, in which each denied call is two instructions.
fn program(all: &[Calls]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for calls in all {
        let block = block(calls);
        // Jumps that tell numbers apart reach 255 instructions; this one is unconditional and reaches further.
        program.push(jump(BPF_JEQ, calls.architecture, 1, 0));
        program.push(sock_filter {
            code: code(BPF_JMP),
            jt: 0,
            jf: 0,
            k: u32::try_from(block.len()).unwrap_or(u32::MAX),
        });
        program.extend(block);
    }
    // An architecture that is not listed: nothing of it is known.
    program.push(answer(Missing.value()));
    program
}

fn block(calls: &Calls) -> Vec<sock_filter> {
    let mut block = vec![load(NUMBER)];
    if let Some(end) = calls.end {
        // What a tracer sets to have a call skipped is not of that convention.
        block.push(jump(BPF_JEQ, u32::MAX, 0, 1));
        block.push(answer(libc::SECCOMP_RET_ALLOW));
        block.push(jump(BPF_JGE, end, 0, 1));
        block.push(answer(Missing.value()));
    }
    for (number, denial) in calls.denied {
        block.push(jump(BPF_JEQ, low_half(*number), 0, 1));
        block.push(answer(denial.value()));
    }
    block.extend([
        jump(BPF_JEQ, low_half(calls.socket), 0, 3),
        load(FIRST_ARGUMENT),
        // Namespaces do not bound it: it reaches the hypervisor and its other guests.
        jump(BPF_JEQ, libc::AF_VSOCK.unsigned_abs(), 0, 1),
        answer(NotPermitted.value()),
        answer(libc::SECCOMP_RET_ALLOW),
    ]);
    block
}

fn low_half(number: i64) -> u32 {
    // Numbers of calls are small and positive; what is none matches no call.
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn load(offset: u32) -> sock_filter {
    sock_filter {
        code: code(BPF_LD | BPF_W | BPF_ABS),
        jt: 0,
        jf: 0,
        k: offset,
    }
}

fn jump(test: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: code(BPF_JMP | test | BPF_K),
        jt,
        jf,
        k: value,
    }
}

fn answer(value: u32) -> sock_filter {
    sock_filter {
        code: code(BPF_RET | BPF_K),
        jt: 0,
        jf: 0,
        k: value,
    }
}

/// Codes have 16 bits in the kernel's struct and more in its constants.
const fn code(bits: u32) -> u16 {
    let [low, high, ..] = bits.to_le_bytes();
    u16::from_le_bytes([low, high])
}
