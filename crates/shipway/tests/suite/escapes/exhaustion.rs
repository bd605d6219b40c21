//! Jobs that take more than their share, of processes, output or time, and one that prints a secret in pieces.

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

/// One prints without end, one does not listen when its time is up, one prints a secret byte by byte.
const UNRULY: &str = r#"
flood:
  image: busybox:1.36
  script:
    - yes "$(printf %0500d 0)flood" | head -c 20000000 || true
    - echo "behind it $((6 * 7))"
deaf:
  image: busybox:1.36
  timeout: 8 seconds
  script:
    - trap '' TERM INT HUP
    - echo "deaf $((6 * 7))"
    - while true; do sleep 1000; done
pieces:
  image: busybox:1.36
  script:
    - echo "$SECRET" | fold -w 1 | while read piece; do env printf %s "$piece"; done
    - echo "; told $((6 * 7))"
"#;

#[test]
fn floods_and_deafness_end_and_a_secret_in_pieces_stays_one() -> Result<()> {
    const SECRET: &str = "the-word-that-nobody-says";
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let files = tempfile::tempdir()?;
        std::fs::write(files.path().join(".gitlab-ci.yml"), UNRULY)?;
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755))?;
        let repository = git_repository(&user.home, files.path(), "group/unruly", "main")?;
        let mut run = user.shipway(&["run", "--variable", &format!("SECRET={SECRET}")]);
        let output = finish(run.current_dir(&repository))?;
        let said = text(&output);
        let told = format!("as {}, {} bytes:\n{:.4000}", account.name(), said.len(), said);
        ensure!(
            output.status.code() == Some(1),
            "ended with {} {told}",
            output.status
        );
        ensure!(
            said.len() < 6_000_000 && !said.contains("behind it 42"),
            "no limit: {told}"
        );
        let lines_of_other_jobs: Vec<&str> = said.lines().filter(|line| !line.ends_with("flood")).collect();
        let rest = lines_of_other_jobs.join("\n");
        ensure!(rest.contains("[MASKED]$"), "{}:\n{rest}", account.name());
        ensure!(!rest.contains(SECRET), "{}:\n{rest}", account.name());
        ensure!(
            rest.contains("deaf 42") && rest.contains("execution took longer than 8s"),
            "{}:\n{rest}",
            account.name()
        );
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
