//! A project's path is for the origin that first ran it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use shipway_testkit::Account;

use crate::harness::{User, finish, succeed, text};

/// A repository without a remote: its project's path is the directory's name, its origin the directory.
fn repository(user: &User, place: &str, pipeline: &str) -> Result<PathBuf> {
    let directory = user.home.work().join(place).join("app");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join(".gitlab-ci.yml"), pipeline)?;
    let git = |words: &str| {
        succeed(
            user.home
                .command("git")
                .args(words.split(' '))
                .current_dir(&directory),
        )
    };
    git("init --quiet")?;
    git("add --all")?;
    git("-c user.name=Test -c user.email=test@localhost commit --quiet --message=begun")?;
    Ok(directory)
}

#[test]
fn a_pipeline_that_does_not_come_to_run_takes_no_path() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let run = |directory: &Path, job: &str| {
        let mut command = user.shipway(&["run", "--executor", "shell", job]);
        finish(command.current_dir(directory))
    };
    let broken = repository(&user, "broken", "job: {script: 1, stage: nowhere}\n")?;
    let other = repository(&user, "other", "job:\n  script: [echo other]\n")?;
    let first = repository(&user, "first", "job:\n  script: [echo first]\n")?;
    for (directory, job) in [(&broken, "job"), (&other, "no-such-job")] {
        let output = run(directory, job)?;
        let said = text(&output);
        ensure!(
            output.status.code() == Some(2) && !said.contains("--same-project"),
            "{said}"
        );
    }
    let output = run(&first, "job")?;
    ensure!(output.status.success(), "{}", text(&output));
    let output = run(&other, "job")?;
    let said = text(&output);
    ensure!(
        output.status.code() == Some(2) && said.contains("--same-project"),
        "{said}"
    );
    Ok(())
}
