//! A git repository made from a folder of files, as a test's project.

use std::path::{Path, PathBuf};

use crate::{Home, succeed};

/// Copies a folder into a home as a git repository on `branch`, with one commit and a remote that names the project.
///
/// # Errors
/// When copying or git fails; git's own words are in the error.
pub fn git_repository(home: &Home, files: &Path, project: &str, branch: &str) -> anyhow::Result<PathBuf> {
    let repository = home.work().join(project.replace('/', "-"));
    let mut copy = home.command("cp");
    succeed(
        copy.args(["-a", "--no-preserve=ownership"])
            .args([files, &repository]),
    )?;
    let git = |arguments: &[&str]| -> anyhow::Result<()> {
        let mut command = home.command("git");
        command
            .arg("-C")
            .arg(&repository)
            .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"]);
        succeed(command.args(arguments)).map(drop)
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
