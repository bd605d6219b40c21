//! The last steps of a process: its streams, its user, its program.
//!
//! Everything in a container, its `/etc/passwd` and its `/dev/null` too, may be a link into `/proc/self/fd`. So nothing
//! is open any more but the streams and the socket to the worker when the first path of the container is touched, and
//! paths are resolved with such links refused.
//!
//! Root of the container keeps every capability of the pod's namespace (nested builders need them) and
//! `no_new_privs` stays off (`sudo` must work); what such a process can reach is bounded by the user namespace, in
//! which host id 0 does not exist.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use super::user::{self, User};
use super::{StreamFds, Word, absolute, terminal};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::limits;
use crate::rlimit;
use crate::spec::ProcessSpec;
use crate::supervisor::{self, Credentials, Opens};
use crate::sys;
use crate::wire;

/// Where programs are looked for when the environment has no `PATH`: what Docker sets.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the process. Returns only to say why it could not. The calling process is in the container's root. A process that a supervisor
/// answers for is told by it who it is, and hands over certain opens of files.
pub(crate) fn run(
    spec: &ProcessSpec,
    streams: StreamFds,
    worker: &OwnedFd,
    opens: Option<Opens>,
) -> KeeperError {
    match prepare(spec, streams, worker, opens) {
        Ok(program) => program.execute(),
        Err(error) => error,
    }
}

fn prepare(
    spec: &ProcessSpec,
    streams: StreamFds,
    worker: &OwnedFd,
    opens: Option<Opens>,
) -> Result<Program> {
    let mut keep = vec![worker.as_fd()];
    let given = [&streams.stdin, &streams.stdout, &streams.stderr];
    keep.extend(given.into_iter().flatten().map(OwnedFd::as_fd));
    sys::close_all_but(&keep).doing(|| "close what is the keeper's".into())?;
    rustix::process::setsid().doing(|| "begin a session".into())?;
    let owned = if spec.terminal {
        place_terminal(worker)?;
        [true, false, false]
    } else {
        place_streams(streams)?
    };
    // From here on nothing is open but the three streams and the socket that says why the program does not run.
    let root = beneath::own_root().doing(|| "open the container's root".into())?;
    let user = user::resolve(&root, &spec.user)?;
    drop(root);
    let program = Program::new(spec, &user)?;
    own_streams(owned, &user);
    enter_directory(&spec.cwd)?;
    sys::close_on_exec_from(3).doing(|| "keep descriptors from the program".into())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::default_signals();
    limits::leave_descriptors()?;
    rlimit::bound(&spec.limits)?;
    match opens {
        None => become_user(&user)?,
        Some(opens) => submit(&user, worker, opens)?,
    }
    // Some systems open a process that changes its user to debuggers; until it runs its program it is the keeper's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing(|| "close the process to its container".into())?;
    Ok(program)
}

fn enter_directory(cwd: &Path) -> Result<()> {
    let cwd = absolute(cwd);
    let action = || format!("enter the working directory {}", cwd.display());
    let root = beneath::own_root().doing(action)?;
    let found = beneath::make_inside(&root, &cwd).doing(action)?;
    rustix::process::fchdir(&found).doing(action)?;
    // The kernel says so of a directory that is not below the root.
    let name = rustix::process::getcwd(Vec::new()).doing(action)?;
    if name.to_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(KeeperError::Path {
        path: cwd,
        reason: "leads out of the container".into(),
    })
}

fn place_terminal(worker: &OwnedFd) -> Result<()> {
    let terminal = terminal::open()?;
    rustix::process::ioctl_tiocsctty(&terminal.far).doing(|| "take control of the terminal".into())?;
    for target in 0..3 {
        sys::place(&terminal.far, target).doing(|| "set standard streams".into())?;
    }
    wire::send(worker, &Word::Terminal, &[terminal.near.as_fd()])
}

/// Says which of the streams were given.
fn place_streams(streams: StreamFds) -> Result<[bool; 3]> {
    let action = || "set standard streams".to_owned();
    let StreamFds {
        stdin,
        stdout,
        stderr,
    } = streams;
    let given = [stdin.is_some(), stdout.is_some(), stderr.is_some()];
    let mut null = None;
    for (target, stream) in [(0, stdin), (1, stdout), (2, stderr)] {
        if let Some(stream) = stream {
            debug_assert!(stream.as_raw_fd() > 2);
            sys::place(&stream, target).doing(action)?;
            continue;
        }
        if null.is_none() {
            let action = || "open the container's /dev/null".to_owned();
            let root = beneath::own_root().doing(action)?;
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            null = Some(beneath::open_inside(&root, Path::new("/dev/null"), flags).doing(action)?);
        }
        if let Some(null) = &null {
            sys::place(null, target).doing(action)?;
        }
    }
    Ok(given)
}

fn own_streams(owned: [bool; 3], user: &User) {
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for (stream, _) in streams.into_iter().zip(owned).filter(|(_, owned)| *owned) {
        own_stream(stream, user);
    }
}

/// Lets the user open its own streams again through `/dev/stdout`. Pipes that do not belong to the pod cannot be
/// given away; the process then still writes to what it has inherited.
fn own_stream(stream: impl AsFd, user: &User) {
    use rustix::fs::FileType;
    let is_pipe_or_terminal = rustix::fs::fstat(&stream).is_ok_and(|status| {
        matches!(
            FileType::from_raw_mode(status.st_mode),
            FileType::Fifo | FileType::CharacterDevice
        )
    });
    if is_pipe_or_terminal {
        let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(user.uid)), None);
    }
}

fn become_user(user: &User) -> Result<()> {
    let action = || format!("become user {} with group {}", user.uid, user.gid);
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups).doing(action)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing(action)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing(action)
}

/// Has a supervisor say from now on that this process is the user, and waits until it does.
fn submit(user: &User, worker: &OwnedFd, opens: Opens) -> Result<()> {
    let credentials = Credentials::of(user.uid, user.gid, user.groups.clone());
    let listener = supervisor::submit(opens)?;
    wire::send(worker, &Word::Supervise { credentials }, &[listener.as_fd()])?;
    drop(listener);
    super::hear(worker)
}

/// What is executed, ready for the kernel.
struct Program {
    name: String,
    candidates: Vec<CString>,
    searched: String,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    fn new(spec: &ProcessSpec, user: &User) -> Result<Self> {
        let name =
            spec.argv
                .first()
                .filter(|name| !name.is_empty())
                .ok_or_else(|| KeeperError::NotFound {
                    program: "\"\"".into(),
                    searched: "no program was given".into(),
                })?;
        let variable = |wanted: &str| {
            spec.env
                .iter()
                .rev()
                .find_map(|entry| entry.strip_prefix(wanted)?.strip_prefix('='))
        };
        let path = variable("PATH").unwrap_or(DEFAULT_PATH);
        let (candidates, searched) = if name.contains('/') {
            (vec![name.clone()], name.clone())
        } else {
            let join = |directory: &str| {
                let directory = if directory.is_empty() { "." } else { directory };
                format!("{directory}/{name}")
            };
            (path.split(':').map(join).collect(), path.to_owned())
        };
        let mut env = c_strings(&spec.env)?;
        if variable("HOME").is_none() {
            env.extend(c_strings(&[format!("HOME={}", user.home)])?);
        }
        Ok(Self {
            name: name.clone(),
            candidates: c_strings(&candidates)?,
            searched,
            argv: c_strings(&spec.argv)?,
            env,
        })
    }

    /// Tries every place. Returns only to say why none worked.
    fn execute(self) -> KeeperError {
        let mut refused = None;
        for candidate in &self.candidates {
            match sys::execute(candidate, &self.argv, &self.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                // As a shell does: one that cannot be executed does not hide a later one that can.
                errno @ (Errno::ACCESS | Errno::ISDIR) => refused = Some(errno),
                errno => {
                    refused = Some(errno);
                    break;
                }
            }
        }
        match refused {
            Some(errno) => KeeperError::NotExecutable {
                program: self.name,
                cause: errno.into(),
            },
            None => KeeperError::NotFound {
                program: self.name,
                searched: self.searched,
            },
        }
    }
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>> {
    let convert = |text: &String| {
        CString::new(text.as_str()).map_err(|_| KeeperError::Message {
            reason: format!("{text:?}: an argument or variable must not contain a zero byte"),
        })
    };
    texts.iter().map(convert).collect()
}
