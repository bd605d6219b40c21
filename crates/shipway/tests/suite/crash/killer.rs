//! Ends a process at a system call that it is about to make, without any change to the program.
//!
//! `strace --inject` counts the calls of one name and sends SIGKILL on entry of the n-th: what came before it has
//! happened, the call itself has not. With n from 1 upwards, over the calls by which a commit reaches the disk, every
//! step of the commit is once the last. The count is for each thread, so that one n is not the same moment in every round;
//! what must hold afterwards holds for every moment.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use shipway_testkit::{Peer, wait_for};
use tempfile::NamedTempFile;

/// The n-th call of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) call: &'static str,
    pub(super) number: u32,
}

/// The peer that ends processes.
pub(super) struct Strace {
    path: PathBuf,
}

/// A process is watched and ends at its moment. Dropped, it is let go.
pub(super) struct Watched {
    strace: Child,
    /// What strace saw.
    log: NamedTempFile,
}

impl Strace {
    pub(super) fn new(peer: &Peer) -> Self {
        Self {
            path: peer.path().to_owned(),
        }
    }

    /// Sends `signal` to the process, or to one that it forks from now on: to whoever comes to the moment first.
    pub(super) fn watch(&self, process: u32, moment: Moment, signal: &str) -> Result<Watched> {
        let Moment { call, number } = moment;
        let log = NamedTempFile::new()?;
        let mut strace = Command::new(&self.path)
            .arg("--follow-forks")
            .arg(format!("--trace={call}"))
            .arg(format!("--inject={call}:signal={signal}:when={number}"))
            .arg(format!("--output={}", log.path().display()))
            .args(["--attach", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting strace")?;
        let mut said = BufReader::new(strace.stderr.take().context("standard error")?).lines();
        loop {
            let Some(line) = said.next() else {
                strace.wait()?;
                bail!("strace ended before it was attached to {process}");
            };
            let line = line?;
            if line.contains("attached") {
                break;
            }
            if line.contains("Operation not permitted") || line.contains("No such process") {
                strace.wait()?;
                bail!("{line}");
            }
        }
        // It says more about processes that come and go, and must not wait for a reader.
        std::thread::spawn(move || said.for_each(drop));
        Ok(Watched { strace, log })
    }
}

impl Watched {
    /// Waits until the process, which went on since it is watched, is stopped or ended; whether it is stopped. While strace looks
    /// at a call of its, /proc says that a process is stopped, so only strace knows.
    pub(super) fn stopped(&self, process: u32) -> Result<bool> {
        let process = process.to_string();
        wait_for(Duration::from_secs(60), || {
            let seen = self.seen()?;
            let since = seen.rsplit_once("--- SIGCONT ").map_or("", |(_, since)| since);
            let happened = |what: &str| {
                since.lines().any(|line| {
                    line.split_once(' ')
                        .is_some_and(|(who, rest)| who == process && rest.trim_start().starts_with(what))
                })
            };
            if happened("--- stopped by SIGSTOP") {
                Ok(true)
            } else if happened("+++ ") {
                Ok(false)
            } else {
                Err(format!(
                    "process {process} was neither stopped nor ended:\n{seen}"
                ))
            }
        })
    }

    fn seen(&self) -> Result<String, String> {
        std::fs::read_to_string(self.log.path()).map_err(|error| error.to_string())
    }

    /// Lets go of everybody.
    ///
    /// What was asked of the process has failed if not `is_done`, and then somebody must have been killed: the process itself,
    /// or one that it forked. Waits until that has been seen.
    pub(super) fn end(self, is_done: bool) -> Result<()> {
        if is_done {
            return Ok(());
        }
        wait_for(Duration::from_secs(60), || {
            let seen = self.seen()?;
            if seen.contains("+++ killed by SIGKILL +++") {
                Ok(())
            } else {
                Err(format!("it failed, and nobody was killed:\n{seen}"))
            }
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Asked to end, it would first stop each thread, and wait for ever for one that is just dying. Killed, it leaves that to
        // the kernel, which lets go of everybody. Gone already is as good.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// A call, the first number to try, and the step to the next.
pub(super) type Calls = (&'static str, u32, u32);

/// Moments one after the other: of each call the next number in turn, until there are no more of it. Where they begin is fixed
/// for each point and differs between points, so that a few rounds of each reach every kind of call.
pub(super) struct Moments {
    /// Each call with its next number.
    calls: Vec<(Calls, u32)>,
    turn: usize,
}

impl Moments {
    pub(super) fn of(point: &str, calls: &[Calls]) -> Self {
        let seed = seed(point);
        let first = |&(call, first, step): &Calls| ((call, first, step), first + (seed >> 8) % 3 * step);
        Self {
            calls: calls.iter().map(first).collect(),
            turn: seed as usize,
        }
    }

    /// Nothing when none of the calls is made.
    pub(super) fn next(&mut self) -> Option<Moment> {
        let turn = self.turn.checked_rem(self.calls.len())?;
        self.turn = turn + 1;
        let ((call, _, step), next) = &mut self.calls[turn];
        let moment = Moment { call, number: *next };
        *next += *step;
        Some(moment)
    }

    /// The process did all that it had to and never came to that moment: begins with the call's first again, or leaves
    /// the call alone if that was the first.
    pub(super) fn passed(&mut self, moment: Moment) {
        self.calls
            .retain(|((call, first, _), _)| *call != moment.call || *first < moment.number);
        for ((call, first, _), next) in &mut self.calls {
            if *call == moment.call {
                *next = *first;
            }
        }
    }
}

/// FNV-1a, which is the same everywhere and always.
fn seed(point: &str) -> u32 {
    point.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[test]
fn calls_that_nobody_makes_are_left_alone() {
    let mut moments = Moments::of("point", &[("never", 1, 2), ("twice", 1, 1)]);
    let mut numbers = Vec::new();
    for _ in 0..20 {
        let Some(moment) = moments.next() else { break };
        if moment.call == "never" || moment.number > 2 {
            moments.passed(moment);
        } else {
            numbers.push(moment.number);
        }
    }
    assert!(moments.calls.iter().all(|((call, ..), _)| *call == "twice"));
    assert!(numbers.contains(&1) && numbers.contains(&2), "{numbers:?}");
}
