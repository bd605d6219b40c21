//! The re-executed binary: makes the namespaces, becomes the pod's root and forks the keeper.
//!
//! Two processes, because a pid namespace begins with the child of the process that asked for it. The launcher then
//! only waits: the calling process has it as its child and so learns of the keeper's end; the keeper has asked the
//! kernel to be killed with it, or without namespaces, where it has to end what it started, to be told. When the calling process
//! ends and the keeper, being stopped, does not, it is killed. Both have one thread, which is what makes that parent-death signal
//! sound (it fires when the thread that forked ends).
//!
//! Failure: every step that fails is sent to the calling process, and this process ends.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, pidfd_open};
use rustix::thread::UnshareFlags;

use crate::chroot;
use crate::error::{Doing as _, KeeperError, Result};
use crate::filter;
use crate::isolation::Isolation;
use crate::keeper;
use crate::limits;
use crate::protocol::{LaunchPlan, LaunchStep, Mapped};
use crate::strays;
use crate::sys::{self, Fork};
use crate::wire;

/// The name under which the binary is the keeper.
pub(crate) const KEEPER_NAME: &str = "shipway-keeper";

/// How long a keeper may outlive whoever started its pod before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes a pod's keeper if this process was started as one; otherwise returns at once.
///
/// Must be the first line of `main`: a keeper forks, and a process that forks must have one thread.
pub fn enter_keeper_if_asked() {
    let asked = std::env::args_os()
        .next()
        .is_some_and(|name| name == OsStr::new(KEEPER_NAME));
    if !asked {
        return;
    }
    // Executed from a descriptor, it would be listed under a number. A name is all that this is: without it goes on.
    let _ = rustix::thread::set_name(c"shipway-keeper");
    let Ok(socket) = take_socket() else { sys::exit(3) };
    let code = match launch(&socket) {
        Ok(code) => code,
        Err(error) => {
            // If nobody listens any more, nobody needs to know.
            let _ = wire::send(&socket, &LaunchStep::Failed(error), &[]);
            3
        }
    };
    sys::exit(code);
}

/// Moves the control socket away from standard input, which children are to have as `/dev/null`.
fn take_socket() -> std::result::Result<OwnedFd, Errno> {
    // A pipe of somebody else's that stayed open here would keep its reader waiting as long as the pod lives.
    sys::close_inherited_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::place(&null, 0)?;
    Ok(socket)
}

fn launch(socket: &OwnedFd) -> Result<i32> {
    let owner = rustix::process::getppid();
    let Some((plan, _)) = wire::receive::<LaunchPlan>(socket)? else {
        return Ok(0);
    };
    // A terminal sends Ctrl-C to everybody in its foreground group; when pods end is for whoever started them to decide. A
    // process that leads a group already cannot, and need not, leave it.
    let _ = rustix::process::setsid();
    // As the user who started us: the pod's root may not be able to reach the directory from above.
    rustix::process::chdir(&plan.directory)
        .doing(|| format!("enter the keepers' directory {}", plan.directory.display()))?;
    match plan.isolation {
        // With one id who started this is the pod's root, and groups cannot be changed.
        Isolation::Namespaces | Isolation::OneId => {
            if !make_namespaces(socket, ALL)? {
                return Ok(0);
            }
            if plan.isolation == Isolation::Namespaces {
                become_root()?;
            }
        }
        Isolation::NoMounts => {
            if !make_namespaces(socket, UnshareFlags::NEWUSER)? {
                return Ok(0);
            }
            adopt_orphans()?;
        }
        Isolation::Chroot | Isolation::Bare => adopt_orphans()?,
    }
    close_to_the_pod()?;
    match sys::fork().doing(|| "fork the keeper".into())? {
        Fork::Child => sys::exit(keep(socket, &plan)),
        Fork::Parent(keeper) => {
            // The keeper's end must be the end of the connection, so this process may not hold it.
            close_socket(socket)?;
            let code = attend(keeper, owner)?;
            if plan.isolation.is_in_trees() {
                // Of a keeper that was killed.
                strays::end_all(&HashSet::new(), |_| {})?;
            }
            Ok(code)
        }
    }
}

/// The namespaces of a pod that can have them.
const ALL: UnshareFlags = UnshareFlags::NEWUSER
    .union(UnshareFlags::NEWNS)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWPID);

/// Makes the pod's namespaces and has their ids mapped; false when whoever asked is gone.
fn make_namespaces(socket: &OwnedFd, namespaces: UnshareFlags) -> Result<bool> {
    sys::unshare(namespaces).doing(|| "make a user namespace (see `shipway doctor`)".into())?;
    limits::offer_to_the_kernel();
    wire::send(socket, &LaunchStep::Unshared, &[])?;
    Ok(wire::receive::<Mapped>(socket)?.is_some())
}

/// Makes this process the parent of what its descendants leave: where no pid namespace ends it, somebody must.
fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).doing(|| "adopt orphans".into())
}

/// Waits for the keeper's end, and sees to it once whoever started the pod is gone.
///
/// The keeper then ends by itself, with its connection; one that was stopped (SIGSTOP) does not see that and is killed.
fn attend(keeper: Pid, owner: Option<Pid>) -> Result<i32> {
    let open = |pid| pidfd_open(pid, PidfdFlags::empty());
    let keeper_ended = open(keeper).doing(|| "open the keeper's pidfd".into())?;
    // Opened only now, so that the keeper never has it: it leads out of the pod. A parent that is another one by now has ended.
    let owner = owner.filter(|owner| rustix::process::getppid() == Some(*owner));
    if let Some(owner_ended) = owner.and_then(|owner| open(owner).ok()) {
        wait_for_any(&[&keeper_ended, &owner_ended], None);
    }
    if !wait_for_any(&[&keeper_ended], Some(PATIENCE)) {
        // Fails only if it ended in the meantime.
        let _ = rustix::process::kill_process(keeper, Signal::KILL);
    }
    let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(keeper), WaitOptions::empty()));
    Ok(waited
        .ok()
        .flatten()
        .and_then(|(_, status)| status.exit_status())
        .unwrap_or(1))
}

/// Waits until one of the processes has ended; false when the time is over before.
fn wait_for_any(ended: &[&OwnedFd], time: Option<Duration>) -> bool {
    let time = time.map(|time| Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    });
    let mut ready: Vec<_> = ended.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    rustix::io::retry_on_intr(|| poll(&mut ready, time.as_ref())).is_ok_and(|count| count > 0)
}

/// Replaces the socket by `/dev/null`: the descriptor is borrowed, its number stays taken.
fn close_socket(socket: &OwnedFd) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open /dev/null".into())?;
    sys::place(&null, socket.as_raw_fd()).doing(|| "let go of the control socket".into())
}

/// Takes on the ids that the pod knows as root, and none of the groups of who started us.
fn become_root() -> Result<()> {
    use rustix::fs::{Gid, Uid};
    let root_user = Uid::from_raw(0);
    let root_group = Gid::from_raw(0);
    rustix::thread::set_thread_groups(&[]).doing(|| "drop supplementary groups".into())?;
    rustix::thread::set_thread_res_gid(root_group, root_group, root_group)
        .doing(|| "become group 0 of the pod".into())?;
    rustix::thread::set_thread_res_uid(root_user, root_user, root_user)
        .doing(|| "become user 0 of the pod".into())
}

/// Keeps the pod's own root from looking into this process and what is forked from it: a process on its way into a
/// container is seen there before it executes its program, and it still holds the keeper's socket and directory.
///
/// A new user id does the same on its own, but where a user is the pod's root the id stays what it was. Not earlier:
/// `newuidmap` refuses a process that hides from it. The program that is executed in the end is as open as any.
fn close_to_the_pod() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing(|| "close the keeper to its pod".into())
}

fn keep(socket: &OwnedFd, plan: &LaunchPlan) -> i32 {
    let served = prepare(plan).and_then(|directory| {
        let server = keeper::Server::new(socket.as_fd(), directory, plan)?;
        // Readable when this process, and with it everything in its pid namespace, has ended.
        let pidfd = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
            .doing(|| "open the keeper's pidfd".into())?;
        wire::send(socket, &LaunchStep::Ready, &[pidfd.as_fd()])?;
        drop(pidfd);
        server.serve()
    });
    match served {
        Ok(()) | Err(KeeperError::Gone) => 0,
        Err(error) => {
            // Heard only while the keeper starts; later the caller sees the end of the connection.
            let _ = wire::send(socket, &LaunchStep::Failed(error), &[]);
            3
        }
    }
}

/// Sets up what all the pod's processes begin with, and returns the keepers' directory as its mount namespace has it.
fn prepare(plan: &LaunchPlan) -> Result<OwnedFd> {
    match plan.isolation {
        Isolation::Namespaces | Isolation::OneId => settle_in_namespaces(plan)?,
        Isolation::Chroot | Isolation::NoMounts | Isolation::Bare => {
            // To be heard by the keeper's loop, which has to end what it started.
            rustix::process::set_parent_process_death_signal(Some(Signal::CHILD))
                .doing(|| "ask to hear of the launcher's end".into())?;
            adopt_orphans()?;
            chroot::give_up_gaining()?;
        }
    }
    rustix::process::umask(Mode::empty());
    // Whoever started us may hold keys in theirs, and what inherits a keyring may use it.
    sys::leave_keyring();
    limits::raise_descriptors();
    filter::lay()?;
    open_directory(Path::new("."))
}

/// What only a pod with namespaces of its own can have.
fn settle_in_namespaces(plan: &LaunchPlan) -> Result<()> {
    // After the last change of ids, which would clear it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing(|| "ask to be killed with the launcher".into())?;
    if rustix::process::getppid().is_some() {
        // A parent that is still visible is in this pid namespace, so this process is not its first.
        return Err(KeeperError::Message {
            reason: "the keeper is not the first process of its pod".into(),
        });
    }
    // What the pod mounts must not appear outside, nor hold mounts of outside that are to go.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .map_err(|errno| KeeperError::NoMounts { cause: errno.into() })?;
    rustix::system::sethostname(plan.hostname.as_bytes()).doing(|| "set the pod's host name".into())?;
    limits::bound_processes(plan.processes)
}

/// Opens a directory to begin paths at.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(|| format!("open {}", path.display()))
}
