//! A keeper as its pod's owner holds it.
//!
//! Any thread may ask; one thread reads the answers and hands each to who waits for it. When the connection ends
//! (the keeper was told to, was killed, or its launcher was) every call that waits, and every later one, gets
//! [`KeeperError::Gone`].

mod connection;
mod files;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::mount::OpenTreeFlags;

use self::connection::{Connection, State};
use crate::error::{Doing as _, KeeperError, Result};
use crate::formats::Interpreter;
use crate::ids::{ContainerId, ProcessId};
use crate::launch::{LaunchError, LaunchOptions, Launched, launch};
use crate::probe::{Finding, Question};
use crate::protocol::{Answer, Request, Streams};
use crate::spec::{ContainerSpec, ExitStatus, MountSource, NetworkPlan, ProcessSpec, Started, Stdio};
use crate::sys;

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
    insisting: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connection.shut();
    }
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
        let connection = Arc::new(Connection::new(socket, launcher.id()));
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
            handle: Arc::new(Handle {
                connection,
                insisting: AtomicBool::new(false),
            }),
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

    /// From now on the keeper has to answer: one that says nothing for `patience`, because somebody stopped it, is killed, and
    /// all calls get [`KeeperError::Gone`]. For whoever ends a pod, which is asked much before it is closed. Not undone; a second
    /// call does nothing.
    pub fn insist(&self, patience: Duration) {
        if self.handle.insisting.swap(true, Ordering::Relaxed) {
            return;
        }
        let connection = Arc::clone(&self.handle.connection);
        let watch = move || connection.insist(patience);
        // Without a thread the end is as it would be without this call.
        let _ = std::thread::Builder::new()
            .name("keeper-insist".into())
            .spawn(watch);
    }

    /// Ends the keeper and everything it started; returns when all of it is gone.
    pub fn close(&self) {
        let connection = &self.handle.connection;
        connection.shut();
        connection.wait_for_end();
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

    /// A listening socket in the keepers' directory, to be mounted into a container. Its parent must exist, it must not.
    pub fn listen_unix(&self, path: &Path, mode: u32, owner: (u32, u32)) -> Result<OwnedFd> {
        self.descriptor(Request::ListenUnix {
            path: path.into(),
            mode,
            owner,
        })
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

    /// Has programs of another processor run by an interpreter, in all containers of the pod from now on. Again with the same name it
    /// does nothing.
    ///
    /// # Errors
    /// When the kernel has no list of interpreters for a user namespace (before Linux 6.7), or cannot open this one.
    pub fn register_interpreter(&self, interpreter: Interpreter) -> Result<()> {
        self.order(Request::RegisterInterpreter(interpreter), &[])
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
        self.handle.connection.ask(request, fds)
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
