//! Answers system calls of a step whose processes have but one id: whose files are, and who the processes are.
//!
//! A process of its own for each container, beside the container's first one and unseen by it: in the pod's pid namespace, with the
//! pod's user namespace and the container's root ([`Ground`]). It holds nothing but the listener, `/proc`, the directory where marks of
//! links go and, where nothing can be mounted, the devices that everybody may use; so what a step could have it do is what the step may
//! do itself: its files are the step's files, by the same id and the same root.
//!
//! Faking is no boundary. The kernel enforces the one id; a process that changes a path or its memory while its call is answered gets
//! another answer and no other right. What is read of it is checked to be still its own (a notification's id ends with its call), has a
//! bound, and is never trusted to be text or an address.
//!
//! What a call asks that is as the kernel has it (files of root, most of them) goes on to the kernel.
//!
//! Failure: when this process ends, every call that it would answer fails; the keeper, whose child it is, then ends the container and
//! says why. It ends by itself with the last process of the container.

mod calls;
mod credentials;
mod devices;
mod files;
mod ground;
mod making;
mod probe;
mod program;
mod serving;
mod task;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

pub(crate) use self::credentials::Credentials;
pub(crate) use self::ground::Ground;
pub(crate) use self::probe::examine;
pub(crate) use self::program::Opens;

use self::serving::Supervising;
use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::ProcessId;
use crate::keeper::Workplace;
use crate::sys::notification;
use crate::sys::{self, Fork};
use crate::wire;

/// How long a supervisor may go on when nobody is left whom it could answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a supervisor is told when its step begins; with the listener and, of a container with mounts of its own, their namespace.
#[derive(Debug, Serialize, Deserialize)]
struct Charge {
    first: Credentials,
}

/// A supervisor that waits for its step.
pub(crate) struct Supervisor {
    socket: OwnedFd,
    pid: Pid,
}

impl Supervisor {
    /// Forks one. Must come before this process leaves the pod's pid namespace.
    pub(crate) fn hire(place: &Workplace<'_>, process: ProcessId, ground: &Ground<'_>) -> Result<Self> {
        let (near, far) = wire::pair()?;
        match sys::fork().doing(|| "fork a supervisor of system calls".into())? {
            Fork::Child => {
                drop(near);
                // A name is all that this is: without it goes on.
                let _ = rustix::thread::set_name(c"supervisor");
                let served = place
                    .let_go_of_the_socket()
                    .and_then(|()| begin(place, ground, &far));
                let code = match served {
                    Ok(None) => 0,
                    Ok(Some(mut supervising)) => {
                        let told = wire::send(&far, &Ok::<(), KeeperError>(()), &[]);
                        drop(far);
                        i32::from(told.and_then(|()| supervising.serve()).is_err())
                    }
                    Err(error) => {
                        // Whoever does not listen any more has failed by itself.
                        let _ = wire::send(&far, &Err::<(), KeeperError>(error), &[]);
                        1
                    }
                };
                sys::exit(code);
            }
            Fork::Parent(pid) => {
                place.supervised(process, pid)?;
                Ok(Self { socket: near, pid })
            }
        }
    }

    /// Hands a step over, whose first process has laid the filter: the listener and its mount namespace, if it has one of its own.
    pub(crate) fn charge(
        &self,
        first: Credentials,
        listener: &OwnedFd,
        mounts: Option<&OwnedFd>,
    ) -> Result<()> {
        let fds: Vec<_> = [Some(listener), mounts]
            .into_iter()
            .flatten()
            .map(OwnedFd::as_fd)
            .collect();
        wire::send(&self.socket, &Charge { first }, &fds)?;
        match wire::receive::<Result<()>>(&self.socket)? {
            Some((told, _)) => told,
            None => Err(KeeperError::Unsupervised),
        }
    }

    /// Its end, to be waited for by somebody whose child it is not. It is this process's child.
    pub(crate) fn end(&self) -> Result<End> {
        pidfd_open(self.pid, PidfdFlags::empty())
            .doing(|| "hold a supervisor".into())
            .map(End)
    }
}

/// The end of a supervisor.
pub(crate) struct End(OwnedFd);

impl End {
    /// Waits until it has ended. It ends by itself when the step's processes have; until then it may touch the step's files.
    pub(crate) fn wait(&self) -> Result<()> {
        let time = Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let ended = rustix::io::retry_on_intr(|| poll(&mut ready, Some(&time)));
        ended
            .and_then(|count| if count == 0 { Err(Errno::TIMEDOUT) } else { Ok(()) })
            .doing(|| "wait for the end of who answered a step's system calls".into())
    }
}

/// The step's side: lays the filter over this process, who is to be somebody, and gives the listener.
pub(crate) fn submit(opens: Opens) -> Result<OwnedFd> {
    credentials::take_first().doing(|| "mark a process as the first of a step".into())?;
    notification::filter_and_listen(&program::program(opens))
        .doing(|| "have system calls answered by a supervisor (Linux 5.14 with CONFIG_SECCOMP_FILTER)".into())
}

/// Takes a charge up; none when there is no step after all.
fn begin(place: &Workplace<'_>, ground: &Ground<'_>, socket: &OwnedFd) -> Result<Option<Supervising>> {
    let Some((Charge { first }, fds)) = wire::receive::<Charge>(socket)? else {
        return Ok(None);
    };
    let mut fds = fds.into_iter();
    let listener = fds.next().ok_or_else(|| KeeperError::Message {
        reason: "a step to be supervised without its descriptors".into(),
    })?;
    notification::wake_in_place(&listener);
    let (view, files) = ground.settle(place, fds.next(), &[listener.as_fd(), socket.as_fd()])?;
    Ok(Some(Supervising::new(listener, view, files, first)))
}
