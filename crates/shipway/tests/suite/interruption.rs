//! Ctrl-C and kill -9 in the middle of a job: nothing stays behind, nothing that the job was given goes on working, and the store
//! opens again.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use shipway_testkit::{Account, Peer, git_repository, wait_for};

use crate::harness::{Answer, Registry, SUITES, User, assert_nothing_left, succeed, text};

/// A job that says when it runs and then never ends by itself.
const ENDLESS: &str = "\
endless:
  image: busybox:1.36
  script:
    # Turned round, since a trace shows no token.
    - echo \"its token is $(echo \"$CI_REGISTRY_PASSWORD\" | rev)\"
    - echo \"the job runs\"
    - while true; do sleep 1; done
  after_script:
    - echo \"the job $CI_JOB_STATUS\"
";

/// A run whose job is under way, as the leader of a process group, as shells start programs.
struct Started {
    repository: PathBuf,
    process: Child,
    output: std::thread::JoinHandle<String>,
    /// The job's token for the registry.
    token: String,
}

fn started(user: &User, project: &str) -> Result<Started> {
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join(".gitlab-ci.yml"), ENDLESS)?;
    succeed(
        std::process::Command::new("chmod")
            .args(["-R", "a+rX"])
            .arg(files.path()),
    )?;
    let repository = git_repository(&user.home, files.path(), project, "main")?;
    let mut command = user.shipway(&["run"]);
    let mut process = command
        .current_dir(&repository)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
    let mut token = None;
    loop {
        let line = lines.next().context("the run ended before its job started")??;
        if let Some((_, turned)) = line.split_once("its token is ")
            && !line.contains("echo")
        {
            token = Some(turned.trim().chars().rev().collect());
        }
        // The echo of the command itself holds the words as well, behind a dollar sign.
        if line.contains("the job runs") && !line.contains("echo") {
            break;
        }
    }
    // Whoever reads no further must not stop the run: keep draining.
    let output = std::thread::spawn(move || lines.map_while(|line| line.ok()).collect::<Vec<_>>().join("\n"));
    Ok(Started {
        repository,
        process,
        output,
        token: token.context("the job showed no token")?,
    })
}

fn pid(process: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(process.id())?).context("a process id")
}

fn end(process: &mut Child) -> Result<Option<i32>> {
    wait_for(Duration::from_secs(30), || match process.try_wait() {
        Ok(Some(status)) => Ok(status.code()),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

#[test]
fn control_c_ends_the_job_and_leaves_nothing() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let Started {
            mut process, output, ..
        } = started(&user, "group/endless")?;
        // A terminal's Ctrl-C reaches everybody in the group, and the pods' processes must not be among them.
        kill_process_group(pid(&process)?, Signal::INT)?;
        let code = end(&mut process)?;
        let output = output.join().expect("the reader of the output");
        ensure!(
            output.contains("the job canceled"),
            "as {}: no after_script:\n{output}",
            account.name()
        );
        ensure!(
            code == Some(130),
            "as {}: a cancelled run ended with {code:?}",
            account.name()
        );
        assert_nothing_left(&user.home)?;
        let pods = user.home.data().join("locks");
        let left: Vec<_> = std::fs::read_dir(&pods)?
            .flatten()
            .map(|entry| entry.file_name())
            // The one lock that belongs to no pod: whoever unpacks layers takes it for a moment.
            .filter(|name| !name.to_string_lossy().starts_with("layers."))
            .collect();
        ensure!(
            left.is_empty(),
            "as {}: locks left behind: {left:?}",
            account.name()
        );
    }
    Ok(())
}

#[test]
fn kill_9_leaves_no_process_and_the_next_run_sweeps_up() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let Started {
            repository,
            mut process,
            ..
        } = started(&user, "group/endless")?;
        kill_process(pid(&process)?, Signal::KILL)?;
        end(&mut process)?;
        assert_nothing_left(&user.home)?;

        std::fs::write(
            repository.join(".gitlab-ci.yml"),
            "quick:\n  image: busybox:1.36\n  script: [echo \"all is well\"]\n",
        )?;
        let output = succeed(user.shipway(&["run"]).current_dir(&repository))?;
        ensure!(text(&output).contains("all is well"), "{}", text(&output));
        succeed(&mut user.shipway(&["fsck"]))?;
        assert_nothing_left(&user.home)?;
        let unfinished: Vec<_> = std::fs::read_dir(user.home.data().join("histories"))?
            .collect::<std::io::Result<Vec<_>>>()?
            .into_iter()
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with('.'))
            .collect();
        ensure!(
            unfinished.is_empty(),
            "as {}: half copies of the repository left behind: {unfinished:?}",
            account.name()
        );
    }
    Ok(())
}

/// What the registry answers to somebody with a job's token, and with the bearer token that it gave for that one.
struct Shown<'a> {
    user: &'a User,
    registry: &'a Registry,
}

impl Shown<'_> {
    fn password(&self, token: &str) -> Result<Answer> {
        let pair = format!("gitlab-ci-token:{token}");
        self.ask(
            &["--user", &pair],
            "/v2/token?scope=repository:group/endless:push",
        )
    }

    fn bearer(&self, bearer: &str) -> Result<Answer> {
        let header = format!("Authorization: Bearer {bearer}");
        self.ask(&["--header", &header], "/v2/")
    }

    fn bearer_of(&self, token: &str) -> Result<String> {
        let answer = self.password(token)?;
        ensure!(answer.status == 200, "a living job's token: {answer:?}");
        let json: serde_json::Value = serde_json::from_str(&answer.body)?;
        Ok(json["token"].as_str().context("a token")?.to_owned())
    }

    fn ask(&self, arguments: &[&str], path: &str) -> Result<Answer> {
        let answer = self.registry.curl(&self.user.home, arguments, path)?;
        answer.context("curl is here")
    }
}

#[test]
fn the_token_of_a_killed_job_is_refused_by_the_registry_that_runs() -> Result<()> {
    if Peer::find("curl").is_none() {
        return Ok(());
    }
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let registry = user.serve()?;
    let shown = Shown {
        user: &user,
        registry: &registry,
    };
    let mut dead = started(&user, "group/endless")?;
    let mut alive = started(&user, "group/other")?;
    let bearers = [shown.bearer_of(&dead.token)?, shown.bearer_of(&alive.token)?];
    for bearer in &bearers {
        let answer = shown.bearer(bearer)?;
        ensure!(answer.status == 200, "a living job's bearer token: {answer:?}");
    }

    kill_process(pid(&dead.process)?, Signal::KILL)?;
    end(&mut dead.process)?;
    let refused = shown.password(&dead.token)?;
    ensure!(
        refused.status == 401 && refused.body.contains("it ends with its job"),
        "a dead job's token: {refused:?}"
    );
    let refused = shown.bearer(&bearers[0])?;
    ensure!(
        refused.status == 401 && refused.body.contains("the job has ended"),
        "a dead job's bearer token: {refused:?}"
    );
    ensure!(
        std::fs::read_dir(user.home.data().join("jobs"))?.count() == 2,
        "somebody has swept up, so this shows nothing"
    );
    shown.bearer_of(&alive.token)?;
    let answer = shown.bearer(&bearers[1])?;
    ensure!(answer.status == 200, "a living job's bearer token: {answer:?}");

    kill_process_group(pid(&alive.process)?, Signal::INT)?;
    end(&mut alive.process)?;
    let refused = shown.password(&alive.token)?;
    ensure!(
        refused.status == 401,
        "the token of a job that has ended: {refused:?}"
    );
    Ok(())
}
