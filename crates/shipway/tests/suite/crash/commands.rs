//! Commands that do one thing and end: `build --push`, which is builder and registry in one process, `gc`, and `prune --all`.

use anyhow::{Context as _, Result};
use shipway_testkit::{Account, busybox_root};

use super::held::watch_whole;
use super::killer::Calls;
use super::rounds::{Outcome, Stage, play};
use crate::harness::{User, succeed};

const BUILD: &[Calls] = &[
    ("fsync", 1, 2),
    ("pwrite64", 5, 8),
    ("link", 1, 1),
    ("sendmsg", 3, 4),
    ("unlink", 3, 1),
];
/// Those of the keeper that moves the layers away and takes them apart, and of the process that asks it to.
const PRUNING: &[Calls] = &[
    ("unlinkat", 2, 40),
    ("renameat", 1, 1),
    ("sendmsg", 3, 1),
    ("unlink", 1, 1),
];
const COLLECTION: &[Calls] = &[("unlink", 2, 1), ("fsync", 1, 1), ("pwrite64", 9, 2)];

fn new_user(account: Account) -> Result<User> {
    let user = User::new(account)?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::copy("/bin/busybox", context.join("busybox"))?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY busybox /bin/sh\nARG NAME\nRUN echo $NAME > /first\nRUN echo $NAME > /second\n",
    )?;
    account.own(&context)?;
    Ok(user)
}

#[test]
fn a_build_that_said_it_was_pushed_survives() -> Result<()> {
    play("build-push", BUILD, new_user, |stage| {
        let name = format!("registry.shipway.internal/crash/build:{}", stage.name);
        let mut build = stage
            .user
            .shipway(&["build", "--quiet", "--push", "--tag", &name]);
        build
            .args(["--build-arg", &format!("NAME={}", stage.name)])
            .arg(stage.user.home.work().join("context"));
        let output = watch_whole(stage.strace, stage.user, &build, stage.moment)?;
        if output.status.success() {
            // What it prints is the image's id; the registry names it by its manifest.
            stage
                .ledger
                .holds(&format!("crash/build:{}", stage.name), "sha256:");
            return Ok(Outcome::Passed);
        }
        Ok(Outcome::Killed)
    })
}

/// What is needed by somebody stays, and the next collection ends what this one began.
#[test]
fn a_collection_that_was_killed_takes_nothing_that_is_needed() -> Result<()> {
    play("collection", COLLECTION, new_user, |stage| {
        rubbish(stage)?;
        let gc = stage.user.shipway(&["gc", "--grace", "0"]);
        let output = watch_whole(stage.strace, stage.user, &gc, stage.moment)?;
        if output.status.success() {
            return Ok(Outcome::Passed);
        }
        Ok(Outcome::Killed)
    })
}

/// How many files the layer has that is used before and after.
const FILES: usize = 200;

/// A layer that is in its place is whole, however far its removal came.
#[test]
fn layers_are_whole_after_a_prune_that_was_killed() -> Result<()> {
    let with_many_files = |account| {
        let user = new_user(account)?;
        let root = (0..FILES).fold(busybox_root(), |root, number| {
            root.file(&format!("many/{number}"), number.to_string())
        });
        let tar = user.home.work().join("image.tar");
        std::fs::write(&tar, root.bytes())?;
        succeed(
            user.shipway(&["image", "import", "--quiet", "local/many:1"])
                .arg(&tar),
        )?;
        std::fs::write(
            user.home.work().join("context/Dockerfile"),
            format!("FROM local/many:1\nRUN test $(ls /many | wc -l) = {FILES} && /bin/busybox true\n"),
        )?;
        Ok(user)
    };
    play("prune", PRUNING, with_many_files, |stage| {
        let user = stage.user;
        let uses_the_layer = || {
            succeed(
                user.shipway(&["build", "--quiet", "--no-cache"])
                    .arg(user.home.work().join("context")),
            )
        };
        uses_the_layer()?;
        let prune = user.shipway(&["prune", "--all"]);
        let output = watch_whole(stage.strace, user, &prune, stage.moment)?;
        uses_the_layer().context("after the prune")?;
        if output.status.success() {
            return Ok(Outcome::Passed);
        }
        Ok(Outcome::Killed)
    })
}

/// An image that stays, and some that have lost their names.
fn rubbish(stage: &mut Stage<'_>) -> Result<()> {
    let Stage {
        user, ledger, name, ..
    } = stage;
    let tar = user.home.work().join("image.tar");
    for number in 0..4 {
        std::fs::write(
            &tar,
            busybox_root().file("unique", format!("{name} {number}")).bytes(),
        )?;
        let image = format!("local/{name}:{number}");
        succeed(user.shipway(&["image", "import", "--quiet", &image]).arg(&tar))?;
        if number == 0 {
            ledger.has_local(&image);
        } else {
            succeed(&mut user.shipway(&["image", "rm", &image])).context("removing a name")?;
            ledger.lacks_local(&image);
        }
    }
    Ok(())
}
