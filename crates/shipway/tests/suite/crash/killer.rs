//! Ends a process at a system call that it is about to make, without any change to the program.
//!
//! `strace --inject` counts the calls of one name and sends SIGKILL on entry of the n-th: what came before it has
//! happened, the call itself has not. With n from 1 upwards, over the calls by which a commit reaches the disk, every
//! step of the commit is once the last. The count is for each thread, so that one n is not the same moment in every round;
//! what must hold afterwards holds for every moment.

use std::collections::VecDeque;
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

/// What happens at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Injection {
    /// The n-th call ends the process.
    OneKills,
    /// The n-th call stops the process, and each one after it does so again.
    EachStops,
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

    /// Meets the process, or one that it forks from now on: whoever comes to the moment first.
    pub(super) fn watch(&self, process: u32, moment: Moment, injection: Injection) -> Result<Watched> {
        let Moment { call, number } = moment;
        let injected = match injection {
            Injection::OneKills => format!("--inject={call}:signal=KILL:when={number}"),
            Injection::EachStops => format!("--inject={call}:signal=STOP:when={number}+"),
        };
        let log = NamedTempFile::new()?;
        let mut strace = Command::new(&self.path)
            .arg("--follow-forks")
            .arg(format!("--trace={call}"))
            .arg(injected)
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
    /// Waits until the process, which went on `continued` times since it is watched, is stopped or ended; whether it is stopped.
    /// While strace looks at a call of its, /proc says that a process is stopped, so only strace knows.
    pub(super) fn stopped(&self, process: u32, continued: usize) -> Result<bool> {
        let process = process.to_string();
        wait_for(Duration::from_secs(60), || {
            let seen = self.seen()?;
            let since = seen
                .split("--- SIGCONT ")
                .skip(continued)
                .collect::<Vec<_>>()
                .join("\n");
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

/// Moments of each call in turn, until there are no more of it. Where they begin is fixed for each point and differs between
/// points, so that a few rounds of each reach many steps.
pub(super) struct Moments(VecDeque<Turn>);

/// A call that waits for its turn.
#[derive(Debug)]
struct Turn {
    calls: Calls,
    next: u32,
    killed: usize,
}

impl Moments {
    pub(super) fn of(point: &str, calls: &[Calls]) -> Self {
        let offset = seed(point) % 3;
        let turn = |&calls: &Calls| Turn {
            calls,
            next: calls.1 + offset * calls.2,
            killed: 0,
        };
        Self(calls.iter().map(turn).collect())
    }

    /// The next one, unless every call that is made has had `kills`.
    pub(super) fn next(&self, kills: usize) -> Option<Moment> {
        let turn = self.0.front()?;
        let moment = Moment {
            call: turn.calls.0,
            number: turn.next,
        };
        (turn.killed < kills).then_some(moment)
    }

    /// It came, and somebody ended.
    pub(super) fn killed(&mut self) {
        if let Some(mut turn) = self.0.pop_front() {
            turn.next += turn.calls.2;
            turn.killed += 1;
            self.0.push_back(turn);
        }
    }

    /// The process did all that it had to and never came to it: begins with the call's first again, or leaves the call alone if
    /// that was the first.
    pub(super) fn passed(&mut self) {
        if let Some(mut turn) = self.0.pop_front()
            && turn.next > turn.calls.1
        {
            turn.next = turn.calls.1;
            self.0.push_front(turn);
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
fn each_call_that_is_made_has_its_kills() {
    let mut moments = Moments::of("point", &[("never", 1, 2), ("twice", 1, 1), ("often", 5, 3)]);
    let mut killed = Vec::new();
    while let Some(moment) = moments.next(3) {
        match moment {
            Moment { call: "never", .. } => moments.passed(),
            Moment {
                call: "twice",
                number,
            } if number > 2 => moments.passed(),
            Moment { call, .. } => {
                killed.push(call);
                moments.killed();
            }
        }
    }
    killed.sort_unstable();
    assert_eq!(killed, ["often", "often", "often", "twice", "twice", "twice"]);
}
