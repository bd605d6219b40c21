//! Commands that end: imports, builds, jobs, and what frees space.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use shipway_store::Store;
use shipway_testkit::{Account, Tar, busybox_root, git_repository};

use super::ladder::{Ladder, pushed};
use super::{context_that_was_built, everywhere, with_base};
use crate::harness::{finish, succeed, text};

#[test]
fn an_import_is_whole_or_not_there() -> Result<()> {
    everywhere(|ladder, ledger| {
        let user = ladder.user;
        let tar = user.home.work().join("image.tar");
        let prepare = |name: &str| {
            let root = Tar::new().file("name", name).file("more", name.repeat(4000));
            Ok(std::fs::write(&tar, root.bytes())?)
        };
        let done = ladder.climb("import", &prepare, &mut |name| {
            finish(
                user.shipway(&["image", "import", &format!("full/{name}:1")])
                    .arg(&tar),
            )
        })?;
        for name in done {
            ledger.has_local(&format!("full/{name}:1"));
        }
        Ok(())
    })
}

#[test]
fn a_build_is_pushed_whole_or_not_at_all() -> Result<()> {
    everywhere(|ladder, ledger| {
        let user = ladder.user;
        let context = context_that_was_built(user)?;
        let prepare = |name: &str| Ok(std::fs::write(context.join("name"), name)?);
        let done = ladder.climb("build", &prepare, &mut |name| {
            let tag = format!("registry.shipway.internal/full/build:{name}");
            finish(user.shipway(&["build", "--push", "--tag", &tag]).arg(&context))
        })?;
        pushed(ledger, "full/build", done);
        Ok(())
    })
}

/// Of a project with a file, a history, artifacts and a cache.
fn project(ladder: &Ladder<'_>) -> Result<PathBuf> {
    let files = tempfile::tempdir()?;
    std::fs::write(
        files.path().join(".gitlab-ci.yml"),
        "job:\n  image: base:1\n  script: [cat name name > made]\n  artifacts: {paths: [made]}\n  \
         cache: {key: $CI_COMMIT_SHA, paths: [name]}\n",
    )?;
    std::fs::write(files.path().join("name"), "with room")?;
    succeed(
        std::process::Command::new("chmod")
            .args(["-R", "a+rX"])
            .arg(files.path()),
    )?;
    git_repository(&ladder.user.home, files.path(), "group/full", "main")
}

#[test]
fn a_job_says_which_of_its_stages_had_no_room() -> Result<()> {
    let places = std::cell::RefCell::new(BTreeSet::new());
    everywhere(|ladder, _| {
        let user = ladder.user;
        with_base(user, "")?;
        let repository = project(ladder)?;
        succeed(user.shipway(&["run"]).current_dir(&repository))?;
        let prepare = |name: &str| Ok(std::fs::write(repository.join("name"), name.repeat(1000))?);
        // The last stages need a page or two: each number of pages is left to one of the accounts.
        let ladder = Ladder {
            first: ladder.first / 2,
            step: 2,
            ..*ladder
        };
        ladder.climb("run", &prepare, &mut |_| {
            let output = finish(user.shipway(&["run"]).current_dir(&repository))?;
            places
                .borrow_mut()
                .extend(said_before(&text(&output), " failed: "));
            Ok(output)
        })?;
        Ok(())
    })?;
    let places = places.into_inner();
    for place in [
        "putting files into the project's directory",
        "archiving files of the job",
    ] {
        ensure!(
            places.is_empty() || places.contains(place),
            "`{place}` is not among {places:?}"
        );
    }
    Ok(())
}

/// What stands before some words at the end of `Job failed: ` lines.
fn said_before(text: &str, words: &str) -> Option<String> {
    let (_, said) = text.split_once("Job failed: ")?;
    Some(said.split_once(words)?.0.to_owned())
}

/// An image that was not unpacked yet is, for a job.
#[test]
fn a_layer_is_unpacked_whole_or_not_at_all() -> Result<()> {
    everywhere(|ladder, _| {
        let user = ladder.user;
        with_base(user, "")?;
        let repository = project(ladder)?;
        let tar = user.home.work().join("image.tar");
        // One large file and many small ones.
        let pages = std::fs::metadata("/bin/busybox")?.len() / super::disk::PAGE;
        let ladder = Ladder {
            step: pages / 5,
            ..*ladder
        };
        let prepare = |name: &str| {
            let root = (0..60).fold(busybox_root(), |root, number| {
                root.file(&format!("etc/{name}-{number}"), name.repeat(200))
            });
            std::fs::write(&tar, root.bytes())?;
            let image = format!("full/{name}:1");
            succeed(user.shipway(&["image", "import", "--quiet", &image]).arg(&tar))?;
            Ok(std::fs::write(
                repository.join(".gitlab-ci.yml"),
                format!(
                    "job:\n  image: {image}\n  script: ['ls /etc | grep -c {name}', '[ $(ls /etc | grep -c {name}) = 60 ]']\n"
                ),
            )?)
        };
        ladder.climb("unpack", &prepare, &mut |_| {
            finish(user.shipway(&["run"]).current_dir(&repository))
        })?;
        Ok(())
    })
}

/// Not a byte is free, and the commands that are for it show what there is and free some.
#[test]
fn a_completely_full_disk_can_be_freed() -> Result<()> {
    everywhere(|ladder, ledger| {
        let (user, disk) = (ladder.user, ladder.disk);
        with_base(user, "")?;
        let repository = project(ladder)?;
        succeed(user.shipway(&["run"]).current_dir(&repository))?;
        let tar = user.home.work().join("base.tar");
        for name in ["full/kept:1", "full/removed:1"] {
            std::fs::write(&tar, busybox_root().file("name", name).bytes())?;
            succeed(user.shipway(&["image", "import", "--quiet", name]).arg(&tar))?;
        }
        disk.leave(0)?;
        let works = |arguments: &[&str]| -> Result<String> {
            let output = finish(&mut user.shipway(arguments))?;
            ensure!(output.status.success(), "{arguments:?}: {}", text(&output));
            let kept = std::fs::metadata(user.home.data().join("store/ballast"))?.len();
            ensure!(
                kept == 8 << 20,
                "after {arguments:?} {kept} bytes are kept for the next time"
            );
            Ok(text(&output))
        };
        ensure!(works(&["image", "ls"])?.contains("full/removed"));
        works(&["fsck"])?;
        works(&["image", "rm", "full/removed:1"])?;
        ledger.has_local("full/kept:1");
        ledger.lacks_local("full/removed:1");
        let freed = works(&["gc", "--grace", "0"])?;
        ensure!(
            freed.contains(" blobs, 1.0 MB") || freed.contains(" MB"),
            "{freed}"
        );
        disk.leave(0)?;
        works(&["prune"])?;
        let pruned = works(&["prune", "--all"])?;
        ensure!(pruned.contains("1 unpacked layer removed"), "{pruned}");
        disk.make_room()?;
        disk.is_tidy(user)
    })
}

/// Whoever may not reserve the room yet, because the disk was full when the store was made, is told so as well.
#[test]
fn a_store_that_was_never_opened_says_that_the_disk_is_full() -> Result<()> {
    everywhere(|ladder, _| {
        ladder.disk.leave(1)?;
        let output = finish(&mut ladder.user.shipway(&["image", "ls"]))?;
        let said = text(&output);
        ensure!(
            output.status.code() == Some(1) && said.contains("No space left on device"),
            "{said}"
        );
        ladder.disk.make_room()?;
        if ladder.user.home.account() == Account::Caller {
            Store::open(&ladder.user.home.data().join("store")).context("once there is room")?;
        }
        Ok(())
    })
}
