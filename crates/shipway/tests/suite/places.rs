//! Places that give less than root on a machine of one's own.
//!
//! Tier A′ is a place whose /proc is masked, as inside other people's containers, so that the kernel refuses a fresh one. Where a user
//! has no ids to map, only builds work (tier B): jobs end with exit code 3, and the setting.

use anyhow::{Result, ensure};
use shipway_testkit::Account;

use crate::harness::{SUITES, User, assert_nothing_left, finish, in_place, succeed, text};

/// What a container engine does to /proc.
const MASK: &str = "mount -t tmpfs -o ro tmpfs /proc/fs";

#[test]
fn a_build_works_where_proc_is_masked() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let report = text(&succeed(&mut in_place(MASK, &user, &["doctor", "--json"]))?);
        ensure!(report.contains("\"APrime\""), "as {}:\n{report}", account.name());
        let context = user.home.work().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(
            context.join("Dockerfile"),
            "FROM busybox:1.36\nRUN echo I am $$ && cat /proc/self/comm && ! cat /proc/1/environ\n",
        )?;
        account.own(&context)?;
        let output = succeed(&mut in_place(MASK, &user, &["build", &context.to_string_lossy()]))?;
        let output = text(&output);
        ensure!(
            output.contains(" I am 1\n") && output.contains(" cat\n"),
            "as {}: no process of a namespace of its own:\n{output}",
            account.name()
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}

/// What an ordinary user's place lacks, and the words by which to get it.
const LACKING: &[(&str, &str)] = &[
    (
        "mount --bind /dev/null /usr/bin/newuidmap",
        "the package `uidmap`",
    ),
    (
        "mount --bind /dev/null /usr/bin/newgidmap",
        "the package `uidmap`",
    ),
    ("mount --bind /dev/null /etc/subuid", "usermod --add-subuids"),
    ("mount --bind /dev/null /etc/subgid", "usermod --add-subuids"),
];

#[test]
fn without_ids_to_map_a_user_is_told_the_setting() -> Result<()> {
    let ordinary = Account::all()
        .into_iter()
        .find(|account| *account != Account::Caller);
    let (true, Some(account)) = (rustix::process::geteuid().is_root(), ordinary) else {
        return Ok(());
    };
    let user = User::new(account)?;
    let project = user.home.work().join("project");
    std::fs::create_dir(&project)?;
    std::fs::write(
        project.join(".gitlab-ci.yml"),
        "job:\n  image: a\n  script: [b]\n",
    )?;
    std::fs::write(project.join("Dockerfile"), "FROM scratch\nRUN [\"/a\"]\n")?;
    account.own(&project)?;
    let git = |arguments: &[&str]| {
        succeed(
            user.home
                .command("git")
                .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.com"])
                .args(arguments)
                .current_dir(&project),
        )
    };
    git(&["init", "--quiet"])?;
    git(&["commit", "--quiet", "--allow-empty", "--message=first"])?;
    for (preparation, setting) in LACKING {
        let report = text(&succeed(&mut in_place(preparation, &user, &["doctor"]))?);
        ensure!(
            report.contains("isolation: B ") && report.contains(setting),
            "after {preparation}:\n{report}"
        );
        for arguments in [&["run"][..], &["engine"]] {
            let output = finish(in_place(preparation, &user, arguments).current_dir(&project))?;
            ensure!(
                output.status.code() == Some(3) && text(&output).contains(setting),
                "{arguments:?} after {preparation}: {}\n{}",
                output.status,
                text(&output)
            );
        }
    }
    assert_nothing_left(&user.home)
}
