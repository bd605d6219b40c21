//! The processes of a pod are killed under a living owner: the keeper, one of its workers, or its supervisor.
//!
//! A build then says what happened, ends within a bound, and cleans up; an engine that somebody runs for themselves goes on. A keeper and its workers are met at calls that nobody else
//! in the build makes. The supervisor only waits; so the build is stopped at a call of its own, the supervisor killed, and
//! the build let go on.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use shipway_testkit::{Account, Peer, busybox_root, wait_for};

use super::held;
use super::killer::Calls;
use super::rounds::{Outcome, Stage, play};
use crate::harness::{Ledger, RunningEngine, User, succeed, text};

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
    ("llistxattr", 1, 3),
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
    if output.status.success() {
        is_whole(stage)?;
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
    is_whole(stage)
}

/// The image that a successful build named holds what each of its steps made.
fn is_whole(stage: &mut Stage<'_>) -> Result<()> {
    let user = stage.user;
    stage
        .ledger
        .holds(&format!("crash/keeper:{}", stage.name), "sha256:");
    let context = user.home.work().join("whole");
    std::fs::create_dir_all(&context)?;
    user.home.account().own(&context)?;
    let built = tag(&stage.name);
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM {built}\nRUN cmp /unique /first && test -e /second\n"),
    )?;
    let mut build = user.shipway(&["build", "--no-cache"]);
    succeed(build.arg(&context)).with_context(|| format!("{built} is not whole"))?;
    Ok(())
}

fn kill_in_pod(point: &str, calls: &[Calls]) -> Result<()> {
    play(point, calls, new_user, |stage| {
        let command = build(stage)?;
        let output = held::watch_whole(stage.strace, stage.user, &command, stage.moment)?;
        if output.status.success() {
            is_whole(stage)?;
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

/// A long-lived engine goes on: what ran is dead as after a crash of Docker's, and can be started again with its files, its name
/// and its volume.
#[test]
fn an_engine_whose_keeper_was_killed_goes_on() -> Result<()> {
    let Some(peer) = Peer::find("docker-20.10") else {
        return Ok(());
    };
    for account in Account::all() {
        let user = User::new(account)?;
        let root = user.home.work().join("root.tar");
        std::fs::write(&root, busybox_root().bytes())?;
        succeed(user.shipway(&["image", "import", "--quiet", "base:1"]).arg(&root))?;
        let engine = RunningEngine::start(&user)?;
        let docker = |arguments: &[&str]| -> Result<String> {
            let mut command = user.home.command(peer.path());
            command.env("DOCKER_HOST", &engine.host).args(arguments);
            let output = succeed(&mut command)?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        // The second one serves what the first one was told before the crash.
        let server = "cat /data/said; while true; do nc -l -p 80 -e cat /data/said; done";
        for round in 0..3 {
            let name = format!("server-{round}");
            docker(&[
                "run",
                "--rm",
                "-v",
                "kept:/data",
                "base:1",
                "sh",
                "-c",
                "echo hello > /data/said",
            ])?;
            docker(&[
                "run",
                "-d",
                "--name",
                &name,
                "-v",
                "kept:/data",
                "base:1",
                "sh",
                "-c",
                server,
            ])?;
            docker(&[
                "run", "-d", "--rm", "--name", "passing", "base:1", "sh", "-c", server,
            ])?;
            let ask = format!("wget -q -T 20 -O - http://{name} || nc {name} 80");
            let answered = || docker(&["run", "--rm", "base:1", "sh", "-c", &ask]);
            docker(&["exec", &name, "sh", "-c", "echo mine > /mine"])?;
            let killed = match round {
                0 => supervisor_of(engine.process.id()),
                _ => supervisor_of(engine.process.id()).and_then(first_child),
            };
            held::signal(killed.context("a pod")?, Signal::KILL)?;

            let shown = [
                "inspect",
                "--format",
                "{{.State.Status}} {{.State.ExitCode}}",
                &name,
            ];
            wait_for(Duration::from_secs(20), || {
                match docker(&shown).map_err(|error| format!("{error:#}"))? {
                    shown if shown == "exited 137" => Ok(()),
                    shown => Err(format!("the container is `{shown}`")),
                }
            })?;
            wait_for(Duration::from_secs(20), || {
                match docker(&["ps", "--all", "--filter", "name=passing", "--quiet"]) {
                    Ok(listed) if listed.is_empty() => Ok(()),
                    listed => Err(format!("one that goes by itself: {listed:?}")),
                }
            })?;
            let said = docker(&["run", "--rm", "-v", "kept:/data", "base:1", "cat", "/data/said"])?;
            ensure!(said == "hello", "the volume has `{said}`");
            docker(&["start", &name])?;
            let mine = docker(&["exec", &name, "cat", "/mine"])?;
            ensure!(mine == "mine", "the container's file has `{mine}`");
            let answer = answered()?;
            ensure!(answer.contains("hello"), "{name} answers `{answer}`");
            docker(&["rm", "--force", &name])?;
        }
        let status = engine.end()?;
        ensure!(status.success(), "the engine ended with {status}");
        Ledger::default().inspect(&user)?;
    }
    Ok(())
}

/// The keeper below its supervisor.
fn first_child(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
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
