//! `run` is killed while a job of its pipeline builds, tags, pushes, deletes and runs with the docker CLI.
//!
//! The job does what comes before the point, says so, and waits for a file; then the run is watched, and the job goes on.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository, wait_for};

use super::killer::{Calls, Injection};
use super::rounds::{Outcome, play};
use crate::harness::{Ending, SUITES, User, names, succeed};

const COMMIT: &[Calls] = &[
    ("fsync", 1, 1),
    ("pwrite64", 1, 4),
    ("link", 1, 1),
    ("unlink", 1, 1),
    ("sendmsg", 1, 3),
];
const KEEPING: &[Calls] = &[
    ("sendmsg", 1, 1),
    ("recvmsg", 2, 2),
    ("pipe2", 1, 1),
    ("epoll_ctl", 1, 2),
];

/// What a job does before its point and at it, `IMAGE` being a name of its own; the local names end with the job.
struct Script {
    before: &'static str,
    at: &'static str,
    /// Whether the registry has the image once the job said that it was done; nothing when it is not asked.
    leaves: Option<bool>,
}

const BUILD: &str = "docker build --tag $IMAGE .";

fn kill_while(point: &str, calls: &[Calls], script: &Script) -> Result<()> {
    play(point, calls, new_user, |stage| {
        let user = stage.user;
        let go = user.home.work().join("go");
        // Of the job before.
        let _ = std::fs::remove_file(go.join("now"));
        let repository = project(user)?;
        std::fs::write(repository.join(".gitlab-ci.yml"), pipeline(&stage.name, script))?;
        let mut run = user.shipway(&["run", "--runner-config"]);
        run.arg(user.home.work().join("config.toml"))
            .current_dir(&repository);
        let mut process = run
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
        let mut complaints = process.stderr.take().context("standard error")?;
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = std::io::Read::read_to_string(&mut complaints, &mut text);
            text
        });
        let mut process = Ending::of(process);
        let mut said = String::new();
        loop {
            let Some(line) = lines.next() else {
                let complaints = complaints.join().unwrap_or_default();
                anyhow::bail!("the run ended before its job was there:\n{said}{complaints}");
            };
            let line = line?;
            said.push_str(&line);
            said.push('\n');
            if line.contains("the job is there") && !line.contains("echo") {
                break;
            }
        }
        only_living_jobs(user)?;
        let image = format!("group/project:{}", stage.name);
        match script.leaves {
            Some(false) => stage.ledger.doubts(&image),
            _ if script.before.contains("docker push") => stage.ledger.holds(&image, "sha256:"),
            _ => {}
        }
        let watched = stage
            .strace
            .watch(process.id(), stage.moment, Injection::OneKills)?;
        std::fs::write(go.join("now"), "")?;
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        drop(watched);
        let status = process.ended()?;
        let is_done = rest
            .iter()
            .any(|line| line.contains("the job is done") && !line.contains("echo"));
        if is_done {
            match script.leaves {
                Some(true) => stage.ledger.holds(&image, "sha256:"),
                Some(false) => stage.ledger.lacks(&image),
                None => {}
            }
        }
        if status.success() {
            return Ok(Outcome::Passed);
        }
        ensure!(
            status.signal() == Some(9),
            "the run ended with {status}:\n{said}{}",
            rest.join("\n")
        );
        Ok(Outcome::Killed)
    })
}

/// What only jobs leave is removed by the next run, which may still be at it when its own job is there.
fn only_living_jobs(user: &User) -> Result<()> {
    wait_for(Duration::from_secs(20), || {
        for place in ["histories", "jobs"] {
            let found = names(&user.home.data().join(place));
            if found.len() != 1 {
                return Err(format!("one job lives, and in {place} there are {found:?}"));
            }
        }
        Ok(())
    })
}

fn pipeline(name: &str, script: &Script) -> String {
    let Script { before, at, .. } = script;
    format!(
        "work:
  image: docker:24.0.5-cli
  services: [docker:24.0.5-dind]
  variables:
    DOCKER_HOST: tcp://docker:2375
    DOCKER_TLS_CERTDIR: ''
    DOCKER_BUILDKIT: '0'
    IMAGE: $CI_REGISTRY_IMAGE:{name}
  script:
    - echo \"$CI_REGISTRY_PASSWORD\" | docker login $CI_REGISTRY -u $CI_REGISTRY_USER --password-stdin
    - echo $IMAGE > unique
    - {before}
    - echo 'the job is there'
    - while [ ! -e /go/now ]; do sleep 0.1; done
    - {at}
    - echo 'the job is done'
"
    )
}

fn new_user(account: Account) -> Result<User> {
    let user = User::with_base_images(account, SUITES[0])?;
    let go = user.home.work().join("go");
    std::fs::create_dir(&go)?;
    std::fs::write(
        user.home.work().join("config.toml"),
        format!(
            "[[runners]]\nname = \"crash\"\nurl = \"https://gitlab.example.com\"\ntoken = \"none\"\nexecutor = \"docker\"\n\
             [runners.docker]\nimage = \"busybox:1.36\"\nprivileged = true\nvolumes = [\"{}:/go:ro\"]\n",
            go.display()
        ),
    )?;
    let files = tempfile::tempdir()?;
    std::fs::write(
        files.path().join("Dockerfile"),
        "FROM busybox:1.36\nCOPY unique /\nRUN cp /unique /copied\n",
    )?;
    succeed(
        std::process::Command::new("chmod")
            .args(["-R", "a+rX"])
            .arg(files.path()),
    )?;
    git_repository(&user.home, files.path(), "group/project", "main")?;
    Ok(user)
}

fn project(user: &User) -> Result<PathBuf> {
    let repository = user.home.work().join("group-project");
    ensure!(repository.is_dir(), "no project");
    Ok(repository)
}

#[test]
fn a_push_of_a_job_survives() -> Result<()> {
    let script = Script {
        before: BUILD,
        at: "docker push $IMAGE",
        leaves: Some(true),
    };
    kill_while("run-push", COMMIT, &script)
}

#[test]
fn a_build_of_a_job_leaves_nothing_half() -> Result<()> {
    let script = Script {
        before: "'true'",
        at: "docker build --no-cache --tag $IMAGE .",
        leaves: None,
    };
    kill_while("run-build", COMMIT, &script)
}

#[test]
fn tags_of_a_job_end_with_it() -> Result<()> {
    let script = Script {
        before: BUILD,
        at: "docker tag $IMAGE $IMAGE-two && docker tag $IMAGE $IMAGE-three",
        leaves: None,
    };
    kill_while("run-tag", COMMIT, &script)
}

#[test]
fn a_deletion_in_a_job_takes_nothing_from_the_registry() -> Result<()> {
    let script = Script {
        before: "docker build --tag $IMAGE . && docker push $IMAGE",
        at: "docker rmi $IMAGE",
        leaves: None,
    };
    kill_while("run-delete", COMMIT, &script)
}

#[test]
fn an_image_that_a_killed_job_unpacked_is_whole_for_the_next() -> Result<()> {
    let script = Script {
        before: "tar -c -f - /bin /usr/bin | docker import - fresh:1",
        at: "docker run --rm fresh:1 /bin/sh -c 'ls -l /usr/bin | wc -l'",
        leaves: None,
    };
    kill_while("run-unpack", KEEPING, &script)
}
