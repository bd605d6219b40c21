//! Whether system calls can be answered here: done once, for a child that asks for its groups.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions};

use super::calls::{self, Asked, Call};
use crate::error::{Doing as _, KeeperError, Result};
use crate::sys::notification::{self, Answer};
use crate::sys::{self, Fork};
use crate::wire;

/// A group that nobody is in.
const GROUP: u32 = 4_000_000_007;

/// Tries it, and says what was seen.
pub(crate) fn examine() -> Result<String> {
    let (near, far) = wire::pair()?;
    match sys::fork().doing(|| "fork a process to answer".into())? {
        Fork::Child => {
            drop(near);
            // Open to who answers, as a program of a container is.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
            let told = match super::submit(super::Opens::Making) {
                Ok(listener) => wire::send(&far, &Ok::<(), KeeperError>(()), &[listener.as_fd()]),
                Err(error) => wire::send(&far, &Err::<(), KeeperError>(error), &[]),
            };
            drop(far);
            let seen = told.is_ok()
                && rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().map(|group| group.as_raw()).eq([GROUP]));
            sys::exit(i32::from(!seen));
        }
        Fork::Parent(pid) => {
            drop(far);
            let answered = wire::receive::<Result<()>>(&near).and_then(|told| {
                let (told, fds) = told.ok_or(KeeperError::Unsupervised)?;
                told?;
                let listener = fds.into_iter().next().ok_or(KeeperError::Unsupervised)?;
                answer_all(&listener).doing(|| "answer a system call of another process".into())
            });
            let waited =
                rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))
                    .doing(|| "wait for a child".into())?;
            answered?;
            match waited.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok("a process was told groups that it does not have".into()),
                _ => Err(KeeperError::Message {
                    reason: "a process was not told what it was answered".into(),
                }),
            }
        }
    }
}

/// Answers until the child has ended.
fn answer_all(listener: &OwnedFd) -> std::result::Result<(), Errno> {
    let mut failed = None;
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
        if !ready[0].revents().contains(PollFlags::IN) {
            return failed.map_or(Ok(()), Err);
        }
        let taken = match notification::receive(listener) {
            Ok(taken) => taken,
            Err(Errno::NOENT | Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        let answer = match (calls::read(taken.number, &taken.arguments), taken.thread) {
            (Some(Call::Ask(Asked::Further(0, _))), _) => Answer::Value(1),
            (Some(Call::Ask(Asked::Further(_, address))), Some(thread)) => {
                match notification::write_memory(thread, address, &GROUP.to_ne_bytes()) {
                    Ok(()) => Answer::Value(1),
                    Err(errno) => {
                        failed = Some(errno);
                        Answer::Failed(errno)
                    }
                }
            }
            _ => Answer::GoOn,
        };
        match notification::answer(listener, taken.id, answer) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}
