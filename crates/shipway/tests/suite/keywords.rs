//! Keywords whose effect only a run can show: that a retry is another try, that a timeout ends a job, that jobs of a
//! resource group take turns, that reports, artifacts and caches arrive where they should.
//!
//! What the keywords mean is tested in the pipeline crate; here each is looked for in what the jobs of one pipeline said.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use shipway_testkit::{Account, git_repository, workspace};

use crate::harness::{SUITES, User, assert_nothing_left, finish, shared_images, succeed, text};

struct Project {
    user: User,
    repository: PathBuf,
}

/// What a run said, event by event.
struct Events(Vec<Value>);

impl Project {
    fn new(account: Account) -> Result<Self> {
        let user = User::new(account)?;
        let busybox = shared_images(SUITES[0])?.busybox;
        let import = [
            "image",
            "import",
            "--quiet",
            "--change",
            r#"CMD ["sh"]"#,
            "busybox:1.36",
        ];
        succeed(user.shipway(&import).arg(busybox))?;
        let files = workspace().join("crates/shipway/tests/fixtures/keywords");
        let repository = git_repository(&user.home, &files, "group/project", "main")?;
        Ok(Self { user, repository })
    }

    fn run(&self, arguments: &[&str], expected: i32) -> Result<Events> {
        let mut command = self.user.shipway(&["run", "--json", "--concurrency", "4"]);
        let output = finish(command.args(arguments).current_dir(&self.repository))?;
        ensure!(
            output.status.code() == Some(expected),
            "{arguments:?} ended with {:?}:\n{}",
            output.status.code(),
            text(&output)
        );
        let lines = std::str::from_utf8(&output.stdout)?.lines();
        let events = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Events(events))
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        let mut git = self.user.home.command("git");
        succeed(git.arg("-C").arg(&self.repository).args(arguments))?;
        Ok(())
    }
}

impl Events {
    fn of<'a>(&'a self, event: &'a str, job: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0
            .iter()
            .filter(move |line| line["event"] == event && line["job"] == job)
    }

    fn tries(&self, job: &str) -> usize {
        self.of("job_started", job).count()
    }

    fn said(&self, job: &str) -> String {
        self.of("output", job)
            .filter_map(|line| line["text"].as_str())
            .collect()
    }

    fn expect(&self, job: &str, words: &str) -> Result<()> {
        let said = self.said(job);
        ensure!(said.contains(words), "`{job}` does not say {words:?}:\n{said}");
        Ok(())
    }

    /// Jobs that began, each once, in order of their names.
    fn jobs(&self) -> Vec<&str> {
        let started = self.0.iter().filter(|line| line["event"] == "job_started");
        let mut jobs: Vec<&str> = started.filter_map(|line| line["job"].as_str()).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// How many jobs whose name begins like this ran at once.
    fn most_at_once(&self, name: &str) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for line in &self.0 {
            if line["job"].as_str().is_some_and(|job| job.starts_with(name)) {
                match line["event"].as_str() {
                    Some("job_started") => now += 1,
                    Some("job_finished") => now -= 1,
                    _ => {}
                }
            }
            most = most.max(now);
        }
        most
    }
}

#[test]
fn keywords_have_their_effect() -> Result<()> {
    for account in Account::all() {
        let project = Project::new(account)?;
        let failed = project.run(&["--variable", "FAIL=yes"], 1)?;
        honours_what_ends_jobs(&failed).with_context(|| format!("as {}", account.name()))?;
        hands_over(&failed).with_context(|| format!("as {}", account.name()))?;
        failed.expect("after a failure", "cleaned up")?;
        ensure!(failed.tries("looks only") == 0, "it follows a failure");
        failed.expect("counts", "counted 1")?;
        project.run(&["counts"], 0)?.expect("counts", "counted 2")?;
        std::fs::write(project.repository.join("lock"), "two\n")?;
        project.run(&["counts"], 0)?.expect("counts", "counted 1")?;
        assert_nothing_left(&project.user.home)?;
    }
    Ok(())
}

#[test]
fn a_resource_group_is_shared_by_runs() -> Result<()> {
    let project = Project::new(Account::all()[0])?;
    std::fs::write(
        project.repository.join("deploy.yml"),
        "deploy: {image: 'busybox:1.36', resource_group: production, timeout: 2 minutes, script: 'echo deploying; sleep 3600'}\n\
         after: {image: 'busybox:1.36', resource_group: production, script: echo after}\n",
    )?;
    let run = |job: &str| -> Result<_> {
        let mut command = project
            .user
            .shipway(&["run", "--json", "--file", "deploy.yml", job]);
        let mut process = command
            .current_dir(&project.repository)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
        Ok((process, lines))
    };
    let said = |lines: &mut Lines<BufReader<ChildStdout>>, words: &str| -> Result<()> {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(words)));
        found.with_context(|| format!("{words:?} is never said"))??;
        Ok(())
    };
    let (mut first, mut events) = run("deploy")?;
    let outcome = said(&mut events, "deploying\\n").and_then(|()| {
        let (mut second, mut events) = run("after")?;
        said(&mut events, "after waits: another run has the resource group")?;
        // However the first run ends, the turn is free afterwards.
        first.kill()?;
        said(&mut events, "\"event\":\"job_started\"")?;
        ensure!(second.wait()?.success(), "the second run failed");
        Ok(())
    });
    first.kill()?;
    first.wait()?;
    outcome?;
    assert_nothing_left(&project.user.home)
}

fn honours_what_ends_jobs(events: &Events) -> Result<()> {
    for (job, tries) in [("tried three times", 3), ("tried once", 1), ("out of time", 2)] {
        ensure!(
            events.tries(job) == tries,
            "`{job}` ran {} times",
            events.tries(job)
        );
    }
    events.expect("out of time", "execution took longer than 1s")?;
    ensure!(
        !events.said("out of time").contains("after a timeout"),
        "after_script ran after a timeout"
    );
    ensure!(
        events.most_at_once("alone") == 1,
        "a resource group ran side by side"
    );
    for job in ["alone one", "alone two", "alone three"] {
        events.expect(job, "alone")?;
    }
    Ok(())
}

fn hands_over(events: &Events) -> Result<()> {
    events.expect("copies: [amd, linux]", "copy 1 of 2 for amd and linux")?;
    events.expect("copies: [arm, linux]", "copy 2 of 2 for arm and linux")?;
    events.expect("depends", "colour <green>, files kept.txt\n")?;
    events.expect("needs", "colour <>, files arm.txt\n")?;
    events.expect("deploys", "review/main at https://review-main-")?;
    events.expect("deploys", ".example.com to start")?;
    events.expect(
        "deploys where a report says",
        "preview at https://green.example.com/preview\n",
    )
}

#[test]
fn situations_have_their_own_jobs() -> Result<()> {
    let project = Project::new(Account::all()[0])?;
    let tag = project.run(&["--tag", "v1.0", "for tags"], 0)?;
    tag.expect("for tags", "tag v1.0, old name v1.0")?;
    project.run(&["--merge-request"], 2)?;
    project.git(&["switch", "--quiet", "--create", "topic"])?;
    let request = project.run(&["--merge-request"], 0)?;
    ensure!(request.jobs() == ["for merge requests"], "{:?}", request.jobs());
    request.expect("for merge requests", "into main, branch <>")?;
    for arguments in [&["--web", "for tags"][..], &["--schedule", "for merge requests"]] {
        project.run(arguments, 2)?;
    }
    project.run(&["stops"], 0)?.expect("stops", "preview to stop")?;
    let refused = finish(
        project
            .user
            .shipway(&["run", "not today"])
            .current_dir(&project.repository),
    )?;
    let said = text(&refused);
    let reason =
        "the job `not today` is not in this pipeline: the first of its rules that holds, at .gitlab-ci.yml:";
    ensure!(
        refused.status.code() == Some(2) && said.contains(reason),
        "{:?}: {said}",
        refused.status.code()
    );
    assert_nothing_left(&project.user.home)
}
