//! Jobs that take more than their share: processes, output, time.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{SUITES, User, assert_nothing_left, finish, text};

const BOMB: &str = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); done; echo every one started";

/// One job fills its pod with processes while another one, and afterwards a build, go on in theirs.
#[test]
fn a_fork_bomb_ends_its_job_alone() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let settings = user.home.path().join("shipway.toml");
        std::fs::write(&settings, "[limits]\nprocesses = 600\n")?;
        std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o644))?;
        let settings = settings.to_string_lossy();
        let files = tempfile::tempdir()?;
        let pipeline = format!(
            "bomb:\n  image: busybox:1.36\n  script:\n    - '{BOMB}'\nbeside:\n  image: busybox:1.36\n  script:\n    - 'echo \"still $((6 * 7))\"'\n"
        );
        std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
        std::fs::write(
            files.path().join("Dockerfile"),
            format!("FROM busybox:1.36\nRUN {BOMB}\n"),
        )?;
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755))?;
        let repository = git_repository(&user.home, files.path(), "group/bomb", "main")?;
        let mut runs = Vec::new();
        for arguments in [&["run"][..], &["build", "--no-cache", "."]] {
            let mut command = user.shipway(&["--config", &settings]);
            let output = finish(command.args(arguments).current_dir(&repository))?;
            let said = text(&output);
            ensure!(
                output.status.code() == Some(1) && said.contains("can't fork"),
                "as {}: {arguments:?} ended with {}:\n{said}",
                account.name(),
                output.status
            );
            ensure!(
                !said.contains("\nevery one started"),
                "as {}:\n{said}",
                account.name()
            );
            runs.push(said);
        }
        ensure!(
            runs[0].contains("still 42"),
            "as {}:\n{}",
            account.name(),
            runs[0]
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
