//! Forked workers: what takes long or enters other namespaces.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use crate::archive;
use crate::chroot::{self, Assigned, Outcome};
use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::{ContainerId, ProcessId};
use crate::inspect;
use crate::isolation::Isolation;
use crate::overlay;
use crate::owners::Ownership;
use crate::probe;
use crate::protocol::{Answer, Reply, Request, Streams};
use crate::requests::{ApplyPlan, ArchivePlan, ArchiveRoot};
use crate::spec::{ExitStatus, ProcessSpec};
use crate::start;
use crate::sys::{self, Fork};
use crate::wire;

/// Bytes of a note: what it is, process id, pid, status. Far below what a pipe writes atomically.
const NOTE: usize = 20;

/// What a worker is to do.
pub(super) enum Job {
    Files(Request),
    Apply {
        plan: ApplyPlan,
        inside: Option<OwnedFd>,
    },
    Archive {
        plan: ArchivePlan,
        inside: Option<OwnedFd>,
    },
    Start(start::Order),
    Stat {
        root: ArchiveRoot,
        paths: Vec<PathBuf>,
        inside: Option<OwnedFd>,
    },
    Exec {
        container: ContainerId,
        init: OwnedFd,
        process: ProcessId,
        spec: ProcessSpec,
        streams: Streams,
    },
}

/// What a worker has to say before it, or what it started, ends.
pub(super) enum Note {
    /// A process that it has started.
    Started { process: ProcessId, pid: Pid },
    /// The process that answers system calls of another one.
    Supervised { process: ProcessId, pid: Pid },
    /// What became of the tree that it was given and, if it stood over a program, how that ended.
    Settled {
        pid: Pid,
        outcome: Outcome,
        status: Option<ExitStatus>,
    },
}

impl Note {
    fn to_bytes(&self) -> [u8; NOTE] {
        let mut bytes = [0; NOTE];
        let (kind, number, pid, status) = match self {
            Self::Started { process, pid } => (0_u32, process.0, pid, 0),
            Self::Supervised { process, pid } => (4, process.0, pid, 0),
            Self::Settled { pid, outcome, status } => {
                let kind = match outcome {
                    Outcome::Unchanged => 1,
                    Outcome::Changed => 2,
                    Outcome::Broken => 3,
                };
                // A signal's number is told by its sign.
                let (known, status) = match status {
                    None => (0, 0),
                    Some(ExitStatus::Code(code)) => (1, *code),
                    Some(ExitStatus::Signal(signal)) => (1, -signal),
                };
                (kind, known, pid, status)
            }
        };
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..12].copy_from_slice(&number.to_ne_bytes());
        bytes[12..16].copy_from_slice(&pid.as_raw_nonzero().get().to_ne_bytes());
        bytes[16..].copy_from_slice(&status.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; NOTE]) -> Option<Self> {
        let number = u64::from_ne_bytes(bytes[4..12].try_into().ok()?);
        let pid = Pid::from_raw(i32::from_ne_bytes(bytes[12..16].try_into().ok()?))?;
        let status = i32::from_ne_bytes(bytes[16..].try_into().ok()?);
        let outcome = match u32::from_ne_bytes(bytes[..4].try_into().ok()?) {
            0 => {
                let process = ProcessId(number);
                return Some(Self::Started { process, pid });
            }
            4 => {
                let process = ProcessId(number);
                return Some(Self::Supervised { process, pid });
            }
            1 => Outcome::Unchanged,
            2 => Outcome::Changed,
            _ => Outcome::Broken,
        };
        let status = (number == 1).then_some(if status < 0 {
            ExitStatus::Signal(-status)
        } else {
            ExitStatus::Code(status)
        });
        Some(Self::Settled { pid, outcome, status })
    }
}

/// Forks workers and hears what they start.
pub(super) struct Workshop {
    isolation: Isolation,
    registered: OwnedFd,
    register: OwnedFd,
}

/// What a worker has at hand.
pub(crate) struct Workplace<'a> {
    /// The keepers' directory, in the keeper's mount namespace.
    pub(crate) directory: &'a OwnedFd,
    /// Where it is said whose files are.
    pub(crate) ownership: Ownership,
    /// How roots are made.
    pub(crate) rooms: Rooms,
    /// How it goes into one.
    pub(crate) isolation: Isolation,
    register: &'a OwnedFd,
    socket: BorrowedFd<'a>,
}

/// What roots are to a worker.
#[derive(Debug)]
pub(crate) enum Rooms {
    /// Overlays that it mounts.
    Mounts,
    /// Trees, of which it was given one if its request means a root.
    Trees(Option<Assigned>),
}

impl Rooms {
    /// What became of the tree of who only looked.
    fn outcome_of_a_look(&self, is_done: bool) -> Option<Outcome> {
        match self {
            Self::Trees(Some(tree)) => tree.outcome_of_a_look(is_done),
            Self::Mounts | Self::Trees(None) => None,
        }
    }
}

impl Workplace<'_> {
    /// Makes an open directory the root that this process stands in. Where it may have none of its own it only goes there: what it
    /// does there then keeps to the root by itself.
    pub(crate) fn enter(&self, root: &OwnedFd) -> Result<()> {
        match self.isolation {
            Isolation::Namespaces | Isolation::OneId | Isolation::Chroot | Isolation::NoMounts => {
                overlay::enter_directory(root)
            }
            Isolation::Bare => rustix::process::fchdir(root).doing(|| "enter the root".into()),
        }
    }

    /// Closes everything but the ways to answer and `keep`. Must come before a worker touches paths that are a
    /// container's to name, and is the last that it does with the keepers' directory.
    pub(crate) fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> Result<()> {
        let own = [self.socket, self.register.as_fd()];
        let all: Vec<_> = keep.iter().copied().chain(own).collect();
        sys::close_all_but(&all).doing(|| "close what is the keeper's".into())
    }

    /// Makes a new process known to the keeper. Must come before the process may end and before the answer.
    pub(crate) fn register(&self, process: ProcessId, pid: Pid) -> Result<()> {
        self.tell(&Note::Started { process, pid })
    }

    /// Makes known who answers a process's system calls. Must come before either may end.
    pub(crate) fn supervised(&self, process: ProcessId, pid: Pid) -> Result<()> {
        self.tell(&Note::Supervised { process, pid })
    }

    /// Tells the keeper what became of a tree. Must come before the process that says it, which is named, ends, and before a worker's
    /// answer: whoever gets that may ask for the tree again at once, and the worker is still to end.
    pub(crate) fn settled(&self, pid: Pid, outcome: Outcome, status: Option<ExitStatus>) -> Result<()> {
        self.tell(&Note::Settled { pid, outcome, status })
    }

    fn tell(&self, note: &Note) -> Result<()> {
        let bytes = note.to_bytes();
        rustix::io::retry_on_intr(|| rustix::io::write(self.register, &bytes))
            .doing(|| "tell the keeper of a process".into())
            .map(drop)
    }

    /// Leaves the control socket to the keeper: for who outlives a worker, since the socket's end is to be the keeper's.
    pub(crate) fn let_go_of_the_socket(&self) -> Result<()> {
        let null = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .doing(|| "open /dev/null".into())?;
        sys::place(&null, self.socket.as_raw_fd()).doing(|| "let go of the control socket".into())
    }
}

impl Workshop {
    pub(super) fn new(isolation: Isolation) -> Result<Self> {
        let (registered, register) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(|| "make the registration pipe".into())?;
        rustix::fs::fcntl_setfl(&registered, rustix::fs::OFlags::NONBLOCK)
            .doing(|| "make the registration pipe".into())?;
        Ok(Self {
            isolation,
            registered,
            register,
        })
    }

    pub(super) fn ownership(&self) -> Ownership {
        self.isolation.ownership()
    }

    /// The next thing that a worker has to say, if there is one.
    pub(super) fn note(&self) -> Result<Option<Note>> {
        let mut bytes = [0; NOTE];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.registered, &mut bytes)) {
            Ok(NOTE) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Ok(length) => {
                return Err(KeeperError::Message {
                    reason: format!("a note of {length} bytes"),
                });
            }
            Err(errno) => return Err(errno).doing(|| "read what workers have to say".into()),
        }
        let unreadable = || KeeperError::Message {
            reason: "a note without a pid".into(),
        };
        Note::from_bytes(&bytes).map(Some).ok_or_else(unreadable)
    }

    /// Forks a process that removes trees, and answers nobody.
    pub(super) fn remove(&self, directory: &OwnedFd, paths: &[PathBuf]) -> Result<()> {
        match sys::fork().doing(|| "fork to remove trees".into())? {
            Fork::Parent(_) => Ok(()),
            Fork::Child => {
                sys::default_signals();
                // What stays goes with the keeper's other trees.
                let removed = paths
                    .iter()
                    .all(|path| crate::tree::remove(directory, path).is_ok());
                sys::exit(i32::from(!removed));
            }
        }
    }

    /// Forks a worker for `job`; it answers `request` on `socket` by itself.
    pub(super) fn employ(
        &self,
        socket: BorrowedFd<'_>,
        directory: &OwnedFd,
        request: u64,
        (job, rooms): (Job, Rooms),
        fds: Vec<OwnedFd>,
    ) -> Result<Pid> {
        match sys::fork().doing(|| "fork a worker".into())? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => {
                sys::default_signals();
                let place = Workplace {
                    directory,
                    ownership: self.ownership(),
                    register: &self.register,
                    socket,
                    rooms,
                    isolation: self.isolation,
                };
                // A panic must not unwind into the keeper's loop, of which this is a copy.
                let code = catch_unwind(AssertUnwindSafe(|| {
                    let (body, fds) = match work(&place, job, fds) {
                        Ok((answer, fds)) => (Ok(answer), fds),
                        Err(error) => (Err(error), Vec::new()),
                    };
                    let code = i32::from(body.is_err());
                    if let Some(outcome) = place.rooms.outcome_of_a_look(body.is_ok())
                        && place.settled(rustix::process::getpid(), outcome, None).is_err()
                    {
                        return 2;
                    }
                    let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
                    match wire::send(socket, &Reply { id: request, body }, &fds) {
                        Ok(()) => code,
                        Err(_) => 2,
                    }
                }));
                sys::exit(code.unwrap_or(101));
            }
        }
    }
}

fn work(place: &Workplace<'_>, job: Job, fds: Vec<OwnedFd>) -> Result<(Answer, Vec<OwnedFd>)> {
    match job {
        Job::Start(order) => match &place.rooms {
            Rooms::Mounts => start::container(place, order, fds),
            Rooms::Trees(Some(tree)) => chroot::container(place, tree, order, fds),
            Rooms::Trees(None) => Err(no_tree()),
        },
        Job::Exec {
            container,
            init,
            process,
            spec,
            streams,
        } => start::execute(place, container, init, process, &spec, streams, fds),
        Job::Stat { root, paths, inside } => {
            inspect::stat(place, &root, inside, &paths).map(|found| (Answer::Statuses(found), Vec::new()))
        }
        Job::Apply { plan, inside } => archive::apply(place, &plan, inside, one(fds)?)
            .map(|report| (Answer::Applied(report), Vec::new())),
        Job::Files(Request::ConnectTcp(address)) => {
            crate::net::connect(address).map(|connection| (Answer::Done, vec![connection]))
        }
        Job::Archive { plan, inside } => {
            archive::archive(place, &plan, inside, one(fds)?).map(|answer| (answer, Vec::new()))
        }
        Job::Files(request) => files(place, request, fds).map(|answer| (answer, Vec::new())),
    }
}

fn files(place: &Workplace<'_>, request: Request, fds: Vec<OwnedFd>) -> Result<Answer> {
    match request {
        Request::RemoveTree { path } => {
            crate::tree::remove(place.directory, &path)?;
            Ok(Answer::Done)
        }
        Request::Sizes { path } => crate::usage::sizes(place.directory, &path).map(Answer::Sizes),
        Request::Usage { paths } => crate::usage::usage(place.directory, &paths).map(Answer::Usage),
        Request::Unlinked { processes } => {
            crate::unlinked::usage(place.directory, &processes).map(Answer::Usage)
        }
        Request::Unpack(plan) => archive::unpack(place, &plan, one(fds)?).map(Answer::Unpacked),
        Request::Diff(plan) => archive::diff(place, &plan, one(fds)?).map(Answer::Diffed),
        Request::Glob { root, pattern } => inspect::glob(place, &root, &pattern).map(Answer::Paths),
        Request::ResolveUser { root, user } => {
            let (uid, gid) = inspect::resolve_user(place, &root, &user)?;
            Ok(Answer::User { uid, gid })
        }
        Request::Probe(question) => Ok(Answer::Found(probe::examine(place, question))),
        other => Err(KeeperError::Message {
            reason: format!("{other:?} is no work for a worker"),
        }),
    }
}

/// A keeper with trees gives one to whoever needs it.
pub(crate) fn no_tree() -> KeeperError {
    KeeperError::Message {
        reason: "a request about a root without its tree".into(),
    }
}

fn one(fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let missing = || KeeperError::Message {
        reason: "a request without its descriptor".into(),
    };
    fds.into_iter().next().ok_or_else(missing)
}
