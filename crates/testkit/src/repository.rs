//! A git repository made from a folder of files, as a test's project.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::Home;

/// Copies a folder into a home as a git repository on `branch`, with one commit and a remote that names the project.
///
/// # Errors
/// When copying or git fails; git's own words are in the error.
pub fn git_repository(home: &Home, files: &Path, project: &str, branch: &str) -> anyhow::Result<PathBuf> {
    let repository = home.work().join(project.replace('/', "-"));
    run(
        home,
        &["cp", "-a", "--no-preserve=ownership"],
        &[files, &repository],
    )?;
    let git = |arguments: &[&str]| -> anyhow::Result<()> {
        let mut command = home.command("git");
        command
            .arg("-C")
            .arg(&repository)
            .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"]);
        let output = command.args(arguments).output().context("git")?;
        ensure!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    git(&["init", "--quiet", "--initial-branch", branch])?;
    git(&["add", "--all", "--force"])?;
    git(&["commit", "--quiet", "--message", "A test"])?;
    git(&[
        "remote",
        "add",
        "origin",
        &format!("https://gitlab.example.com/{project}.git"),
    ])?;
    Ok(repository)
}

fn run(home: &Home, program: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let (name, arguments) = program.split_first().context("a program")?;
    let output = home
        .command(name)
        .args(arguments)
        .args(paths)
        .output()
        .context("starting a copy")?;
    ensure!(
        output.status.success(),
        "{program:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
