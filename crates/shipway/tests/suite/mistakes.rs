//! Small mistakes of a user, each of which is told by its own cause and cure.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{User, finish, text};

/// A repository whose pipeline has the jobs `build` and `deploy`.
fn repository(user: &User) -> Result<PathBuf> {
    let files = tempfile::tempdir()?;
    std::fs::write(
        files.path().join(".gitlab-ci.yml"),
        "build: {script: make}\ndeploy: {script: make deploy}\n",
    )?;
    git_repository(&user.home, files.path(), "group/project", "main")
}

#[test]
fn a_repository_that_git_does_not_trust_is_told_with_the_command_that_allows_it() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let repository = repository(&user)?;
    for verb in ["lint", "run"] {
        let mut command = user.shipway(&[verb]);
        // As if it was another user's.
        command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true");
        let output = finish(command.current_dir(&repository))?;
        let said = text(&output);
        ensure!(
            output.status.code() == Some(2)
                && said.contains("dubious ownership")
                && said.contains("git config --global --add safe.directory"),
            "{verb}: {said}"
        );
        ensure!(!said.contains("git init"), "{verb}: {said}");
    }
    let mut outside = user.shipway(&["lint"]);
    let said = text(&finish(outside.current_dir(user.home.work()))?);
    ensure!(
        said.contains("in no git work tree") && said.contains("git init"),
        "{said}"
    );
    Ok(())
}
