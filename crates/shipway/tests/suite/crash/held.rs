//! Commands that wait before their first step, so that one can begin to watch them.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use shipway_testkit::wait_for;

use super::killer::{Injection, Moment, Strace, Watched};
use crate::harness::{User, text};

/// Starts a command of a user's, which stops before it does anything; the process will be the command itself.
pub(super) fn start(user: &User, command: &Command) -> Result<Child> {
    let mut waiting = user.home.command("sh");
    waiting
        .args(["-c", r#"kill -STOP $$; exec "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(directory) = command.get_current_dir() {
        waiting.current_dir(directory);
    }
    let child = waiting.spawn()?;
    stopped(child.id())?;
    Ok(child)
}

/// Watches a command from its start to its end: it was successful, or killed, or says that it lost a process of its own.
pub(super) fn watch_whole(strace: &Strace, user: &User, command: &Command, moment: Moment) -> Result<Output> {
    let child = start(user, command)?;
    let watched = strace.watch(child.id(), moment, Injection::OneKills)?;
    go_on(child.id())?;
    let output = child.wait_with_output()?;
    watched
        .end(output.status.success())
        .with_context(|| format!("{}: {}", output.status, text(&output)))?;
    ensure!(
        output.status.success() || output.status.signal() == Some(9) || is_told(&output),
        "{}: {}",
        output.status,
        text(&output)
    );
    Ok(output)
}

/// Whether a command that lost a process of its own failed as commands do, with a reason.
pub(super) fn is_told(output: &Output) -> bool {
    output.status.code() == Some(1) && text(output).contains("error:")
}

/// Begins to watch a command that is to be stopped, not ended, at the moment and at every such call after it.
pub(super) fn watch_to_stop(strace: &Strace, child: &Child, moment: Moment) -> Result<Watched> {
    let watched = strace.watch(child.id(), moment, Injection::EachStops)?;
    go_on(child.id())?;
    Ok(watched)
}

/// Waits until a process is stopped.
fn stopped(process: u32) -> Result<()> {
    wait_for(Duration::from_secs(60), || match state(process) {
        Some('T') => Ok(()),
        state => Err(format!("process {process} is in the state {state:?}")),
    })
}

/// The letter that /proc has for what a process does.
fn state(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Lets a stopped process go on.
pub(super) fn go_on(process: u32) -> Result<()> {
    signal(process, Signal::CONT)
}

/// Sends a signal.
pub(super) fn signal(process: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(process)?).context("a process")?;
    Ok(kill_process(pid, signal)?)
}
