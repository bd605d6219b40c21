//! How many processes a pod may have.
//!
//! No cgroup is needed for it: since Linux 6.14 the highest process number is a setting of each pid namespace, and what is
//! started in a namespace below (every container is one) takes a number in those above as well. So the pod's own setting bounds
//! all that it starts, threads included, whatever a container's root writes into the setting of its own.
//!
//! Where the kernel has it for the whole machine only, or `/proc/sys` is read-only, each user id of the pod is bounded by itself
//! instead, by `RLIMIT_NPROC`: since Linux 5.14 the kernel counts those per user namespace, so pods of one user do not count
//! together. That stops an accident, and not somebody who changes ids: the pod's root has 65,536 of them. A lower limit of the
//! place itself stays as it is: only the machine's own administrator raises one.

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, Result};

/// The highest process number of this pid namespace, by whatever `/proc` there is: the kernel goes by who asks.
const HIGHEST: &str = "/proc/sys/kernel/pid_max";

/// One of so many descriptors is the keeper's alone. More than the few hundred that one message may carry beyond a limit.
const KEPT_PART: u64 = 8;

/// The most processes and threads that a pod may have, its keeper's included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ProcessLimit(u32);

impl ProcessLimit {
    /// The kernel refuses fewer numbers than these.
    const LEAST: u32 = 512;
    /// The kernel's own bound.
    const MOST: u32 = 4_194_304;

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for ProcessLimit {
    /// Ample for a database, a browser and a parallel build together; as a fork bomb some hundred megabytes of kernel memory.
    fn default() -> Self {
        Self(8192)
    }
}

/// The number is none that a pod can be bounded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pod cannot be limited to {0} processes: choose between 512 and 4194304")]
pub struct ProcessLimitError(u32);

impl TryFrom<u32> for ProcessLimit {
    type Error = ProcessLimitError;

    fn try_from(number: u32) -> std::result::Result<Self, ProcessLimitError> {
        if (Self::LEAST..=Self::MOST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(ProcessLimitError(number))
        }
    }
}

impl From<ProcessLimit> for u32 {
    fn from(limit: ProcessLimit) -> Self {
        limit.0
    }
}

/// Bounds the pod of which the caller is the first process.
pub(crate) fn bound_processes(limit: ProcessLimit) -> Result<()> {
    if std::fs::write(HIGHEST, limit.get().to_string()).is_ok() {
        return Ok(());
    }
    let allowed = rustix::process::getrlimit(Resource::Nproc).maximum;
    let both = at_most(limit, allowed);
    rustix::process::setrlimit(Resource::Nproc, both)
        .doing(|| format!("limit the pod to {} processes", limit.get()))
}

fn at_most(limit: ProcessLimit, allowed: Option<u64>) -> Rlimit {
    let wanted = u64::from(limit.get());
    let number = Some(allowed.map_or(wanted, |allowed| allowed.min(wanted)));
    Rlimit {
        current: number,
        maximum: number,
    }
}

/// Opens as many descriptors to this process as it may have: a keeper needs more than its containers, see
/// [`leave_descriptors`].
pub(crate) fn raise_descriptors() {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    let both = Rlimit {
        current: maximum,
        maximum,
    };
    // Whoever may not keeps what there is.
    let _ = rustix::process::setrlimit(Resource::Nofile, both);
}

/// Takes from a process of a container the last part of the descriptors that its keeper may have.
///
/// The kernel counts descriptors on their way through sockets for each user of the machine, and lets nobody pass another one
/// when they are more than the limit of who passes it. Keepers and the roots of all their containers are one user: with the
/// same limit, one container could keep every keeper of the machine from handing anything over.
pub(crate) fn leave_descriptors() -> Result<()> {
    let lowered = for_containers(Resource::Nofile, rustix::process::getrlimit(Resource::Nofile));
    rustix::process::setrlimit(Resource::Nofile, lowered)
        .doing(|| "limit the descriptors of a process".into())
}

/// What a process of a container may have at most of what its keeper has.
pub(crate) fn for_containers(resource: Resource, keepers: Rlimit) -> Rlimit {
    let Rlimit { current, maximum } = keepers;
    if resource != Resource::Nofile {
        return keepers;
    }
    let most = maximum.map(|maximum| maximum - maximum / KEPT_PART);
    Rlimit {
        current: current.min(most).or(most),
        maximum: most,
    }
}

/// Has the kernel end processes of the pod before any other when the machine, or the container that all this is in, runs out of
/// memory. In the pod's user namespace, so that a process may take it back for itself: nested runtimes do.
pub(crate) fn offer_to_the_kernel() {
    // A wish: where /proc is not writable the kernel chooses as it does.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// Whether the kernel bounds the pod as a whole: asked by writing what is there.
pub(crate) fn examine() -> Result<String> {
    let action = || format!("set {HIGHEST} of a pod");
    let limit = std::fs::read_to_string(HIGHEST)
        .map_err(|error| errno(&error))
        .doing(action)?;
    std::fs::write(HIGHEST, limit.trim())
        .map_err(|error| errno(&error))
        .doing(action)?;
    Ok(format!("at most {} in a pod", limit.trim()))
}

fn errno(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_of_the_place_is_raised() {
        let limit = ProcessLimit::default();
        for (allowed, expected) in [(None, 8192), (Some(4000), 4000), (Some(100_000), 8192)] {
            let both = at_most(limit, allowed);
            assert_eq!((both.current, both.maximum), (Some(expected), Some(expected)));
        }
    }
}
