//! Jobs that take more memory or disk than there is for them, each beside one that goes on.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{Disk, SUITES, User, assert_nothing_left, finish, text};

/// Writes all the while: it would hear of a full disk.
const BESIDE: &str = "
beside:
  image: busybox:1.36
  script:
    - echo \"offered $(cat /proc/self/oom_score_adj)\"
    - for i in $(seq 40); do head -c 65536 /dev/zero > file$((i % 4)); sleep 0.1; done
    - 'echo \"still $((6 * 7))\"'
";

/// Holds 600 MB for some seconds.
const HOLD: &str = "dd if=/dev/zero of=/dev/null bs=600M count=40";

/// Prints 4 GB.
const FLOOD: &str = "yes \"$(printf %01000d 0)\" | head -c 4000000000";

/// Holds much, and writes nothing while the disk gets full.
const HOLDER: &str = "
beside:
  image: busybox:1.36
  script:
    - head -c 150000000 /dev/zero > held
    - echo \"offered $(cat /proc/self/oom_score_adj)\"
    - for i in $(seq 60); do sleep 0.1; done
    - 'echo \"still $((6 * 7))\"'
";

/// Writes 4 GB to a file that has no name any more.
const HIDE: &str = "(rm hidden; sleep 1; dd if=/dev/zero bs=1M count=4000 >&3; sleep 2; false) 3>hidden";

/// A build context of 4 GB, made of nothing.
const CONTEXT: &str =
    "truncate -s 4000M big; echo FROM scratch > Dockerfile; tar c big Dockerfile | docker build -";

/// Images of 100 MB each without end, none of which stays in the job's files.
const IMAGES: &str = "truncate -s 100M big; for i in $(seq 100); do echo $i > number; tar c number big | docker import - image:$i; done; false";

/// A job with an engine of its own.
const WITH_ENGINE: &str = "
  image: docker:24.0.5-cli
  services: [docker:24.0.5-dind]
  variables: {DOCKER_TLS_CERTDIR: '', DOCKER_HOST: 'tcp://docker:2375'}";

/// One without.
const ALONE: &str = "
  image: busybox:1.36";

/// Runs the pipeline of a new project, whose first job is to be ended, under `settings`; gives what was said.
fn run(user: &User, settings: &str, project: &str, hungry: (&str, &str), beside: &str) -> Result<String> {
    let (job, script) = hungry;
    let file = user.home.path().join("shipway.toml");
    std::fs::write(&file, settings)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let file = file.to_string_lossy();
    let files = tempfile::tempdir()?;
    let pipeline =
        format!("hungry:{job}\n  script:\n    - {script}\n    - echo \"had $((6 * 7))\"\n{beside}");
    std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
    std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755))?;
    let repository = git_repository(&user.home, files.path(), &format!("group/{project}"), "main")?;
    let mut run = user.shipway(&["--config", &file, "run"]);
    let output = finish(run.current_dir(&repository))?;
    let said = text(&output);
    let as_whom = user.home.account().name();
    ensure!(
        output.status.code() == Some(1) && !said.contains("had 42"),
        "as {as_whom}: ended with {}:\n{said}",
        output.status
    );
    ensure!(
        said.contains("offered 1000"),
        "as {as_whom}, to the kernel:\n{said}"
    );
    ensure!(said.contains("still 42"), "as {as_whom}, the other job:\n{said}");
    Ok(said)
}

#[test]
fn a_job_that_takes_too_much_memory_is_ended_alone() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let settings = "[limits]\nmemory = \"256MiB\"\n";
        let said = run(&user, settings, "memory", (ALONE, HOLD), BESIDE)?;
        // Of one excess one thing is said: no line of a log beside it.
        ensure!(!said.contains(" WARN "), "as {}:\n{said}", account.name());
        ensure!(
            said.contains("Job failed: the job was ended: it used ")
                && said.contains("`limits.memory` is 256 MiB"),
            "as {}:\n{said}",
            account.name()
        );

        let context = tempfile::tempdir()?;
        std::fs::write(
            context.path().join("Dockerfile"),
            format!("FROM busybox:1.36\nRUN {HOLD}\n"),
        )?;
        std::fs::set_permissions(context.path(), std::fs::Permissions::from_mode(0o755))?;
        let settings = user.home.path().join("shipway.toml");
        let mut build = user.shipway(&["--config", &settings.to_string_lossy(), "build"]);
        let output = finish(build.arg(context.path()))?;
        let said = text(&output);
        ensure!(
            output.status.code() == Some(1) && said.contains("the build was ended: it used "),
            "as {}: {}\n{said}",
            account.name(),
            output.status
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}

#[test]
fn a_job_that_fills_the_disk_is_ended_before_it_is_full() -> Result<()> {
    // Mounting needs root outside of any namespace.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for account in Account::all() {
        let user = User::new(account)?;
        let disk = Disk::new(user.home.path().join("disk"), user.home.data(), 1500)?;
        account.own(&disk.mounted)?;
        user.add_base_images(SUITES[0])?;
        let settings = "[limits]\ndisk_reserve = \"1000MiB\"\n";
        for (project, hungry) in [
            ("file", "dd if=/dev/zero of=file bs=1M count=4000"),
            ("output", FLOOD),
        ] {
            let said = run(&user, settings, project, (ALONE, hungry), BESIDE)?;
            ensure!(
                said.contains("Job failed: the job was ended: its files and output take ")
                    && said.contains("`limits.disk_reserve` is 1000 MiB"),
                "as {}:\n{said}",
                account.name()
            );
        }
        drop(disk);
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}

#[test]
fn who_fills_the_disk_where_it_does_not_show_is_ended_alone() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for account in Account::all() {
        let user = User::new(account)?;
        let disk = Disk::new(user.home.path().join("disk"), user.home.data(), 2200)?;
        account.own(&disk.mounted)?;
        user.add_base_images(SUITES[0])?;
        let settings = "[limits]\ndisk_reserve = \"1000MiB\"\n";
        for (project, hungry) in [
            ("hidden", (ALONE, HIDE)),
            ("context", (WITH_ENGINE, CONTEXT)),
            // The last, since what it stored stays.
            ("images", (WITH_ENGINE, IMAGES)),
        ] {
            let said = run(&user, settings, project, hungry, HOLDER)?;
            ensure!(
                said.contains("Job failed: the job was ended: its files and output take "),
                "{project}, as {}:\n{said}",
                account.name()
            );
        }
        drop(disk);
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
