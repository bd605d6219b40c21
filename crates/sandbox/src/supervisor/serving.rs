//! The calls as they arrive, each with its answer.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use super::calls::{self, Asked, Call, Named};
use super::credentials::{Change, Credentials, Ids, Known, MOST_GROUPS};
use super::files::Files;
use super::making::{self, Outcome};
use super::task::{Task, View};
use crate::error::{Doing as _, Result};
use crate::sys::notification::{self, Answer, Notification};

/// Who answers, and what it knows.
pub(super) struct Supervising {
    listener: OwnedFd,
    view: View,
    files: Files,
    known: Known,
}

impl Supervising {
    /// Of a step whose first process is somebody.
    pub(super) fn new(listener: OwnedFd, view: View, files: Files, first: Credentials) -> Self {
        let known = Known::new(first);
        Self {
            listener,
            view,
            files,
            known,
        }
    }

    /// Answers until nobody is left to be answered.
    pub(super) fn serve(&mut self) -> Result<()> {
        let action = || "answer system calls of a step".to_owned();
        loop {
            let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut ready, None)).doing(action)?;
            let ready = ready[0].revents();
            if !ready.contains(PollFlags::IN) {
                return Ok(());
            }
            let taken = match notification::receive(&self.listener) {
                Ok(taken) => taken,
                // Whoever called does not wait any more.
                Err(Errno::NOENT | Errno::INTR) => continue,
                Err(errno) => return Err(errno).doing(action),
            };
            match self.answer(&taken) {
                Ok(()) | Err(Errno::NOENT | Errno::INPROGRESS) => {}
                Err(errno) => return Err(errno).doing(action),
            }
        }
    }

    fn answer(&mut self, taken: &Notification) -> std::result::Result<(), Errno> {
        let (listener, id) = (&self.listener, taken.id);
        let call = calls::read(taken.number, &taken.arguments);
        let (Some(call), Some(thread)) = (call, taken.thread) else {
            return notification::answer(listener, id, Answer::GoOn);
        };
        let task = Task::new(&self.view, thread);
        let is_waiting = || {
            if notification::is_waiting(listener, id) {
                Ok(())
            } else {
                Err(Errno::SRCH)
            }
        };
        let answer = match call {
            Call::Own(named, owner) => own(&mut self.files, &self.known, &task, named, owner, is_waiting),
            Call::Status(named, address, form) => {
                let found = task.open(named).and_then(|file| self.files.status(&file, form));
                match found {
                    // An error is the kernel's to tell, too.
                    Ok(None) | Err(_) => Ok(Answer::GoOn),
                    Ok(Some(bytes)) => is_waiting()
                        .and_then(|()| task.write(address, &bytes))
                        .map(|()| Answer::Value(0)),
                }
            }
            Call::Make(named, what) => {
                let known = &self.known;
                let maker = || {
                    is_waiting()?;
                    let who = known.of(thread)?;
                    Ok((who.users.files, who.groups.files))
                };
                match making::make(&task, &mut self.files, maker, named, what) {
                    Ok(Outcome::Left) => Ok(Answer::GoOn),
                    Ok(Outcome::Done) => Ok(Answer::Value(0)),
                    Ok(Outcome::Opened(file, closes)) => {
                        return match notification::answer_with(listener, id, &file, closes) {
                            // The caller has no room for it.
                            Err(errno @ Errno::MFILE) => {
                                notification::answer(listener, id, Answer::Failed(errno))
                            }
                            other => other,
                        };
                    }
                    // Where the way there could not be looked at, the kernel says why.
                    Err(Errno::LOOP | Errno::XDEV) => Ok(Answer::GoOn),
                    Err(errno) => Err(errno),
                }
            }
            Call::Become(change) => become_somebody(&mut self.known, thread, change, is_waiting),
            Call::BecomeMember(count, address) => groups(&task, count, address).and_then(|groups| {
                become_somebody(&mut self.known, thread, Change::Further(groups), is_waiting)
            }),
            Call::Ask(asked) => tell(&self.known, &task, asked, is_waiting),
        };
        notification::answer(listener, id, answer.unwrap_or_else(Answer::Failed))
    }
}

type Checked<'c> = &'c dyn Fn() -> std::result::Result<(), Errno>;

fn own(
    files: &mut Files,
    known: &Known,
    task: &Task<'_>,
    named: Named,
    (uid, gid): (u32, u32),
    is_waiting: impl Fn() -> std::result::Result<(), Errno>,
) -> std::result::Result<Answer, Errno> {
    let file = task.open(named)?;
    let record = files.record(&file)?;
    let or = |id: u32, old: u32| if id == u32::MAX { old } else { id };
    let to = (or(uid, record.uid), or(gid, record.gid));
    if !known.of(task.thread)?.may_give((record.uid, record.gid), to) {
        return Err(Errno::PERM);
    }
    is_waiting()?;
    files.give(task, &file, to)?;
    Ok(Answer::Value(0))
}

fn groups(task: &Task<'_>, count: u64, address: u64) -> std::result::Result<Vec<u32>, Errno> {
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= MOST_GROUPS)
        .ok_or(Errno::INVAL)?;
    let bytes = task.read(address, count * 4)?;
    let ids = bytes
        .chunks_exact(4)
        .map(|id| u32::from_ne_bytes([id[0], id[1], id[2], id[3]]));
    Ok(ids.collect())
}

fn become_somebody(
    known: &mut Known,
    thread: Pid,
    change: Change,
    is_waiting: impl Fn() -> std::result::Result<(), Errno>,
) -> std::result::Result<Answer, Errno> {
    let before = known.of(thread)?;
    let mut after = before.clone();
    let value = after.change(change)?;
    if after != *before {
        is_waiting()?;
        known.give(thread, after)?;
    }
    Ok(Answer::Value(value))
}

fn tell(
    known: &Known,
    task: &Task<'_>,
    asked: Asked,
    is_waiting: impl Fn() -> std::result::Result<(), Errno>,
) -> std::result::Result<Answer, Errno> {
    let who = known.of(task.thread)?;
    let checked: Checked<'_> = &is_waiting;
    let three = |ids: Ids, addresses: [u64; 3]| {
        checked()?;
        for (id, address) in [ids.real, ids.effective, ids.saved].into_iter().zip(addresses) {
            task.write(address, &id.to_ne_bytes())?;
        }
        Ok(Answer::Value(0))
    };
    match asked {
        Asked::User => Ok(Answer::Value(who.users.real.into())),
        Asked::EffectiveUser => Ok(Answer::Value(who.users.effective.into())),
        Asked::Group => Ok(Answer::Value(who.groups.real.into())),
        Asked::EffectiveGroup => Ok(Answer::Value(who.groups.effective.into())),
        Asked::Users(addresses) => three(who.users, addresses),
        Asked::Groups(addresses) => three(who.groups, addresses),
        Asked::Further(room, address) => {
            let count = i64::try_from(who.further.len()).map_err(|_| Errno::INVAL)?;
            if room != 0 {
                if i64::from(room) < count {
                    return Err(Errno::INVAL);
                }
                checked()?;
                let bytes: Vec<u8> = who.further.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
                if !bytes.is_empty() {
                    task.write(address, &bytes)?;
                }
            }
            Ok(Answer::Value(count))
        }
    }
}
