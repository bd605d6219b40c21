//! Starting containers and processes in them.
//!
//! A worker of the keeper makes the namespaces and forks; the child is the first process of the container's pid
//! namespace, builds its file system, becomes its user and executes the program. The two talk over a socket that
//! closes at exec, so its end without a word is success. The worker then answers and ends, and the kernel makes the
//! keeper the child's parent.
//!
//! Failure: whatever fails on either side is the answer; a child that is left over is killed.

mod device;
mod files;
mod locked;
mod mounts;
mod process;
mod terminal;
mod user;

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, WaitOptions};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, KeeperError, Result};
use crate::ids::{ContainerId, ProcessId};
use crate::keeper::Workplace;
use crate::net;
use crate::overlay;
use crate::owners::Ownership;
use crate::protocol::{Answer, Streams};
use crate::spec::{ContainerNetwork, ContainerSpec, NetworkPlan, ProcessSpec};
use crate::supervisor::{Credentials, Ground, Opens, Supervisor};
use crate::sys::{self, Fork};
use crate::wire;

pub(crate) use self::mounts::file_system;
pub(crate) use self::process::run as run_program;
pub(crate) use self::user::resolve as resolve_user;

/// A container to be started.
pub(crate) struct Order {
    pub(crate) container: ContainerId,
    pub(crate) process: ProcessId,
    pub(crate) spec: Box<ContainerSpec>,
    pub(crate) streams: Streams,
    pub(crate) cloned: Vec<bool>,
    /// The first processes of the containers that it mounts something of.
    pub(crate) others: BTreeMap<ContainerId, OwnedFd>,
    /// The pod's network, once it has one.
    pub(crate) pod: Option<NetworkPlan>,
}

/// From the child to its worker; nothing more comes after a successful exec.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    /// The root is built; these mount points had to be made. With the mount namespace, for who is to be supervised in it.
    Built {
        made: Vec<PathBuf>,
    },
    /// With the near end of the terminal.
    Terminal,
    /// With the listener at which its system calls arrive.
    Supervise {
        credentials: Credentials,
    },
    Failed(KeeperError),
}

/// From the worker to its child.
#[derive(Serialize, Deserialize)]
pub(crate) enum Go {
    /// The child is registered: it may end from now on.
    Registered,
    /// The network is there: the program may run.
    Connected,
    /// Somebody answers its system calls.
    Supervised,
}

/// Standard streams of a process to be.
pub(crate) struct StreamFds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl StreamFds {
    pub(crate) fn take(streams: Streams, fds: &mut impl Iterator<Item = OwnedFd>) -> Self {
        let mut next = |present: bool| if present { fds.next() } else { None };
        Self {
            stdin: next(streams.stdin),
            stdout: next(streams.stdout),
            stderr: next(streams.stderr),
        }
    }

    /// Gives each missing stream `/dev/null` as this process has it.
    pub(crate) fn fill(&mut self) -> std::result::Result<(), rustix::io::Errno> {
        use rustix::fs::{Mode, OFlags};
        for stream in [&mut self.stdin, &mut self.stdout, &mut self.stderr] {
            if stream.is_none() {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                *stream = Some(rustix::fs::open("/dev/null", flags, Mode::empty())?);
            }
        }
        Ok(())
    }
}

/// Starts a container; the worker's part.
pub(crate) fn container(
    place: &Workplace<'_>,
    order: Order,
    fds: Vec<OwnedFd>,
) -> Result<(Answer, Vec<OwnedFd>)> {
    let Order {
        container,
        process,
        spec,
        streams,
        cloned,
        others,
        pod: network,
    } = order;
    let mut fds = fds.into_iter();
    let streams = StreamFds::take(streams, &mut fds);
    let mounts = mounts::prepare(place.directory, &spec.mounts, &cloned, &mut fds, &others)?;
    // Closed by their owner: a process of the container closes every descriptor by its number.
    drop(others);

    let supervisor = match place.ownership {
        Ownership::Real => None,
        Ownership::Recorded | Ownership::RecordedWithModes => {
            Some(Supervisor::hire(place, process, &Ground::Overlay(&spec.root))?)
        }
    };
    let mut flags = UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    let pod = match spec.network {
        ContainerNetwork::Pod => None,
        ContainerNetwork::None | ContainerNetwork::Bridge(_) => {
            flags |= UnshareFlags::NEWNET;
            // Stays in the pod's network when this process leaves it.
            Some(net::Links::open()?)
        }
    };
    sys::unshare(flags).doing(|| "make the container's namespaces".into())?;
    let (near, far) = wire::pair()?;
    match sys::fork().doing(|| "fork the container's first process".into())? {
        Fork::Child => {
            drop(near);
            let setup = Setup {
                spec: &spec,
                streams,
                mounts,
                pod: pod.is_some(),
            };
            let error = init(place, setup, &far);
            say(&far, error)
        }
        Fork::Parent(pid) => {
            drop((far, streams, mounts));
            place.register(process, pid)?;
            let started = wire::send(&near, &Go::Registered, &[])
                .and_then(|()| match (&pod, spec.network) {
                    (Some(pod), ContainerNetwork::Bridge(address)) => {
                        pod.connect(container, address, network.as_ref().ok_or_else(no_network)?)
                    }
                    (Some(_), _) => net::loopback_up(),
                    (None, _) => Ok(()),
                })
                .and_then(|()| {
                    follow(&near, true, |first, listener, mounts| match &supervisor {
                        Some(supervisor) => supervisor.charge(first, listener, mounts),
                        None => nobody(first, listener, mounts),
                    })
                });
            conclude(started, (pid, libc::SIGKILL), container, process)
        }
    }
}

/// Starts a process in a running container; the worker's part.
pub(crate) fn execute(
    place: &Workplace<'_>,
    container: ContainerId,
    init: OwnedFd,
    process: ProcessId,
    spec: &ProcessSpec,
    streams: Streams,
    fds: Vec<OwnedFd>,
) -> Result<(Answer, Vec<OwnedFd>)> {
    let streams = StreamFds::take(streams, &mut fds.into_iter());
    enter(container, init)?;
    let (near, far) = wire::pair()?;
    match sys::fork().doing(|| "fork a process in the container".into())? {
        Fork::Child => {
            drop(near);
            let error = match hear(&far) {
                Ok(()) => process::run(spec, streams, &far, opens_to_supervise(place.ownership)),
                Err(error) => error,
            };
            say(&far, error)
        }
        Fork::Parent(pid) => {
            drop((far, streams));
            place.register(process, pid)?;
            let started = wire::send(&near, &Go::Registered, &[]).and_then(|()| follow(&near, false, nobody));
            conclude(started, (pid, libc::SIGKILL), container, process)
        }
    }
}

/// Enters all of the namespaces of a container, whose first process is given; processes forked from here on are in its pid
/// namespace too.
pub(crate) fn enter(container: ContainerId, init: OwnedFd) -> Result<()> {
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    match move_into_thread_name_spaces(init.as_fd(), all) {
        Err(rustix::io::Errno::SRCH) => Err(KeeperError::UnknownContainer { container }),
        other => other.doing(|| format!("enter container {container}")),
    }
}

fn no_network() -> KeeperError {
    KeeperError::Message {
        reason: "a container on the bridge of a pod whose network was not configured".into(),
    }
}

/// What the child has told its worker.
#[derive(Default)]
pub(crate) struct Heard {
    made: Vec<PathBuf>,
    terminal: Option<OwnedFd>,
}

/// Listens to the child until it executes its program or fails.
///
/// `supervise` is called with who a child says that it is, the listener of its system calls, and its mount namespace if it has one of
/// its own.
pub(crate) fn follow(
    child: &OwnedFd,
    connects: bool,
    mut supervise: impl FnMut(Credentials, &OwnedFd, Option<&OwnedFd>) -> Result<()>,
) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut mounts = None;
    if connects {
        // A child that failed early is heard below.
        match wire::send(child, &Go::Connected, &[]) {
            Ok(()) | Err(KeeperError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    while let Some((word, fds)) = wire::receive::<Word>(child)? {
        match word {
            Word::Built { made } => {
                heard.made = made;
                mounts = fds.into_iter().next();
            }
            Word::Terminal => heard.terminal = fds.into_iter().next(),
            Word::Supervise { credentials } => {
                let listener = fds.into_iter().next().ok_or_else(|| KeeperError::Message {
                    reason: "system calls to be answered without a listener".into(),
                })?;
                supervise(credentials, &listener, mounts.take().as_ref())?;
                wire::send(child, &Go::Supervised, &[])?;
            }
            Word::Failed(error) => return Err(error),
        }
    }
    Ok(heard)
}

/// For children whose system calls are the kernel's to answer.
pub(crate) fn nobody(_: Credentials, _: &OwnedFd, _: Option<&OwnedFd>) -> Result<()> {
    Err(KeeperError::Unsupervised)
}

pub(crate) fn conclude(
    started: Result<Heard>,
    (pid, end): (Pid, i32),
    container: ContainerId,
    process: ProcessId,
) -> Result<(Answer, Vec<OwnedFd>)> {
    match started {
        Ok(Heard { made, terminal }) => Ok((
            Answer::Started {
                container,
                process,
                made,
            },
            terminal.into_iter().collect(),
        )),
        Err(error) => {
            // It may have ended by itself; reaped here it is gone when the caller hears of the failure.
            let _ = sys::kill(pid, end);
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
            Err(error)
        }
    }
}

struct Setup<'a> {
    spec: &'a ContainerSpec,
    streams: StreamFds,
    mounts: Vec<mounts::Prepared>,
    pod: bool,
}

/// The first process of a container. Returns only to say why it could not run.
fn init(place: &Workplace<'_>, setup: Setup<'_>, worker: &OwnedFd) -> KeeperError {
    let built = hear(worker)
        .and_then(|()| build(place, &setup))
        .and_then(|(made, mounts)| {
            let mounts: Vec<_> = mounts.iter().map(OwnedFd::as_fd).collect();
            wire::send(worker, &Word::Built { made }, &mounts)?;
            hear(worker)
        });
    // Closed by their owner: what follows closes every descriptor by its number.
    drop(setup.mounts);
    match built {
        Ok(()) => {
            let opens = opens_to_supervise(place.ownership);
            process::run(&setup.spec.process, setup.streams, worker, opens)
        }
        Err(error) => error,
    }
}

/// Which opens of files a supervisor answers where devices are mounted; none where there is no supervisor.
fn opens_to_supervise(ownership: Ownership) -> Option<Opens> {
    match ownership {
        Ownership::Real => None,
        Ownership::Recorded | Ownership::RecordedWithModes => Some(Opens::Making),
    }
}

/// Builds the container's file system and makes it the root.
fn build(place: &Workplace<'_>, setup: &Setup<'_>) -> Result<(Vec<PathBuf>, Option<OwnedFd>)> {
    let spec = setup.spec;
    let directory = overlay::own_mounts(place.directory)?;
    let mounts = match place.ownership {
        Ownership::Real => None,
        // Now, while `/proc` is still this machine's.
        Ownership::Recorded | Ownership::RecordedWithModes => Some(own_namespace()?),
    };
    let root = overlay::mount(
        &directory,
        &spec.root,
        overlay::Access::AsSpecified,
        place.ownership,
    )?;
    let mut targets = mounts::Targets::new(&root);
    mounts::kernel_file_systems(&mut targets, setup.pod)?;
    device::devices(&mut targets)?;
    for mount in &setup.mounts {
        mount.attach(&mut targets)?;
    }
    files::generated(&directory, &mut targets, &spec.files, place.ownership)?;
    let made = targets.into_made();
    mounts::pivot(&root)?;
    if !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes())
            .doing(|| format!("set the host name {:?}", spec.hostname))?;
    }
    Ok((made, mounts))
}

/// The mount namespace of this process. It cannot be had by this process's number: until it runs its program nobody looks into it.
fn own_namespace() -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(
        "/proc/self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(|| "open the container's mount namespace".into())
}

pub(crate) fn hear(worker: &OwnedFd) -> Result<()> {
    match wire::receive::<Go>(worker)? {
        Some(_) => Ok(()),
        None => Err(KeeperError::Gone),
    }
}

/// Tells the worker why the process does not run, and ends as a shell would.
pub(crate) fn say(worker: &OwnedFd, error: KeeperError) -> ! {
    let code = match error {
        KeeperError::NotFound { .. } => 127,
        _ => 126,
    };
    // A worker that no longer listens has been told by somebody else.
    let _ = wire::send(worker, &Word::Failed(error), &[]);
    sys::exit(code)
}

/// A path as a container sees it: absolute, whatever was given.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}
