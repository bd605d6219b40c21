//! The filter that hands system calls over to a supervisor.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use super::calls::{self, MAKING};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Which calls that open files are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opens {
    /// Those that may make one.
    Making,
    /// All: some of the files stand for others.
    All,
}

/// The filter: all else goes on, to be judged by the pod's own filter.
pub(super) fn program(opens: Opens) -> Vec<sock_filter> {
    let notify = statement(BPF_RET | BPF_K, libc::SECCOMP_RET_USER_NOTIF);
    let allow = statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![load(4), jump(BPF_JEQ, ARCHITECTURE, 1, 0), allow, load(0)];
    for (number, flags) in calls::handed_over() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        match flags.filter(|_| opens == Opens::Making) {
            None => program.extend([jump(BPF_JEQ, number, 0, 1), notify]),
            Some(argument) => program.extend([
                jump(BPF_JEQ, number, 0, 4),
                load(16 + 8 * u32::try_from(argument).unwrap_or(0)),
                jump(BPF_JSET, MAKING, 0, 1),
                notify,
                allow,
            ]),
        }
    }
    program.push(allow);
    program
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn statement(code: u32, value: u32) -> sock_filter {
    filter(code, value, 0, 0)
}

fn jump(test: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    filter(BPF_JMP | test | BPF_K, value, jt, jf)
}

fn filter(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Codes have 16 bits in the kernel's struct and more in its constants.
    let [low, high, ..] = code.to_le_bytes();
    sock_filter {
        code: u16::from_le_bytes([low, high]),
        jt,
        jf,
        k,
    }
}
