//! A keeper as its pod's owner holds it.
//!
//! Any thread may ask; one thread reads the answers and hands each to who waits for it. When the connection ends
//! (the keeper was told to, was killed, or its launcher was) every call that waits, and every later one, gets
//! [`KeeperError::Gone`].

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::mount::OpenTreeFlags;

use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::{ContainerId, ProcessId};
use crate::launch::{LaunchError, LaunchOptions, Launched, launch};
use crate::probe::{Finding, Question};
use crate::protocol::{Answer, ApplyPlan, ArchivePlan, Envelope, Reply, Request, Streams};
use crate::requests::{
    ApplyReport, ApplyRequest, ArchiveReport, ArchiveRequest, DiffReport, DiffRequest, FileStatus,
    UnpackReport, UnpackRequest,
};
use crate::spec::{
    ContainerSpec, ExitStatus, MountSource, NetworkPlan, ProcessSpec, RootSpec, Started, Stdio,
};
use crate::sys;
use crate::wire;

/// How long a keeper that was told to end may take before its launcher is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pod's keeper. Clones are the same keeper; it ends when the last one is dropped.
///
/// All calls block until the keeper has answered.
#[derive(Debug, Clone)]
pub struct Keeper {
    handle: Arc<Handle>,
}

/// Ends the connection when the last clone goes. The reading thread holds the connection, but never this.
#[derive(Debug)]
struct Handle {
    connection: Arc<Connection>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.shut();
    }
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    launcher: u32,
    next: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
enum State {
    /// Requests go out, answers come back.
    Serving {
        waiting: HashMap<u64, SyncSender<Delivery>>,
        terminals: HashMap<ProcessId, OwnedFd>,
    },
    /// The connection is over, the launcher not yet reaped.
    Ending,
    /// Nothing is left.
    Ended,
}

type Delivery = (Result<Answer>, Vec<OwnedFd>);

impl Connection {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut(&self) {
        // Fails only if the other side is already gone.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Hands out answers until the connection ends, then reaps the launcher.
    fn read(&self, mut launcher: Child, keeper: &OwnedFd) {
        while let Ok(Some((reply, fds))) = wire::receive::<Reply>(&self.socket) {
            let waiting = match &mut *self.lock() {
                State::Serving { waiting, .. } => waiting.remove(&reply.id),
                State::Ending | State::Ended => None,
            };
            if let Some(waiting) = waiting {
                // Who asked always waits, but a thread may have been torn down.
                let _ = waiting.send((reply.body, fds));
            }
        }
        self.shut();
        // Dropping the senders wakes everybody who waits.
        *self.lock() = State::Ending;
        reap(&mut launcher, keeper);
        *self.lock() = State::Ended;
        self.ended.notify_all();
    }
}

/// Waits for the keeper and its launcher; if that takes too long the launcher is killed, and the kernel kills its
/// keeper with it.
fn reap(launcher: &mut Child, keeper: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    let ends_in_time = || {
        let patience = rustix::time::Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let mut ready = [PollFd::new(keeper, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ready, Some(&patience))).is_ok_and(|count| count > 0)
    };
    if !ends_in_time() {
        // Fails only if it ended in the meantime.
        let _ = launcher.kill();
        ends_in_time();
    }
    // Fails only if somebody else reaped it, which is as good.
    let _ = launcher.wait();
}

impl Keeper {
    /// Starts a keeper. Call from a process whose `main` begins with
    /// [`enter_keeper_if_asked`](crate::enter_keeper_if_asked).
    pub fn launch(options: &LaunchOptions) -> std::result::Result<Self, LaunchError> {
        let Launched {
            launcher,
            socket,
            keeper,
        } = launch(options)?;
        let connection = Arc::new(Connection {
            socket,
            launcher: launcher.id(),
            next: AtomicU64::new(1),
            state: Mutex::new(State::Serving {
                waiting: HashMap::new(),
                terminals: HashMap::new(),
            }),
            ended: Condvar::new(),
        });
        let reader = Arc::clone(&connection);
        std::thread::Builder::new()
            .name("keeper-replies".into())
            .spawn(move || reader.read(launcher, &keeper))
            .map_err(|source| LaunchError::Setup {
                source: KeeperError::System {
                    action: "start a thread".into(),
                    cause: source.into(),
                },
            })?;
        Ok(Self {
            handle: Arc::new(Handle { connection }),
        })
    }

    /// Whether the keeper still serves.
    pub fn is_alive(&self) -> bool {
        matches!(*self.handle.connection.lock(), State::Serving { .. })
    }

    /// Process id of the launcher on this machine, for diagnostics.
    pub fn launcher_id(&self) -> u32 {
        self.handle.connection.launcher
    }

    /// Ends the keeper and everything it started; returns when all of it is gone.
    pub fn close(&self) {
        let connection = &self.handle.connection;
        connection.shut();
        let mut state = connection.lock();
        while !matches!(*state, State::Ended) {
            state = connection
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes the pod's bridge with its address and, if wanted, the rule that redirects TCP to it; brings loopback up.
    pub fn configure_network(&self, plan: &NetworkPlan) -> Result<()> {
        self.order(Request::ConfigureNetwork(*plan), &[])
    }

    /// Gives the bridge another address, for a service of the calling process.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        self.order(Request::AddAddress(address), &[])
    }

    /// A listening TCP socket in the pod's network.
    pub fn listen_tcp(&self, address: SocketAddrV4) -> Result<OwnedFd> {
        self.descriptor(Request::ListenTcp(address))
    }

    /// A bound UDP socket in the pod's network.
    pub fn bind_udp(&self, address: SocketAddrV4) -> Result<OwnedFd> {
        self.descriptor(Request::BindUdp(address))
    }

    /// A TCP connection from the pod's network, made within a second or refused.
    pub fn connect_tcp(&self, address: SocketAddrV4) -> Result<OwnedFd> {
        self.descriptor(Request::ConnectTcp(address))
    }

    /// A pipe (read end, write end) that belongs to the pod's root, so that a container can open it again through
    /// `/dev/stdout` and the like.
    pub fn pipe(&self) -> Result<(OwnedFd, OwnedFd)> {
        let (_, mut fds) = self.ask(Request::Pipe, &[])?;
        match (fds.pop(), fds.pop()) {
            (Some(write), Some(read)) => Ok((read, write)),
            _ => Err(unexpected("a pipe without its ends")),
        }
    }

    /// Makes a directory; its parent must exist, it must not.
    pub fn make_directory(&self, path: &Path, mode: u32, owner: (u32, u32)) -> Result<()> {
        self.order(
            Request::MakeDirectory {
                path: path.into(),
                mode,
                owner,
            },
            &[],
        )
    }

    /// Renames within the keepers' directory, replacing what the kernel would replace.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.order(
            Request::Rename {
                from: from.into(),
                to: to.into(),
            },
            &[],
        )
    }

    /// Removes a file or a whole tree, whatever its modes and depth; a missing one is no error.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.order(Request::RemoveTree { path: path.into() }, &[])
    }

    /// The bytes of disk that each directory in this one takes, with all below it; `u64::MAX` for one too deep to measure.
    pub fn sizes(&self, path: &Path) -> Result<Vec<(String, u64)>> {
        match self.answer(Request::Sizes { path: path.into() }, &[])? {
            Answer::Sizes(sizes) => Ok(sizes),
            _ => Err(unexpected("sizes")),
        }
    }

    /// Removes those of these paths in `tree` that are empty files, or directories with nothing in them, in this order.
    /// Paths begin with `/`, which is `tree`; links are not followed. For a few paths: the keeper does it by itself.
    pub fn remove_empty(&self, tree: &Path, paths: &[PathBuf]) -> Result<()> {
        let request = Request::RemoveEmpty {
            tree: tree.into(),
            paths: paths.to_vec(),
        };
        self.order(request, &[])
    }

    /// Writes a file whole, in place of one that may be there.
    pub fn write_file(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
        let memory = wire::memory_file(bytes)?;
        self.order(
            Request::WriteFile {
                path: path.into(),
                mode,
                owner,
            },
            &[memory.as_fd()],
        )
    }

    /// Unpacks a layer into overlayfs's form.
    pub fn unpack(&self, request: UnpackRequest) -> Result<UnpackReport> {
        let UnpackRequest {
            stream,
            into,
            below,
            limits,
        } = request;
        match self.answer(Request::Unpack { into, below, limits }, &[stream.as_fd()])? {
            Answer::Unpacked(report) => Ok(report),
            _ => Err(unexpected("unpack")),
        }
    }

    /// Extracts an archive into a root.
    pub fn apply(&self, request: ApplyRequest) -> Result<ApplyReport> {
        let ApplyRequest {
            stream,
            root,
            target,
            target_mode,
            target_owner,
            conflict,
            limits,
        } = request;
        let plan = ApplyPlan {
            root,
            target,
            target_mode,
            target_owner,
            conflict,
            limits,
        };
        match self.answer(Request::Apply(plan), &[stream.as_fd()])? {
            Answer::Applied(report) => Ok(report),
            _ => Err(unexpected("apply")),
        }
    }

    /// Writes files of a root as a tar.
    pub fn archive(&self, request: ArchiveRequest) -> Result<ArchiveReport> {
        let ArchiveRequest {
            root,
            paths,
            relative_to,
            follow,
            owner,
            clamp_mtime,
            output,
        } = request;
        let plan = ArchivePlan {
            root,
            paths,
            relative_to,
            follow,
            owner,
            clamp_mtime,
        };
        match self.answer(Request::Archive(plan), &[output.as_fd()])? {
            Answer::Archived(report) => Ok(report),
            _ => Err(unexpected("archive")),
        }
    }

    /// Writes the changes of an upper directory as a layer.
    pub fn diff(&self, request: DiffRequest) -> Result<DiffReport> {
        let DiffRequest {
            upper,
            output,
            clamp_mtime,
            omit,
        } = request;
        match self.answer(
            Request::Diff {
                upper,
                clamp_mtime,
                omit,
            },
            &[output.as_fd()],
        )? {
            Answer::Diffed(report) => Ok(report),
            _ => Err(unexpected("diff")),
        }
    }

    /// What is at each path of a root; links on the way are followed inside it, the last one is not.
    pub fn stat(&self, root: &RootSpec, paths: &[PathBuf]) -> Result<Vec<Option<FileStatus>>> {
        match self.answer(
            Request::Stat {
                root: root.clone(),
                paths: paths.to_vec(),
            },
            &[],
        )? {
            Answer::Statuses(statuses) => Ok(statuses),
            _ => Err(unexpected("stat")),
        }
    }

    /// The paths of a root that match a pattern (`*`, `?`, `[…]`, none of which matches `/`), sorted.
    pub fn glob(&self, root: &RootSpec, pattern: &str) -> Result<Vec<PathBuf>> {
        match self.answer(
            Request::Glob {
                root: root.clone(),
                pattern: pattern.into(),
            },
            &[],
        )? {
            Answer::Paths(paths) => Ok(paths),
            _ => Err(unexpected("glob")),
        }
    }

    /// User and group that `user` (as in [`ProcessSpec::user`]) means in a root.
    pub fn resolve_user(&self, root: &RootSpec, user: &str) -> Result<(u32, u32)> {
        match self.answer(
            Request::ResolveUser {
                root: root.clone(),
                user: user.into(),
            },
            &[],
        )? {
            Answer::User { uid, gid } => Ok((uid, gid)),
            _ => Err(unexpected("resolve user")),
        }
    }

    /// Starts a container.
    pub fn start(&self, spec: ContainerSpec, stdio: Stdio) -> Result<Started> {
        let (streams, mut fds) = streams_of(&stdio);
        let mut trees = Vec::new();
        let mut cloned = Vec::with_capacity(spec.mounts.len());
        for mount in &spec.mounts {
            let tree = match &mount.source {
                MountSource::Host(path) => clone_tree(path)?,
                MountSource::Keeper(_) | MountSource::Container { .. } | MountSource::Temporary { .. } => {
                    None
                }
            };
            cloned.push(tree.is_some());
            trees.extend(tree);
        }
        fds.extend(trees.iter().map(OwnedFd::as_fd));
        let request = Request::Start {
            spec: Box::new(spec),
            streams,
            cloned,
        };
        self.started(self.ask(request, &fds)?)
    }

    /// Starts another process in a running container.
    pub fn exec(&self, container: &ContainerId, process: ProcessSpec, stdio: Stdio) -> Result<Started> {
        let (streams, fds) = streams_of(&stdio);
        self.started(self.ask(
            Request::Exec {
                container: *container,
                process,
                streams,
            },
            &fds,
        )?)
    }

    /// Waits for a process to end. Any number may wait, also after the end.
    pub fn wait(&self, process: ProcessId) -> Result<ExitStatus> {
        let Answer::Exited(status) = self.answer(Request::Wait(process), &[])? else {
            return Err(unexpected("wait"));
        };
        if let State::Serving { terminals, .. } = &mut *self.handle.connection.lock() {
            terminals.remove(&process);
        }
        Ok(status)
    }

    /// Sends a signal to a process; one that has ended is no error.
    pub fn signal(&self, process: ProcessId, signal: i32) -> Result<()> {
        self.order(Request::Signal { process, signal }, &[])
    }

    /// Sets the size of a process's terminal.
    pub fn resize(&self, process: ProcessId, rows: u16, columns: u16) -> Result<()> {
        match &*self.handle.connection.lock() {
            State::Serving { terminals, .. } => {
                let terminal = terminals
                    .get(&process)
                    .ok_or(KeeperError::UnknownProcess { process })?;
                let size = rustix::termios::Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                rustix::termios::tcsetwinsize(terminal, size)
                    .doing(|| format!("resize the terminal of {process}"))
            }
            State::Ending | State::Ended => Err(KeeperError::Gone),
        }
    }

    /// Kills a container with all its processes; returns when its file systems are unmounted.
    pub fn stop(&self, container: &ContainerId) -> Result<()> {
        self.order(Request::Stop(*container), &[])
    }

    pub(crate) fn probe(&self, question: Question) -> Result<Finding> {
        match self.answer(Request::Probe(question), &[])? {
            Answer::Found(finding) => Ok(finding),
            _ => Err(unexpected("probe")),
        }
    }

    fn order(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.ask(request, fds).map(drop)
    }

    fn answer(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Answer> {
        self.ask(request, fds).map(|(answer, _)| answer)
    }

    fn descriptor(&self, request: Request) -> Result<OwnedFd> {
        let (_, mut fds) = self.ask(request, &[])?;
        fds.pop()
            .ok_or_else(|| unexpected("a socket without its descriptor"))
    }

    fn started(&self, (answer, mut fds): (Answer, Vec<OwnedFd>)) -> Result<Started> {
        let Answer::Started {
            container,
            process,
            made,
        } = answer
        else {
            return Err(unexpected("start"));
        };
        let terminal = fds.pop();
        if let Some(terminal) = &terminal {
            let copy = rustix::io::fcntl_dupfd_cloexec(terminal, 3).doing(|| "keep a terminal".into())?;
            if let State::Serving { terminals, .. } = &mut *self.handle.connection.lock() {
                terminals.insert(process, copy);
            }
        }
        Ok(Started {
            container,
            process,
            made,
            terminal,
        })
    }

    fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>)> {
        let connection = &self.handle.connection;
        let id = connection.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        match &mut *connection.lock() {
            State::Serving { waiting, .. } => waiting.insert(id, sender),
            State::Ending | State::Ended => return Err(KeeperError::Gone),
        };
        if let Err(error) = wire::send(&connection.socket, &Envelope { id, body: request }, fds) {
            if let State::Serving { waiting, .. } = &mut *connection.lock() {
                waiting.remove(&id);
            }
            return Err(error);
        }
        let (body, fds) = receiver.recv().map_err(|_| KeeperError::Gone)?;
        Ok((body?, fds))
    }
}

fn unexpected(what: &str) -> KeeperError {
    KeeperError::Message {
        reason: format!("an answer that does not fit the question: {what}"),
    }
}

fn streams_of(stdio: &Stdio) -> (Streams, Vec<BorrowedFd<'_>>) {
    let streams = Streams {
        stdin: stdio.stdin.is_some(),
        stdout: stdio.stdout.is_some(),
        stderr: stdio.stderr.is_some(),
    };
    let fds = [&stdio.stdin, &stdio.stdout, &stdio.stderr];
    (streams, fds.into_iter().flatten().map(OwnedFd::as_fd).collect())
}

/// A copy of the mounts at `path`, as a descriptor that can be mounted elsewhere. Only root may make one; a user's
/// keeper finds the path itself, since its root is that user.
fn clone_tree(path: &Path) -> Result<Option<OwnedFd>> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    match rustix::mount::open_tree(rustix::fs::CWD, path, flags) {
        Ok(tree) => {
            sys::make_private(&tree).doing(|| format!("cut the copy of {} off", path.display()))?;
            Ok(Some(tree))
        }
        Err(rustix::io::Errno::PERM) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("mount {} into a container", path.display())),
    }
}
