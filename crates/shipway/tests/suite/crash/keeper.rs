//! The processes of a pod are killed under a living owner: the keeper, one of its workers, or its supervisor.
//!
//! The owner then says what happened, ends within a bound, and cleans up. A keeper and its workers are met at calls that nobody else
//! in the build makes. The supervisor only waits; so the build is stopped at a call of its own, the supervisor killed, and
//! the build let go on.

use std::process::Output;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use shipway_testkit::{Account, busybox_root};

use super::held;
use super::killer::Calls;
use super::rounds::{Outcome, Stage, play};
use crate::harness::{User, succeed, text};

/// Of the keeper alone: it moves layers to their place, binds the pod's sockets, forks workers and reaps them.
const KEEPER: &[Calls] = &[
    ("renameat", 1, 1),
    ("listen", 1, 1),
    ("clone", 3, 1),
    ("wait4", 3, 2),
    ("signalfd4", 1, 1),
    ("unlinkat", 30, 1),
];
/// Of its workers: they unpack, mount, start, read what a step changed, and remove.
const WORKERS: &[Calls] = &[
    ("utimensat", 1, 20),
    ("symlinkat", 1, 10),
    ("fsopen", 1, 2),
    ("move_mount", 1, 4),
    ("pivot_root", 1, 1),
    ("llistxattr", 1, 1),
    ("chroot", 1, 1),
];
/// Of the build alone: while it unpacks, starts steps and commits them.
const BUILD: &[Calls] = &[("fsync", 2, 1), ("link", 1, 1), ("pwrite64", 20, 5)];

fn new_user(account: Account) -> Result<User> {
    let user = User::new(account)?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    account.own(&context)?;
    Ok(user)
}

/// A build whose base has to be unpacked first.
fn build(stage: &mut Stage<'_>) -> Result<std::process::Command> {
    let user = stage.user;
    let tar = user.home.work().join("base.tar");
    std::fs::write(&tar, busybox_root().file("unique", &stage.name).bytes())?;
    let base = format!("base/{}:1", stage.name);
    succeed(user.shipway(&["image", "import", "--quiet", &base]).arg(&tar))?;
    stage.ledger.has_local(&base);
    let context = user.home.work().join("context");
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM {base}\nRUN cp /unique /first\nRUN cmp /unique /first && touch /second\n"),
    )?;
    let mut build = user.shipway(&["build", "--push", "--tag", &tag(&stage.name)]);
    build.arg(&context);
    Ok(build)
}

fn tag(name: &str) -> String {
    format!("registry.shipway.internal/crash/keeper:{name}")
}

/// Whatever became of the build, it says so, and the same build works afterwards.
fn judge(stage: &mut Stage<'_>, output: &Output) -> Result<()> {
    let name = format!("crash/keeper:{}", stage.name);
    if output.status.success() {
        stage.ledger.holds(&name, "sha256:");
    } else {
        ensure!(
            held::is_told(output),
            "the build ended with {} and said\n{}",
            output.status,
            text(output)
        );
    }
    let again = build(stage)?.output()?;
    ensure!(again.status.success(), "the same build again: {}", text(&again));
    stage.ledger.holds(&name, "sha256:");
    Ok(())
}

fn kill_in_pod(point: &str, calls: &[Calls]) -> Result<()> {
    play(point, calls, new_user, |stage| {
        let command = build(stage)?;
        let output = held::watch_whole(stage.strace, stage.user, &command, stage.moment)?;
        if output.status.success() {
            stage
                .ledger
                .holds(&format!("crash/keeper:{}", stage.name), "sha256:");
            return Ok(Outcome::Passed);
        }
        judge(stage, &output)?;
        Ok(Outcome::Killed)
    })
}

#[test]
fn a_build_whose_keeper_was_killed_says_so_and_leaves_nothing() -> Result<()> {
    kill_in_pod("keeper", KEEPER)
}

#[test]
fn a_build_whose_worker_was_killed_says_so_and_leaves_nothing() -> Result<()> {
    kill_in_pod("worker", WORKERS)
}

#[test]
fn a_build_whose_supervisor_was_killed_says_so_and_leaves_nothing() -> Result<()> {
    play("supervisor", BUILD, new_user, |stage| {
        let command = build(stage)?;
        let child = held::start(stage.user, &command)?;
        let process = child.id();
        let watched = held::watch_to_stop(stage.strace, &child, stage.moment)?;
        let mut supervisor = None;
        let mut continued = 1;
        while supervisor.is_none() && watched.stopped(process, continued)? {
            supervisor = supervisor_of(process);
            match supervisor {
                Some(supervisor) => held::signal(supervisor, Signal::KILL)?,
                // Its pod is not there yet; it is stopped at the next of these calls again.
                None => {
                    held::go_on(process)?;
                    continued += 1;
                }
            }
        }
        drop(watched);
        // Ended already is as good as stopped.
        let _ = held::go_on(process);
        let output = child.wait_with_output()?;
        judge(stage, &output)?;
        Ok(match supervisor {
            Some(_) => Outcome::Killed,
            None => Outcome::Passed,
        })
    })
}

/// The supervisor of the pod of a process, if it has a pod.
fn supervisor_of(process: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let children = tasks.flatten().flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|child| child.parse::<u32>().ok())
            .collect::<Vec<_>>()
    });
    children.into_iter().find(|child| {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        name.trim() == "shipway-keeper"
    })
}
