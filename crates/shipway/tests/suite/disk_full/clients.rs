//! Other people's clients before a server of ours whose disk is full: docker before an engine, skopeo before a registry.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Peer, Tar, finish};

use super::ladder::{Ladder, Prepare, pushed};
use super::{context_that_was_built, everywhere};
use crate::harness::{CREDENTIALS, RunningEngine, User, succeed, text};

/// The docker CLI before an engine of the ladder's user, which lives through all rungs.
struct Docker<'a> {
    ladder: &'a Ladder<'a>,
    peer: Peer,
    engine: RunningEngine,
}

impl<'a> Docker<'a> {
    fn start(ladder: &'a Ladder<'a>) -> Result<Option<Self>> {
        let Some(peer) = Peer::find("docker-20.10") else {
            return Ok(None);
        };
        let engine = RunningEngine::start(ladder.user)?;
        Ok(Some(Self { ladder, peer, engine }))
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.ladder.user.home.command(self.peer.path());
        finish(
            command
                .env("DOCKER_HOST", &self.engine.host)
                .env("DOCKER_BUILDKIT", "0")
                .args(arguments),
        )
    }

    /// Climbs, and looks for leftovers when the engine has ended.
    fn climb(
        self,
        what: &str,
        prepare: Prepare<'_>,
        mut act: impl FnMut(&Self, &str) -> Result<Output>,
    ) -> Result<Vec<String>> {
        let done = self
            .ladder
            .climb_beside(what, prepare, &mut |name| act(&self, name), &|| Ok(()))?;
        let status = self.engine.end()?;
        ensure!(status.success(), "the engine ended with {status}");
        self.ladder.disk.is_tidy(self.ladder.user)?;
        Ok(done)
    }
}

/// A user with room, whose images are brought to the full disk.
fn elsewhere() -> Result<User> {
    User::new(Account::Caller)
}

/// A tar, as `docker save` writes it, of a small image.
fn saved(elsewhere: &User, name: &str) -> Result<std::path::PathBuf> {
    let root = elsewhere.home.work().join("root.tar");
    std::fs::write(
        &root,
        Tar::new()
            .file("name", name)
            .file("more", name.repeat(3000))
            .bytes(),
    )?;
    let image = format!("full/{name}:1");
    succeed(
        elsewhere
            .shipway(&["image", "import", "--quiet", &image])
            .arg(&root),
    )?;
    elsewhere.save(&image)
}

#[test]
fn docker_is_told_that_a_build_had_no_room() -> Result<()> {
    everywhere(|ladder, ledger| {
        let user = ladder.user;
        let context = context_that_was_built(user)?;
        let Some(docker) = Docker::start(ladder)? else {
            return Ok(());
        };
        let prepare = |name: &str| Ok(std::fs::write(context.join("name"), name)?);
        let done = docker.climb("docker-build", &prepare, |docker, name| {
            let tag = format!("full/{name}:1");
            docker.run(&["build", "--tag", &tag, &context.to_string_lossy()])
        })?;
        for name in done {
            ledger.has_local(&format!("full/{name}:1"));
        }
        Ok(())
    })
}

#[test]
fn docker_is_told_that_a_load_had_no_room() -> Result<()> {
    let elsewhere = elsewhere()?;
    everywhere(|ladder, ledger| {
        let Some(docker) = Docker::start(ladder)? else {
            return Ok(());
        };
        let tar = ladder.user.home.work().join("load.tar");
        let prepare = |name: &str| {
            std::fs::copy(saved(&elsewhere, name)?, &tar)?;
            Ok(())
        };
        let done = docker.climb("docker-load", &prepare, |docker, _| {
            docker.run(&["load", "--input", &tar.to_string_lossy()])
        })?;
        for name in done {
            ledger.has_local(&format!("full/{name}:1"));
        }
        Ok(())
    })
}

#[test]
fn docker_is_told_that_a_pull_had_no_room() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    let elsewhere = elsewhere()?;
    let registry = elsewhere.serve()?;
    everywhere(|ladder, ledger| {
        let login = ladder.user.home.path().join(".docker");
        std::fs::create_dir(&login)?;
        // `tester:correct horse`
        let credentials = format!(
            r#"{{"auths": {{"{}": {{"auth": "dGVzdGVyOmNvcnJlY3QgaG9yc2U="}}}}}}"#,
            registry.address
        );
        std::fs::write(login.join("config.json"), credentials)?;
        ladder.user.home.account().own(&login)?;
        let Some(docker) = Docker::start(ladder)? else {
            return Ok(());
        };
        let image = |name: &str| format!("{}/full/{name}:1", registry.address);
        let account = ladder.user.home.account().name();
        let prepare = |name: &str| {
            let tar = saved(&elsewhere, name)?;
            let output = push(&elsewhere, &skopeo, &tar, &image(name))?;
            ensure!(output.status.success(), "{}", text(&output));
            Ok(())
        };
        let done = docker.climb(&format!("docker-pull-{account}"), &prepare, |docker, name| {
            docker.run(&["pull", &image(name)])
        })?;
        for name in done {
            ledger.has_local(&format!("full/{name}"));
        }
        Ok(())
    })
}

fn push(user: &User, skopeo: &Peer, tar: &std::path::Path, to: &str) -> Result<Output> {
    let mut command = user.home.command(skopeo.path());
    command
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
        .args(["--dest-creds", CREDENTIALS])
        .arg(format!("docker-archive:{}", tar.display()))
        .arg(format!("docker://{to}"));
    finish(&mut command)
}

#[test]
fn a_push_that_had_no_room_is_refused_with_the_reason() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    let elsewhere = elsewhere()?;
    everywhere(|ladder, ledger| {
        let registry = ladder.user.serve()?;
        let done = ladder.climb_beside(
            "push",
            &|name| saved(&elsewhere, name).map(drop),
            &mut |name| {
                let tar = elsewhere.home.work().join("saved.tar");
                let to = format!("{}/full/push:{name}", registry.address);
                push(&elsewhere, &skopeo, &tar, &to)
            },
            &|| Ok(()),
        )?;
        pushed(ledger, "full/push", done);
        let status = registry.end()?;
        ensure!(status.success(), "the registry ended with {status}");
        ladder.disk.is_tidy(ladder.user).context("after the registry")
    })
}
