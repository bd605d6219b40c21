//! The keeper: first process of a pod's pid namespace, one thread, one loop.
//!
//! It takes requests from the control socket. What is quick it does itself; what may take long, or must enter other
//! namespaces, a forked worker does, which answers on the same socket, so several run at once and one that breaks
//! breaks nothing else. Processes of containers become the keeper's children when the worker that started them ends.
//!
//! Order matters in one place: a worker writes a new process's pid into the registration pipe before the process may
//! run and before it answers. The pipe is emptied before children are reaped and before a request is read, so a
//! process is always known before it can end or be asked about.
//!
//! Failure: when the control socket ends, so does the keeper, and the kernel kills everything in its pid namespace.

mod in_trees;
mod processes;
mod quick;
mod worker;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open};

use self::in_trees::{Directories, Grove, Wanted};
use self::processes::{Processes, Waiter};
use self::worker::{Job, Note, Workshop};
use crate::chroot::{self, Lease, Trees};
use crate::error::{Doing as _, KeeperError, Result};
use crate::formats::Formats;
use crate::ids::{ContainerId, ProcessId};
use crate::isolation::Isolation;
use crate::layout;
use crate::net;
use crate::protocol::{Answer, Envelope, LaunchPlan, Reply, Request};
use crate::requests::ArchiveRoot;
use crate::spec::{ContainerSpec, ExitStatus, MountSource, NetworkPlan};
use crate::start;
use crate::sys;
use crate::wire;

pub(crate) use self::worker::{Rooms, Workplace, no_tree};

/// As many processes without a supervisor are remembered; each of them was a step that failed.
const MOST_UNSUPERVISED: usize = 1024;

/// The keeper's state.
pub(crate) struct Server<'socket> {
    socket: BorrowedFd<'socket>,
    directory: OwnedFd,
    children: OwnedFd,
    workshop: Workshop,
    workers: HashMap<Pid, Worker>,
    processes: Processes,
    network: Option<NetworkPlan>,
    formats: Option<Formats>,
    next: u64,
    /// Where there are neither namespaces nor mounts.
    grove: Option<Grove>,
    /// Who answers system calls of which process.
    supervisors: HashMap<Pid, ProcessId>,
    /// Processes that lost theirs before they ended: the latest ones.
    unsupervised: VecDeque<ProcessId>,
    /// Whoever must not end before this process.
    launcher: Option<Pid>,
}

/// A worker that has not ended.
struct Worker {
    request: u64,
    /// What there will be if it succeeds, and must not be if it fails.
    starts: Option<Starts>,
    lease: Option<Lease>,
}

#[derive(Clone, Copy)]
enum Starts {
    Container(ContainerId, ProcessId),
    Process(ProcessId),
}

impl<'socket> Server<'socket> {
    /// Makes what the keeper needs in its directory.
    pub(crate) fn new(socket: BorrowedFd<'socket>, directory: OwnedFd, plan: &LaunchPlan) -> Result<Self> {
        layout::prepare(&directory)?;
        let grove = match plan.isolation {
            Isolation::Namespaces | Isolation::OneId => None,
            Isolation::Chroot | Isolation::NoMounts | Isolation::Bare => {
                Some(Grove::new(Trees::prepare(&directory)?, plan))
            }
        };
        Ok(Self {
            grove,
            launcher: rustix::process::getppid(),
            socket,
            directory,
            children: sys::child_signals().doing(|| "watch children".into())?,
            workshop: Workshop::new(plan.isolation)?,
            workers: HashMap::new(),
            processes: Processes::default(),
            network: None,
            formats: None,
            next: 1,
            supervisors: HashMap::new(),
            unsupervised: VecDeque::new(),
        })
    }

    /// Serves until the other side is gone.
    pub(crate) fn serve(mut self) -> Result<()> {
        let served = self.serve_requests();
        self.end().and(served)
    }

    fn serve_requests(&mut self) -> Result<()> {
        loop {
            let (asked, ended) = {
                let mut ready = [
                    PollFd::new(&self.socket, PollFlags::IN),
                    PollFd::new(&self.children, PollFlags::IN),
                ];
                let pause = self.grove.as_ref().and_then(Grove::pause);
                match poll(&mut ready, pause.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno).doing(|| "wait for requests".into()),
                }
                (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
            };
            if ended {
                // Where no namespace ends with the launcher, its end is heard as a child's would be.
                if self.grove.is_some() && rustix::process::getppid() != self.launcher {
                    return Ok(());
                }
                self.reap()?;
            }
            self.count_processes();
            if asked {
                let Some((envelope, fds)) = wire::receive::<Envelope<Request>>(self.socket)? else {
                    return Ok(());
                };
                self.hear_notes()?;
                self.handle(envelope, fds)?;
            }
        }
    }

    fn hear_notes(&mut self) -> Result<()> {
        while let Some(note) = self.workshop.note()? {
            match note {
                Note::Started { process, pid } => self.processes.running(process, pid),
                Note::Supervised { process, pid } => {
                    self.supervisors.insert(pid, process);
                }
                Note::Settled { pid, outcome, status } => self.settled(pid, outcome, status),
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<()> {
        // Emptied first: children that end from here on raise it again.
        let mut buffer = [0_u8; 1024];
        while rustix::io::read(&self.children, &mut buffer).is_ok_and(|length| length > 0) {}
        loop {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).doing(|| "reap a child".into()),
            };
            self.hear_notes()?;
            if let Some(worker) = self.workers.remove(&pid) {
                self.worker_ended(worker, status)?;
            } else if let Some(process) = self.supervisors.remove(&pid) {
                self.supervisor_ended(process, status);
            } else {
                let process = self.processes.process_of(pid);
                let status = self.true_end(pid, process, exit_status(status));
                for waiter in self.processes.ended(pid, status) {
                    self.tell(waiter)?;
                }
            }
        }
    }

    /// What is left of a process that lost its supervisor would only fail, call by call. One that was done with its work has seen
    /// everybody end whom it answered.
    fn supervisor_ended(&mut self, process: ProcessId, status: WaitStatus) {
        if status.exit_status() == Some(0) {
            return;
        }
        if let Ok(Some(pid)) = self.processes.pid(process) {
            if self.unsupervised.len() >= MOST_UNSUPERVISED {
                self.unsupervised.pop_front();
            }
            self.unsupervised.push_back(process);
            // It may have ended by itself.
            let _ = sys::kill(pid, self.end_of_a_container());
        }
    }

    /// The signal that ends a container: without namespaces its minder puts things in order first.
    fn end_of_a_container(&self) -> i32 {
        if self.grove.is_some() {
            chroot::END
        } else {
            libc::SIGKILL
        }
    }

    fn worker_ended(&mut self, mut worker: Worker, status: WaitStatus) -> Result<()> {
        let code = status.exit_status();
        if let Some(lease) = worker.lease.take() {
            let process = match worker.starts {
                Some(Starts::Container(_, process)) => Some(process),
                Some(Starts::Process(_)) | None => None,
            };
            self.worker_left_tree(lease, process, code);
        }
        if code != Some(0) {
            for waiter in self.forget(&worker) {
                self.tell(waiter)?;
            }
        }
        // 0 and 1 are workers that have answered.
        if matches!(code, Some(0 | 1)) {
            return Ok(());
        }
        let how = match (code, status.terminating_signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown status".into(),
        };
        self.reply(worker.request, Err(KeeperError::Worker { how }), &[])
    }

    fn forget(&mut self, worker: &Worker) -> Vec<Waiter> {
        match worker.starts {
            Some(Starts::Container(container, process)) => {
                self.processes.remove_container(container);
                self.processes.abandon(process)
            }
            Some(Starts::Process(process)) => self.processes.abandon(process),
            None => Vec::new(),
        }
    }

    fn tell(&self, waiter: Waiter) -> Result<()> {
        match waiter {
            Waiter::Exit {
                request,
                process,
                status,
            } => self.reply(request, self.how_it_ended(process, status), &[]),
            Waiter::Stop { request } => self.reply(request, Ok(Answer::Done), &[]),
        }
    }

    /// A process that lost its supervisor has failed, however it ended: some of its calls had no answer.
    fn how_it_ended(&self, process: ProcessId, status: ExitStatus) -> Result<Answer> {
        if self.unsupervised.contains(&process) {
            return Err(KeeperError::Unsupervised);
        }
        Ok(Answer::Exited(status))
    }

    fn reply(&self, id: u64, body: Result<Answer>, fds: &[BorrowedFd<'_>]) -> Result<()> {
        wire::send(self.socket, &Reply { id, body }, fds)
    }

    fn handle(&mut self, Envelope { id, body }: Envelope<Request>, fds: Vec<OwnedFd>) -> Result<()> {
        match self.dispatch(id, body, fds) {
            Ok(None) => Ok(()),
            Ok(Some((answer, fds))) => {
                let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
                match self.reply(id, Ok(answer), &fds) {
                    // Descriptors that cannot be handed over are this request's failure, not the end of the pod.
                    Err(error @ KeeperError::System { .. }) if !fds.is_empty() => {
                        self.reply(id, Err(error), &[])
                    }
                    other => other,
                }
            }
            Err(error) => self.reply(id, Err(error), &[]),
        }
    }

    /// Answers at once, or leaves the answer to a worker or to the end of a process.
    fn dispatch(
        &mut self,
        id: u64,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Option<(Answer, Vec<OwnedFd>)>> {
        self.refuse_what_needs_namespaces(&request)?;
        let wanted = Wanted::of(&request);
        if let Some(change) = Directories::of(&request) {
            self.follow_directories(&change);
        }
        match request {
            Request::ConfigureNetwork(plan) => {
                net::configure(&plan)?;
                self.network = Some(plan);
                return Ok(Some((Answer::Done, Vec::new())));
            }
            Request::RegisterInterpreter(interpreter) => {
                let formats = match &self.formats {
                    Some(formats) => formats,
                    None => self.formats.insert(Formats::open()?),
                };
                formats.register(&interpreter)?;
                return Ok(Some((Answer::Done, Vec::new())));
            }
            Request::Wait(process) => match self.processes.wait(process, id)? {
                Some(status) => return Ok(Some((self.how_it_ended(process, status)?, Vec::new()))),
                None => return Ok(None),
            },
            Request::Signal { process, signal } => {
                if let Some(pid) = self.processes.pid(process)? {
                    let signal = if self.grove.is_some() { chroot::END } else { signal };
                    signal_process(process, pid, signal)?;
                }
                return Ok(Some((Answer::Done, Vec::new())));
            }
            Request::Stop(container) => {
                let init = self.processes.init(container)?;
                self.processes.remove_container(container);
                let Some(pid) = self.processes.pid(init)? else {
                    return Ok(Some((Answer::Done, Vec::new())));
                };
                self.processes.stop(init, id);
                signal_process(init, pid, self.end_of_a_container())?;
                return Ok(None);
            }
            Request::Start {
                spec,
                streams,
                cloned,
            } => {
                let container = ContainerId(self.number());
                let process = ProcessId(self.number());
                let others = self.others_of(&spec)?;
                self.processes.start_container(container, process);
                let job = Job::Start(start::Order {
                    container,
                    process,
                    spec,
                    streams,
                    cloned,
                    others,
                    pod: self.network,
                });
                self.employ(
                    id,
                    Some(Starts::Container(container, process)),
                    (job, wanted),
                    fds,
                )?;
            }
            Request::Exec {
                container,
                process: spec,
                streams,
            } => {
                let init = self.running_init(container)?;
                let process = ProcessId(self.number());
                self.processes.start(process);
                let job = Job::Exec {
                    container,
                    init,
                    process,
                    spec,
                    streams,
                };
                self.employ(id, Some(Starts::Process(process)), (job, wanted), fds)?;
            }
            Request::Archive(plan) => {
                let inside = self.init_of(&plan.root)?;
                self.employ(id, None, (Job::Archive { plan, inside }, wanted), fds)?;
            }
            Request::Stat { root, paths } => {
                let inside = self.init_of(&root)?;
                let job = Job::Stat { root, paths, inside };
                self.employ(id, None, (job, wanted), fds)?;
            }
            Request::Apply(plan) => {
                let inside = self.init_of(&plan.root)?;
                self.employ(id, None, (Job::Apply { plan, inside }, wanted), fds)?;
            }
            other => match quick::answer(&self.directory, self.workshop.ownership(), other, fds)? {
                quick::Outcome::Answered(answer, fds) => return Ok(Some((answer, fds))),
                quick::Outcome::Long(request, fds) => {
                    self.employ(id, None, (Job::Files(request), wanted), fds)?;
                }
            },
        }
        Ok(None)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The first process of a running container. Held before anything is forked: only this process reaps it, so the number
    /// is still its own now, and later might be that of a process which another container made.
    fn running_init(&self, container: ContainerId) -> Result<OwnedFd> {
        let gone = || KeeperError::UnknownContainer { container };
        let init = self.processes.init(container)?;
        let pid = self.processes.pid(init)?.ok_or_else(gone)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => Err(gone()),
            other => other.doing(|| format!("hold container {container}")),
        }
    }

    fn init_of(&self, root: &ArchiveRoot) -> Result<Option<OwnedFd>> {
        match root {
            ArchiveRoot::Container(container) => self.running_init(*container).map(Some),
            ArchiveRoot::Root(_) | ArchiveRoot::Directory(_) => Ok(None),
        }
    }

    /// The containers that another one mounts something of.
    fn others_of(&self, spec: &ContainerSpec) -> Result<BTreeMap<ContainerId, OwnedFd>> {
        let mut others = BTreeMap::new();
        for mount in &spec.mounts {
            if let MountSource::Container { container, .. } = mount.source
                && !others.contains_key(&container)
            {
                others.insert(container, self.running_init(container)?);
            }
        }
        Ok(others)
    }

    fn employ(
        &mut self,
        request: u64,
        starts: Option<Starts>,
        (job, wanted): (Job, Option<Wanted>),
        fds: Vec<OwnedFd>,
    ) -> Result<()> {
        let (rooms, lease) = self.room_for(wanted);
        let worker = Worker {
            request,
            starts,
            lease,
        };
        match self
            .workshop
            .employ(self.socket, &self.directory, request, (job, rooms), fds)
        {
            Ok(pid) => {
                self.workers.insert(pid, worker);
                Ok(())
            }
            Err(error) => {
                self.forget(&worker);
                if let Some(lease) = worker.lease {
                    self.worker_left_tree(lease, None, None);
                }
                Err(error)
            }
        }
    }
}

fn signal_process(process: ProcessId, pid: Pid, signal: i32) -> Result<()> {
    match sys::kill(pid, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno).doing(|| format!("send signal {signal} to process {process}")),
    }
}

pub(crate) fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, signal) => ExitStatus::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}
