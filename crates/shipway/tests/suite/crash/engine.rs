//! `engine` is killed while the docker CLI builds, tags, pushes, deletes and runs.
//!
//! With it goes all that is in its process: the Docker endpoint, the relay and the names of its pod. Each time another engine
//! takes its place, at the same socket, and runs what was there.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Peer, Tar, busybox_root};

use super::killer::{Calls, Injection};
use super::rounds::{Outcome, Stage, play};
use crate::harness::{Ledger, RunningEngine, User, finish, succeed, text};

/// The calls by which a commit reaches the disk.
const COMMIT: &[Calls] = &[
    ("fsync", 1, 1),
    ("pwrite64", 1, 3),
    ("link", 1, 1),
    ("unlink", 1, 1),
];
/// The requests to the keeper, what is fed to its workers, and the calls of the relay's process around them.
const KEEPING: &[Calls] = &[
    ("sendmsg", 1, 1),
    ("recvmsg", 2, 2),
    ("write", 1, 5),
    ("pipe2", 1, 1),
    ("epoll_ctl", 1, 1),
];

/// What everything is built on.
const BASE: &str = "registry.shipway.internal/crash/base:1";

/// The docker CLI before an engine.
pub(super) struct Docker<'a> {
    user: &'a User,
    peer: &'a Peer,
    engine: &'a RunningEngine,
    /// What the CLI said when it failed last.
    failure: RefCell<String>,
}

impl Docker<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.user.home.command(self.peer.path());
        command
            .env("DOCKER_HOST", &self.engine.host)
            .env("DOCKER_BUILDKIT", "0")
            .args(arguments);
        let output = finish(&mut command)?;
        if !output.status.success() {
            self.failure.replace(text(&output));
        }
        Ok(output)
    }

    fn must(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "docker {arguments:?}: {}", text(&output));
        Ok(output)
    }
}

/// What the user does at the point; whether it was acknowledged.
type Act = fn(&Docker<'_>, &mut Ledger, &str) -> Result<bool>;

/// A user with a base image, a context for builds and a login.
fn new_user(account: Account) -> Result<User> {
    let user = User::new(account)?;
    user.add_tester()?;
    publish(&user, BASE, busybox_root())?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM {BASE}\nARG NAME\nRUN echo $NAME > /first\nRUN echo $NAME > /second\n"),
    )?;
    account.own(&context)?;
    let login = user.home.path().join(".docker");
    std::fs::create_dir(&login)?;
    // `tester:correct horse`
    let credentials = r#"{"auths": {"registry.shipway.internal": {"auth": "dGVzdGVyOmNvcnJlY3QgaG9yc2U="}}}"#;
    std::fs::write(login.join("config.json"), credentials)?;
    account.own(&login)?;
    Ok(user)
}

/// Brings a root file system into the registry, where the engine finds it without asking anybody outside.
fn publish(user: &User, name: &str, root: Tar) -> Result<()> {
    let context = tempfile::tempdir_in(user.home.work())?;
    std::fs::write(context.path().join("root.tar"), root.bytes())?;
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM scratch\nADD root.tar /\n",
    )?;
    user.home.account().own(context.path())?;
    succeed(
        user.shipway(&["build", "--quiet", "--push", "--tag", name])
            .arg(context.path()),
    )?;
    Ok(())
}

fn kill_while(point: &str, calls: &[Calls], prepare: Act, act: Act) -> Result<()> {
    let Some(peer) = Peer::find("docker-20.10") else {
        return Ok(());
    };
    play(point, calls, new_user, |stage| {
        let engine = RunningEngine::start(stage.user)?;
        let docker = Docker {
            user: stage.user,
            peer: &peer,
            engine: &engine,
            failure: RefCell::default(),
        };
        ensure!(
            prepare(&docker, stage.ledger, &stage.name)?,
            "it could not be prepared"
        );
        let watched = stage
            .strace
            .watch(engine.process.id(), stage.moment, Injection::OneKills)?;
        let done = act(&docker, stage.ledger, &stage.name)?;
        watched.end(done).with_context(|| docker.failure.take())?;
        let status = engine.end()?;
        if done && status.success() {
            return Ok(Outcome::Passed);
        }
        // If its keeper was killed instead, the engine goes on, and ends when it is asked to.
        ensure!(
            status.success() || status.signal() == Some(9),
            "the engine ended with {status}"
        );
        go_on(stage, &peer)?;
        Ok(Outcome::Killed)
    })
}

/// The next engine, which finds the socket and the pod of the dead one in its way.
fn go_on(stage: &Stage<'_>, peer: &Peer) -> Result<()> {
    let engine = RunningEngine::start(stage.user).context("the next engine")?;
    let docker = Docker {
        user: stage.user,
        peer,
        engine: &engine,
        failure: RefCell::default(),
    };
    let output = docker.must(&["run", "--rm", BASE, "sh", "-c", "echo whole $(ls /bin | wc -l)"])?;
    ensure!(output.stdout.starts_with(b"whole "), "{}", text(&output));
    let socket = engine
        .host
        .strip_prefix("unix://")
        .context("a socket")?
        .to_owned();
    let status = engine.end()?;
    ensure!(status.success(), "the engine ended with {status}");
    ensure!(!Path::new(&socket).exists(), "{socket} is left behind");
    Ok(())
}

fn nothing(_: &Docker<'_>, _: &mut Ledger, _: &str) -> Result<bool> {
    Ok(true)
}

fn image(name: &str) -> String {
    format!("registry.shipway.internal/crash/engine:{name}")
}

fn build(docker: &Docker<'_>, ledger: &mut Ledger, name: &str) -> Result<bool> {
    let context = docker.user.home.work().join("context");
    let (argument, tag) = (format!("NAME={name}"), image(name));
    let built = docker.run(&[
        "build",
        "--build-arg",
        &argument,
        "--tag",
        &tag,
        &context.to_string_lossy(),
    ])?;
    if built.status.success() {
        ledger.has_local(&tag);
    }
    Ok(built.status.success())
}

#[test]
fn steps_that_a_build_of_the_engine_committed_survive() -> Result<()> {
    let calls = [COMMIT, &[("sendmsg", 5, 7)]].concat();
    kill_while("engine-build", &calls, nothing, build)
}

#[test]
fn a_push_of_the_engine_survives() -> Result<()> {
    kill_while("engine-push", COMMIT, build, |docker, ledger, name| {
        let pushed = docker.run(&["push", &image(name)])?;
        if pushed.status.success() {
            let said = text(&pushed);
            let digest = said
                .split("digest: ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            ledger.holds(&format!("crash/engine:{name}"), digest.context("a digest")?);
        }
        Ok(pushed.status.success())
    })
}

#[test]
fn a_tag_of_the_engine_survives() -> Result<()> {
    kill_while("engine-tag", COMMIT, build, |docker, ledger, name| {
        let tag = format!("{}-again", image(name));
        let tagged = docker.run(&["tag", &image(name), &tag])?;
        if tagged.status.success() {
            ledger.has_local(&tag);
        }
        Ok(tagged.status.success())
    })
}

#[test]
fn a_deletion_of_the_engine_survives() -> Result<()> {
    kill_while("engine-delete", COMMIT, build, |docker, ledger, name| {
        let tag = image(name);
        ledger.doubts_local(&tag);
        let removed = docker.run(&["rmi", &tag])?;
        if removed.status.success() {
            ledger.lacks_local(&tag);
        }
        Ok(removed.status.success())
    })
}

#[test]
fn a_half_unpacked_image_runs_whole_with_the_next_engine() -> Result<()> {
    fn fresh(docker: &Docker<'_>, ledger: &mut Ledger, name: &str) -> Result<bool> {
        let mut root = busybox_root();
        for number in 0..40 {
            root = root.file(
                &format!("etc/fresh-{number}"),
                format!("{name} {number}\n").repeat(500),
            );
        }
        publish(docker.user, &image(name), root)?;
        ledger.holds(&format!("crash/engine:{name}"), "sha256:");
        Ok(true)
    }
    kill_while("engine-unpack", KEEPING, fresh, |docker, _, name| {
        let ran = docker.run(&[
            "run",
            "--rm",
            &image(name),
            "sh",
            "-c",
            "cat /etc/fresh-* | wc -l",
        ])?;
        Ok(ran.status.success())
    })
}
