//! Starting a keeper, as the calling process sees it.
//!
//! The calling process may have any number of threads, so it neither forks nor enters a namespace: it executes its
//! own binary under another name, writes the id maps of the result and keeps one end of a socket.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Doing as _, KeeperError};
use crate::id_map::{IdMap, IdRange, find_helper};
use crate::image::Image;
use crate::isolation::Isolation;
use crate::launcher::KEEPER_NAME;
use crate::limits::ProcessLimit;
use crate::protocol::{LaunchPlan, LaunchStep, Mapped};
use crate::wire;

/// How to start a keeper.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// How containers are kept apart. Without a user namespace the pod's ids are those of this process: [`IdMap::own`], where it may
    /// give files away, else [`IdMap::one`].
    pub isolation: Isolation,
    /// The pod's ids.
    pub id_map: IdMap,
    /// The keepers' directory: made if it is missing, given to the pod's root, closed to everybody else.
    pub directory: PathBuf,
    /// The pod's own host name; containers have theirs.
    pub hostname: String,
    /// A binary whose `main` begins with [`enter_keeper_if_asked`](crate::enter_keeper_if_asked); this one without.
    pub executable: Option<PathBuf>,
    /// How many processes the pod may have.
    pub processes: ProcessLimit,
    /// How long the keeper may take to start before it is killed.
    pub patience: Duration,
}

/// A start takes milliseconds, on a machine with much else to do a second.
const PATIENCE: Duration = Duration::from_secs(30);

impl LaunchOptions {
    /// Options for a keeper that is this very binary.
    pub fn new(id_map: IdMap, directory: impl Into<PathBuf>, hostname: impl Into<String>) -> Self {
        Self {
            isolation: Isolation::default(),
            id_map,
            directory: directory.into(),
            hostname: hostname.into(),
            executable: None,
            processes: ProcessLimit::default(),
            patience: PATIENCE,
        }
    }
}

impl LaunchOptions {
    /// Options for a keeper whose pod has one id, this process's own.
    pub fn one_id(directory: impl Into<PathBuf>, hostname: impl Into<String>) -> Self {
        Self {
            isolation: Isolation::OneId,
            ..Self::new(IdMap::one(), directory, hostname)
        }
    }

    /// Options for a keeper that makes no namespace.
    pub fn chroot(directory: impl Into<PathBuf>, hostname: impl Into<String>) -> Self {
        Self {
            isolation: Isolation::Chroot,
            ..Self::new(IdMap::own(), directory, hostname)
        }
    }

    /// Options for a keeper that makes a user namespace with one id, this process's own, and mounts nothing.
    pub fn no_mounts(directory: impl Into<PathBuf>, hostname: impl Into<String>) -> Self {
        Self {
            isolation: Isolation::NoMounts,
            ..Self::new(IdMap::one(), directory, hostname)
        }
    }

    /// Options for a keeper that starts nothing.
    pub fn bare(directory: impl Into<PathBuf>, hostname: impl Into<String>) -> Self {
        Self {
            isolation: Isolation::Bare,
            ..Self::new(IdMap::one(), directory, hostname)
        }
    }
}

/// Why no keeper could be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The keepers' directory could not be prepared.
    #[error("cannot prepare the keepers' directory {directory}", directory = directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The binary could not be executed.
    #[error("cannot execute {executable} as the keeper", executable = executable.display())]
    Execute {
        /// The binary.
        executable: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The id maps could not be written.
    #[error("cannot write {file} of the keeper", file = file.display())]
    Map {
        /// The map.
        file: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// `newuidmap` or `newgidmap` refused.
    #[error("{helper} refused the id map: {message}")]
    Helper {
        /// The helper.
        helper: &'static str,
        /// What it said.
        message: String,
    },
    /// The launcher could not set up the pod.
    #[error("the keeper could not set up its namespaces")]
    Setup {
        /// The reason.
        #[source]
        source: KeeperError,
    },
    /// The launcher said nothing for too long, and was killed.
    #[error("the keeper did not start within {} and was killed", seconds(*patience))]
    Silent {
        /// How long it was waited for.
        patience: Duration,
    },
    /// The launcher ended without a word.
    #[error("the keeper ended while it was starting (does main() begin with enter_keeper_if_asked()?)")]
    Ended,
}

/// A launcher that runs and the near end of its keeper's socket.
pub(crate) struct Launched {
    pub(crate) launcher: Child,
    pub(crate) socket: OwnedFd,
    /// Readable when the keeper and all it started have ended.
    pub(crate) keeper: OwnedFd,
}

/// Starts a launcher and brings its keeper up.
pub(crate) fn launch(options: &LaunchOptions) -> Result<Launched, LaunchError> {
    prepare_directory(options)?;
    let (near, far) = wire::pair().map_err(|source| LaunchError::Setup { source })?;
    let executable = options
        .executable
        .clone()
        .unwrap_or_else(|| "/proc/self/exe".into());
    let image = match options.isolation {
        Isolation::Namespaces | Isolation::OneId => Image::of(&executable, &options.id_map),
        // No process of a container ever sees it.
        Isolation::Chroot | Isolation::NoMounts | Isolation::Bare => Image::original(&executable),
    };
    let spare = image
        .is_copy()
        .then(|| far.try_clone())
        .and_then(std::io::Result::ok);
    let mut launcher = match (start_program(&image, far), spare) {
        (Err(error), Some(far)) if is_refusal(&error) => start_program(&image.plain(), far),
        (started, _) => started,
    }
    .map_err(|source| LaunchError::Execute { executable, source })?;
    match bring_up(options, &near, launcher.id()) {
        Ok(keeper) => Ok(Launched {
            launcher,
            socket: near,
            keeper,
        }),
        Err(error) => {
            // Both may fail only because it has already ended.
            let _ = launcher.kill();
            let _ = launcher.wait();
            Err(error)
        }
    }
}

/// Whether memory files may not be executed here.
fn is_refusal(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
}

fn start_program(image: &Image, socket: OwnedFd) -> std::io::Result<Child> {
    // The socket is the child's standard input: the one descriptor that arrives without touching inheritance flags,
    // which other threads' children would see.
    Command::new(image.path())
        .arg0(KEEPER_NAME)
        .env_clear()
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        // Not the caller's: a container that got hold of it would write among the caller's own words.
        .stderr(Stdio::null())
        .spawn()
}

fn bring_up(options: &LaunchOptions, socket: &OwnedFd, pid: u32) -> Result<OwnedFd, LaunchError> {
    let setup = |source| match source {
        KeeperError::Gone => LaunchError::Ended,
        source => LaunchError::Setup { source },
    };
    let deadline = Instant::now() + options.patience;
    let next_step = || {
        if !is_heard_by(socket, deadline).map_err(setup)? {
            return Err(LaunchError::Silent {
                patience: options.patience,
            });
        }
        match wire::receive(socket).map_err(setup)? {
            Some((LaunchStep::Failed(source), _)) => Err(LaunchError::Setup { source }),
            Some(next) => Ok(next),
            None => Err(LaunchError::Ended),
        }
    };
    let directory = std::path::absolute(&options.directory).map_err(|source| LaunchError::Directory {
        directory: options.directory.clone(),
        source,
    })?;
    let plan = LaunchPlan {
        directory,
        hostname: options.hostname.clone(),
        processes: options.processes,
        isolation: options.isolation,
    };
    wire::send(socket, &plan, &[]).map_err(setup)?;
    if options.isolation.has_ids_of_its_own() {
        let (LaunchStep::Unshared, _) = next_step()? else {
            return Err(LaunchError::Ended);
        };
        match options.isolation {
            Isolation::OneId | Isolation::NoMounts => write_one_id(pid, &options.id_map)?,
            Isolation::Namespaces | Isolation::Chroot | Isolation::Bare => write_maps(pid, &options.id_map)?,
        }
        let map = options.id_map.clone();
        wire::send(socket, &Mapped { map }, &[]).map_err(setup)?;
    }
    let (LaunchStep::Ready, fds) = next_step()? else {
        return Err(LaunchError::Ended);
    };
    fds.into_iter().next().ok_or(LaunchError::Ended)
}

/// Waits for a message, or for the end of the other side, and says whether there was one in time.
fn is_heard_by(socket: &OwnedFd, deadline: Instant) -> Result<bool, KeeperError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for the keeper".into()),
        }
    }
}

fn seconds(patience: Duration) -> String {
    format!("{} s", patience.as_secs_f64())
}

fn prepare_directory(options: &LaunchOptions) -> Result<(), LaunchError> {
    let directory = &options.directory;
    let failed = |source| LaunchError::Directory {
        directory: directory.clone(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let status = std::fs::symlink_metadata(directory).map_err(failed)?;
    if !status.is_dir() {
        return Err(failed(ErrorKind::NotADirectory.into()));
    }
    let uid = options.id_map.host_uid(0);
    let gid = options.id_map.host_gid(0);
    if uid != Some(status.uid()) || gid != Some(status.gid()) {
        std::os::unix::fs::chown(directory, uid, gid).map_err(failed)?;
    }
    Ok(())
}

/// Writes the maps of a user namespace with this process's own id alone, which anybody may who gives up changing groups.
fn write_one_id(pid: u32, map: &IdMap) -> Result<(), LaunchError> {
    let file = Path::new("/proc").join(pid.to_string()).join("setgroups");
    std::fs::write(&file, "deny").map_err(|source| LaunchError::Map { file, source })?;
    write_map(pid, "uid_map", &map.uids)?;
    write_map(pid, "gid_map", &map.gids)
}

/// Writes the maps of the launcher's user namespace: directly as root, through the set-uid helpers as a user.
fn write_maps(pid: u32, map: &IdMap) -> Result<(), LaunchError> {
    if rustix::process::geteuid().is_root() {
        write_map(pid, "uid_map", &map.uids)?;
        return write_map(pid, "gid_map", &map.gids);
    }
    run_helper("newuidmap", pid, &map.uids)?;
    run_helper("newgidmap", pid, &map.gids)
}

fn write_map(pid: u32, name: &str, ranges: &[IdRange]) -> Result<(), LaunchError> {
    let file = Path::new("/proc").join(pid.to_string()).join(name);
    let text: String = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.length))
        .collect();
    // The kernel takes a map in one write or not at all.
    std::fs::write(&file, text).map_err(|source| LaunchError::Map { file, source })
}

fn run_helper(helper: &'static str, pid: u32, ranges: &[IdRange]) -> Result<(), LaunchError> {
    let executable = find_helper(helper).unwrap_or_else(|| helper.into());
    let output = Command::new(&executable)
        .arg(pid.to_string())
        .args(
            ranges
                .iter()
                .flat_map(|range| [range.inside, range.outside, range.length])
                .map(|id| id.to_string()),
        )
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LaunchError::Execute { executable, source })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LaunchError::Helper { helper, message })
}
