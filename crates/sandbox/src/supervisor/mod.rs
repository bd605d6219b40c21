//! Answers system calls of a step whose processes have but one id: whose files are, and who the processes are.
//!
//! A process of its own for each container, beside the container's first one and unseen by it: in the pod's pid namespace, with the
//! pod's user namespace and the container's root. It holds nothing but the listener, `/proc`, and the top of the upper directory, so what
//! a step could have it do is what the step may do itself: its files are the step's files, by the same id and the same mounts.
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
mod files;
mod making;
mod probe;
mod program;
mod task;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

pub(crate) use self::credentials::Credentials;
pub(crate) use self::probe::examine;

use self::calls::{Asked, Call};
use self::credentials::{Change, Known, MOST_GROUPS};
use self::files::Files;
use self::making::Outcome;
use self::task::{Task, View};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::ProcessId;
use crate::keeper::Workplace;
use crate::owners::links::Links;
use crate::spec::RootSpec;
use crate::start::file_system;
use crate::sys::notification::{self, Answer, Notification};
use crate::sys::{self, Fork};
use crate::wire;

/// What a supervisor is told when its step begins; with the listener and the container's mount namespace.
#[derive(Debug, Serialize, Deserialize)]
struct Charge {
    first: Credentials,
    layers: Vec<PathBuf>,
    upper: PathBuf,
}

/// A supervisor that waits for its step.
pub(crate) struct Supervisor {
    socket: OwnedFd,
}

impl Supervisor {
    /// Forks one. Must come before this process leaves the pod's pid namespace.
    pub(crate) fn hire(place: &Workplace<'_>, process: ProcessId) -> Result<Self> {
        let (near, far) = wire::pair()?;
        match sys::fork().doing(|| "fork a supervisor of system calls".into())? {
            Fork::Child => {
                drop(near);
                // A name is all that this is: without it goes on.
                let _ = rustix::thread::set_name(c"supervisor");
                let served = place.let_go_of_the_socket().and_then(|()| begin(place, &far));
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
                Ok(Self { socket: near })
            }
        }
    }

    /// Hands a step over, whose first process has laid the filter: the listener and its mount namespace.
    pub(crate) fn charge(
        &self,
        first: Credentials,
        root: &RootSpec,
        (listener, mounts): (&OwnedFd, &OwnedFd),
    ) -> Result<()> {
        let upper = root.upper.clone().ok_or_else(crate::overlay::nowhere_to_write)?;
        let layers = root.layers.clone();
        let charge = Charge { first, layers, upper };
        wire::send(&self.socket, &charge, &[listener.as_fd(), mounts.as_fd()])?;
        match wire::receive::<Result<()>>(&self.socket)? {
            Some((told, _)) => told,
            None => Err(KeeperError::Unsupervised),
        }
    }
}

/// The step's side: lays the filter over this process, who is to be `credentials`, and gives the listener.
pub(crate) fn submit() -> Result<OwnedFd> {
    credentials::take_first().doing(|| "mark a process as the first of a step".into())?;
    notification::filter_and_listen(&program::program())
        .doing(|| "have system calls answered by a supervisor (Linux 5.14 with CONFIG_SECCOMP_FILTER)".into())
}

/// Takes a charge up; none when there is no step after all.
fn begin(place: &Workplace<'_>, socket: &OwnedFd) -> Result<Option<Supervising>> {
    let Some((charge, fds)) = wire::receive::<Charge>(socket)? else {
        return Ok(None);
    };
    let missing = || KeeperError::Message {
        reason: "a step to be supervised without its descriptors".into(),
    };
    let mut fds = fds.into_iter();
    let (listener, mounts) = (fds.next().ok_or_else(missing)?, fds.next().ok_or_else(missing)?);
    let directory = OFlags::RDONLY | OFlags::DIRECTORY;
    let action = || "read the owners of a step's files".to_owned();
    let mut links = Links::default();
    for layer in &charge.layers {
        links
            .load(&beneath::open_with(place.directory, layer, directory)?)
            .doing(action)?;
    }
    let top = beneath::open_with(place.directory, &charge.upper.join("fs"), directory)?;
    links.load(&top).doing(action)?;
    let processes = file_system("proc", &[], MountAttrFlags::empty())
        .doing(|| "mount a fresh /proc to supervise a step by".into())?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .doing(|| "enter the container that is supervised".into())?;
    drop(mounts);
    sys::close_all_but(&[listener.as_fd(), top.as_fd(), processes.as_fd(), socket.as_fd()])
        .doing(|| "close what is the keeper's".into())?;
    // Files of this process are named by its `/proc`, from where it stands.
    rustix::process::fchdir(&processes).doing(|| "enter /proc".into())?;
    let action = || "look at the root that is supervised".to_owned();
    notification::wake_in_place(&listener);
    Ok(Some(Supervising {
        listener,
        view: View::new(processes).doing(action)?,
        files: Files::new(links, top).doing(action)?,
        known: Known::new(charge.first),
    }))
}

struct Supervising {
    listener: OwnedFd,
    view: View,
    files: Files,
    known: Known,
}

impl Supervising {
    /// Answers until nobody is left to be answered.
    fn serve(&mut self) -> Result<()> {
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
                let maker = self
                    .known
                    .of(thread)
                    .map(|who| (who.users.files, who.groups.files));
                let made = is_waiting()
                    .and(maker)
                    .and_then(|maker| making::make(&task, &mut self.files, maker, named, what));
                match made {
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
    named: calls::Named,
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
    let three = |ids: credentials::Ids, addresses: [u64; 3]| {
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
