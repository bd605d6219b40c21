//! The last steps of a process: its streams, its user, its program.
//!
//! Root of the container keeps every capability of the pod's namespace (nested builders need them) and
//! `no_new_privs` stays off (`sudo` must work); what such a process can reach is bounded by the user namespace, in
//! which host id 0 does not exist.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::user::{self, User};
use super::{StreamFds, Word, absolute, terminal};
use crate::error::{Doing as _, KeeperError, Result};
use crate::spec::ProcessSpec;
use crate::sys;
use crate::wire;

/// Where programs are looked for when the environment has no `PATH`: what Docker sets.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the process. Returns only to say why it could not. The calling process is in the container's root.
pub(super) fn run(spec: &ProcessSpec, streams: StreamFds, worker: &OwnedFd) -> KeeperError {
    match prepare(spec, streams, worker) {
        Ok(program) => program.execute(),
        Err(error) => error,
    }
}

fn prepare(spec: &ProcessSpec, streams: StreamFds, worker: &OwnedFd) -> Result<Program> {
    let user = user::resolve(&spec.user)?;
    let program = Program::new(spec, &user)?;
    enter_directory(&spec.cwd)?;
    rustix::process::setsid().doing(|| "begin a session".into())?;
    if spec.terminal {
        let terminal = terminal::open()?;
        own_stream(&terminal.far, &user);
        rustix::process::ioctl_tiocsctty(&terminal.far).doing(|| "take control of the terminal".into())?;
        for target in 0..3 {
            sys::place(&terminal.far, target).doing(|| "set standard streams".into())?;
        }
        wire::send(worker, &Word::Terminal, &[terminal.near.as_fd()])?;
    } else {
        place_streams(streams, &user)?;
    }
    sys::close_on_exec_from(3).doing(|| "keep descriptors from the program".into())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::default_signals();
    become_user(&user)?;
    Ok(program)
}

fn enter_directory(cwd: &Path) -> Result<()> {
    let cwd = absolute(cwd);
    let action = || format!("enter the working directory {}", cwd.display());
    for prefix in cwd.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        match rustix::fs::mkdir(prefix, Mode::from_raw_mode(0o755)) {
            // What is there may be a link or not a directory: entering tells.
            Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno).doing(action),
        }
    }
    rustix::process::chdir(&cwd).doing(action)
}

fn place_streams(streams: StreamFds, user: &User) -> Result<()> {
    let action = || "set standard streams".to_owned();
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open the container's /dev/null".into())?;
    for (target, stream) in [(0, streams.stdin), (1, streams.stdout), (2, streams.stderr)] {
        match stream {
            Some(stream) => {
                debug_assert!(stream.as_raw_fd() > 2);
                own_stream(&stream, user);
                sys::place(&stream, target).doing(action)?;
            }
            None => sys::place(&null, target).doing(action)?,
        }
    }
    Ok(())
}

/// Lets the user open its own streams again through `/dev/stdout`. Pipes that do not belong to the pod cannot be
/// given away; the process then still writes to what it has inherited.
fn own_stream(stream: &OwnedFd, user: &User) {
    use rustix::fs::FileType;
    let is_pipe_or_terminal = rustix::fs::fstat(stream).is_ok_and(|status| {
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
