//! What goes wrong inside is said on standard error, with its cause; what goes well is not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{Ending, SUITES, User, finish, shared_images, succeed, text};

#[test]
fn a_leftover_that_cannot_be_removed_is_named() -> Result<()> {
    // Only root can put one in an ordinary user's way.
    let Some(account) = Account::all()
        .into_iter()
        .find(|account| *account != Account::Caller)
    else {
        return Ok(());
    };
    let user = User::new(account)?;
    let files = tempfile::tempdir()?;
    std::fs::write(
        files.path().join(".gitlab-ci.yml"),
        "job:\n  script: [echo it runs]\n",
    )?;
    let repository = git_repository(&user.home, files.path(), "group/project", "main")?;
    let run = || {
        let mut command = user.shipway(&["run", "--executor", "shell"]);
        finish(command.current_dir(&repository))
    };
    let logged = |output: &Output| {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines = said
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = run()?;
    ensure!(
        before.status.success() && logged(&before).is_empty(),
        "{}",
        text(&before)
    );

    let leftover = user.home.data().join("builds/shipway-job-0123456789abcdef");
    std::fs::create_dir_all(leftover.join("of-root"))?;
    File::create(leftover.join("of-root/file"))?;
    account.own(&leftover)?;
    let after = run()?;
    ensure!(after.status.success(), "{}", text(&after));
    let lines = logged(&after);
    ensure!(
        !lines.is_empty()
            && lines
                .iter()
                .all(|line| line.contains(&*leftover.to_string_lossy())),
        "{}",
        text(&after)
    );
    Ok(())
}

#[test]
fn the_cause_of_an_internal_error_is_told_to_whoever_runs_the_registry() -> Result<()> {
    let user = User::new(Account::Caller)?;
    user.add_tester()?;
    let image = "registry.shipway.internal/group/app:1";
    let import = ["image", "import", "--quiet", "--change", "CMD [\"sh\"]", image];
    succeed(user.shipway(&import).arg(shared_images(SUITES[0])?.busybox))?;
    succeed(&mut user.shipway(&["image", "push", image]))?;
    let log = user.home.work().join("log");
    let mut serve = user.shipway(&["serve", "--listen", "127.0.0.1:0"]);
    let (_serving, address) = Ending::start(serve.stderr(File::create(&log)?), "://")?;
    let address = address.trim_end_matches('/');
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let question = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Basic dGVzdGVyOmNvcnJlY3QgaG9yc2U=\r\n\r\n"
        );
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).context("a status")?.to_owned();
        Ok::<_, anyhow::Error>((status, answer))
    };
    let (status, answer) = ask("/v2/group/app/manifests/1")?;
    ensure!(status == "200", "{answer}");
    let digest = answer
        .split(r#""digest":""#)
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let blob = format!("/v2/group/app/blobs/{}", digest.context("no digest")?);
    let quiet = std::fs::read_to_string(&log)?;
    ensure!(quiet.is_empty(), "{quiet}");

    // The disk loses what the store has.
    std::fs::remove_dir_all(user.home.data().join("store/blobs"))?;
    let (status, answer) = ask(&blob)?;
    ensure!(status == "500", "{answer}");
    let said = std::fs::read_to_string(&log)?;
    let line = said.lines().find(|line| line.contains("a request failed"));
    let line = line.with_context(|| format!("nothing of it is logged: {said}"))?;
    ensure!(
        line.contains("ERROR") && line.contains(&blob) && line.contains("is not in the store"),
        "{line}"
    );
    ensure!(
        !said.contains("dGVzdGVyOm") && !said.contains("correct horse"),
        "{said}"
    );
    Ok(())
}
