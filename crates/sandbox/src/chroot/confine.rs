//! What keeps a process in its tree, and away from those of the place around it.
//!
//! - Its root is the tree, and it has not the capability to choose another, so that no directory above is ever its.
//! - Landlock: no file outside the tree; no process outside to be traced, nor, on newer kernels, sent a signal.
//! - Fewer capabilities than whoever started it: the kernel lets nobody trace a process that has more. Where Landlock is missing that
//!   alone stands between it and the environment and memory of its neighbours, so tracing is then forbidden altogether.
//! - No device nodes: as in a user namespace, where the kernel makes none.
//! - `no_new_privs`, which Landlock and filters of system calls ask for. Set-user-id programs stay who they are started by.

use std::os::fd::AsFd;

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Doing as _, Result};
use crate::filter::{self, Ban};
use crate::landlock::Landlock;

/// What root of a tree may: what container engines leave by default but for `chroot` and device nodes.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Whether a process has the place's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Shared,
    None,
}

/// From now on nothing that this process starts gains a right by being started.
pub(crate) fn give_up_gaining() -> Result<()> {
    rustix::thread::set_no_new_privs(true).doing(|| "give up gaining privileges".into())
}

/// Confines this process, whose root is the tree already, which is given open.
pub(super) fn confine(root: impl AsFd, network: Network) -> Result<()> {
    let landlock = Landlock::here();
    landlock.confine(root)?;
    let mut bans = Vec::new();
    if network == Network::None {
        bans.push(Ban::Network);
    }
    if landlock == Landlock::Missing {
        bans.push(Ban::Tracing);
    }
    filter::ban(&bans)?;
    drop_capabilities()
}

fn drop_capabilities() -> Result<()> {
    let action = || "drop capabilities".to_owned();
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno).doing(action),
        }
    }
    let now = rustix::thread::capabilities(None).doing(action)?;
    let sets = CapabilitySets {
        effective: now.effective & KEPT,
        permitted: now.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).doing(action)
}
