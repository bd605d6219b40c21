//! Scripts of the shell executor: in the shell of whoever runs this, on the machine itself.
//!
//! There is no isolation, as there is none in gitlab-runner's shell executor: it is chosen by name and never by default.
//! What is promised: a script finds nothing of Shipway's own environment, its processes are a group that ends with it
//! (on its own end, a timeout, a cancellation), and its files lie in a directory of its own. A process that leaves the
//! group by `setsid` is out of reach.

use crate::Trace;
use crate::outcome::{Doing, JobError};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// What a script finds of the environment that Shipway was started in: who and where the user is, nothing that one
/// started Shipway with.
const INHERITED: [&str; 23] = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
/// What a shell adds to a signal's number when it reports a process that was killed.
const SIGNAL_CODE: i32 = 128;
/// How long output may still come from processes that left the group.
const LAST_WORDS: Duration = Duration::from_secs(1);
const DOING: &str = "running the script";

/// Where scripts run.
pub(crate) struct Shell {
    program: PathBuf,
    directory: PathBuf,
}

/// The processes of a script; killed when this goes, so that they end with a script that is dropped half way.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // None of them may be left: then there is nothing to kill.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

impl Shell {
    /// The named shell, else bash, else sh, started in that directory.
    pub(crate) async fn find(named: Option<String>, directory: PathBuf) -> Result<Self, JobError> {
        let wanted = named.map_or_else(|| vec!["bash".to_owned(), "sh".to_owned()], |named| vec![named]);
        let missing = format!("this machine has no {} on PATH", wanted.join(" and no "));
        let looking = tokio::task::spawn_blocking(move || {
            let path = std::env::var_os("PATH").unwrap_or_default();
            wanted.iter().find_map(|name| {
                std::env::split_paths(&path)
                    .map(|directory| directory.join(name))
                    .find(|file| file.is_file())
            })
        });
        match looking.await.doing("looking for the shell")? {
            Some(program) => Ok(Self { program, directory }),
            None => Err(JobError::Configuration { message: missing }),
        }
    }

    /// Runs a script and brings its output into the trace. When `stop` returns first, all of it is killed and what
    /// `stop` says is the error.
    pub(crate) async fn run(
        &self,
        script: String,
        trace: &Trace,
        stop: impl Future<Output = JobError>,
    ) -> Result<(), JobError> {
        let (output, writer) = std::io::pipe().doing(DOING)?;
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().doing(DOING)?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().doing("starting the shell")?;
        // Its ends of the pipe: while they are open here, the output has no end.
        drop(command);
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id
            .ok_or_else(|| std::io::Error::other("the shell has no id"))
            .doing(DOING)?;
        // Not reaped before the group is killed, so that the number is nobody else's.
        let group = Group(id);
        let stdin = child.stdin.take();
        // Whether this ends or is dropped, nobody reads or writes for it any more.
        let write = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                // A shell that ends early closes its stdin; its exit code tells more than this write's error.
                let _ = stdin.write_all(script.as_bytes()).await;
            }
        }));
        let reader = Receiver::from_owned_fd(OwnedFd::from(output)).doing(DOING)?;
        let read = AbortOnDropHandle::new(tokio::spawn(copy(reader, trace.clone())));
        let ended = tokio::task::spawn_blocking(move || {
            rustix::io::retry_on_intr(|| {
                waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            })
        });
        let stopped = tokio::select! {
            ended = ended => {
                ended.doing(DOING)?.doing(DOING)?;
                None
            }
            stopped = stop => Some(stopped),
        };
        drop(group);
        let status = child.wait().await.doing(DOING)?;
        drop(write);
        // Who still has something to say after that has left the group.
        let _ = timeout(LAST_WORDS, read).await;
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        match (
            status.code(),
            std::os::unix::process::ExitStatusExt::signal(&status),
        ) {
            (Some(0), _) => Ok(()),
            (Some(exit_code), _) => Err(JobError::Script { exit_code }),
            (None, signal) => Err(JobError::Script {
                exit_code: SIGNAL_CODE + signal.unwrap_or_default(),
            }),
        }
    }
}

async fn copy(mut from: Receiver, trace: Trace) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(bytes) = buffer.get(..length) {
            trace.output(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
