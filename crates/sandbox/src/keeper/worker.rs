//! Forked workers: what takes long or enters other namespaces.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use crate::archive;
use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::{ContainerId, ProcessId};
use crate::inspect;
use crate::probe;
use crate::protocol::{Answer, Reply, Request, Streams};
use crate::requests::{ApplyPlan, ArchivePlan, ArchiveRoot};
use crate::spec::ProcessSpec;
use crate::start;
use crate::sys::{self, Fork};
use crate::wire;

/// Bytes of a registration: process id, pid. Far below what a pipe writes atomically.
const REGISTRATION: usize = 12;

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

/// A process that a worker has started.
pub(super) struct Registration {
    pub(super) process: ProcessId,
    pub(super) pid: Pid,
}

/// Forks workers and hears what they start.
pub(super) struct Workshop {
    registered: OwnedFd,
    register: OwnedFd,
}

/// What a worker has at hand.
pub(crate) struct Workplace<'a> {
    /// The keepers' directory, in the keeper's mount namespace.
    pub(crate) directory: &'a OwnedFd,
    register: &'a OwnedFd,
    socket: BorrowedFd<'a>,
}

impl Workplace<'_> {
    /// Closes everything but the way to answer and `keep`. Must come before a worker touches paths that are a
    /// container's to name, and is the last that it does with the keepers' directory.
    pub(crate) fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> Result<()> {
        let all: Vec<_> = keep.iter().copied().chain([self.socket]).collect();
        sys::close_all_but(&all).doing(|| "close what is the keeper's".into())
    }

    /// Makes a new process known to the keeper. Must come before the process may end and before the answer.
    pub(crate) fn register(&self, process: ProcessId, pid: Pid) -> Result<()> {
        let mut record = [0; REGISTRATION];
        record[..8].copy_from_slice(&process.0.to_ne_bytes());
        record[8..].copy_from_slice(&pid.as_raw_nonzero().get().to_ne_bytes());
        rustix::io::retry_on_intr(|| rustix::io::write(self.register, &record))
            .doing(|| "register a process".into())
            .map(drop)
    }
}

impl Workshop {
    pub(super) fn new() -> Result<Self> {
        let (registered, register) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(|| "make the registration pipe".into())?;
        rustix::fs::fcntl_setfl(&registered, rustix::fs::OFlags::NONBLOCK)
            .doing(|| "make the registration pipe".into())?;
        Ok(Self { registered, register })
    }

    /// The next process that a worker has started, if there is one.
    pub(super) fn registered(&self) -> Result<Option<Registration>> {
        let mut record = [0; REGISTRATION];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.registered, &mut record)) {
            Ok(REGISTRATION) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Ok(length) => {
                return Err(KeeperError::Message {
                    reason: format!("a registration of {length} bytes"),
                });
            }
            Err(errno) => return Err(errno).doing(|| "read the registration pipe".into()),
        }
        let (process, pid) = record.split_at(8);
        let process = process.try_into().map(u64::from_ne_bytes);
        let pid = pid.try_into().map(i32::from_ne_bytes);
        match (process, pid.map(Pid::from_raw)) {
            (Ok(process), Ok(Some(pid))) => Ok(Some(Registration {
                process: ProcessId(process),
                pid,
            })),
            _ => Err(KeeperError::Message {
                reason: "a registration without a pid".into(),
            }),
        }
    }

    /// Forks a worker for `job`; it answers `request` on `socket` by itself.
    pub(super) fn employ(
        &self,
        socket: BorrowedFd<'_>,
        directory: &OwnedFd,
        request: u64,
        job: Job,
        fds: Vec<OwnedFd>,
    ) -> Result<Pid> {
        match sys::fork().doing(|| "fork a worker".into())? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => {
                sys::default_signals();
                let place = Workplace {
                    directory,
                    register: &self.register,
                    socket,
                };
                // A panic must not unwind into the keeper's loop, of which this is a copy.
                let code = catch_unwind(AssertUnwindSafe(|| {
                    let (body, fds) = match work(&place, job, fds) {
                        Ok((answer, fds)) => (Ok(answer), fds),
                        Err(error) => (Err(error), Vec::new()),
                    };
                    let code = i32::from(body.is_err());
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
        Job::Start(order) => start::container(place, order, fds),
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

fn one(fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let missing = || KeeperError::Message {
        reason: "a request without its descriptor".into(),
    };
    fds.into_iter().next().ok_or_else(missing)
}
