//! Jobs of the shell executor: on the machine itself.

use crate::place::{Files, Place, artifact, block_on, job, step};
use shipway_pipeline::job::Dependency;
use shipway_pipeline::variables::Variable;
use shipway_runner::configuration::{Executor, RunnerSettings};
use shipway_runner::{FailureReason, JobStatus, NoContainers, disarm_dead_jobs};
use shipway_testkit::harness::BlockingTest;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) const TESTS: &[BlockingTest] = &[
    (
        "a_job_of_the_shell_runs_in_a_directory_of_its_own",
        a_job_of_the_shell_runs_in_a_directory_of_its_own,
    ),
    (
        "what_a_shell_job_leaves_reaches_the_next_one",
        what_a_shell_job_leaves_reaches_the_next_one,
    ),
    (
        "only_what_a_shell_job_names_is_read",
        only_what_a_shell_job_names_is_read,
    ),
    (
        "what_a_killed_run_left_goes_with_the_next_shell_job",
        what_a_killed_run_left_goes_with_the_next_shell_job,
    ),
    (
        "no_process_outlives_its_shell_job",
        no_process_outlives_its_shell_job,
    ),
    ("a_shell_job_needs_no_containers", a_shell_job_needs_no_containers),
    (
        "the_docker_cli_of_a_shell_job_finds_an_engine",
        the_docker_cli_of_a_shell_job_finds_an_engine,
    ),
];

async fn place() -> Place {
    let mut place = Place::new().await;
    place.context.settings = RunnerSettings {
        executor: Executor::Shell,
        ..RunnerSettings::default()
    };
    place
}

fn nothing_left(place: &Place) {
    let builds = place.directory.path().join("data/builds");
    let left: Vec<_> = std::fs::read_dir(builds).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(place.pods().is_empty(), "{:?}", place.pods());
}

fn a_job_of_the_shell_runs_in_a_directory_of_its_own() {
    block_on(async {
        let place = place().await;
        let lines = [
            "cat file; pwd; test \"$PWD\" = \"$CI_PROJECT_DIR\" && echo in place",
            "echo \"key: $(cat \"$KEY\")\"",
            "stat -c 'modes %a' \"$KEY\" \"$CI_BUILDS_DIR\" | sort | tail -1",
            "echo \"cargo:$CARGO_PKG_NAME.\"",
            "cat",
            "false",
        ];
        let mut payload = job(1, &lines);
        payload
            .steps
            .push(step("after_script", &["echo \"after: $CI_JOB_STATUS\""]));
        payload.variables.push(Variable {
            file: true,
            ..Variable::secret("KEY", "a-secret-of-the-job")
        });
        let ended = place
            .run_with(&payload, Files(vec![("file", "content\n")]), None)
            .await;
        let JobStatus::Failed {
            reason, exit_code, ..
        } = ended.outcome.status
        else {
            panic!("{}", ended.trace)
        };
        assert_eq!(
            (reason, exit_code),
            (FailureReason::ScriptFailure, Some(1)),
            "{}",
            ended.trace
        );
        for expected in [
            "Preparing the \"shell\" executor",
            "the image busybox.test/busybox:1 is not used",
            "content\n",
            "in place\n",
            "key: [MASKED]\n",
            "modes 700\n",
            "cargo:.\n",
            "after: failed\n",
        ] {
            assert!(ended.trace.contains(expected), "{expected}: {}", ended.trace);
        }
        nothing_left(&place);
    });
}

fn what_a_shell_job_leaves_reaches_the_next_one() {
    block_on(async {
        let place = place().await;
        let lines = [
            "mkdir -p out/deep && echo made > out/deep/file && ln -s deep/file out/link && echo A=b > vars.env",
        ];
        let mut first = job(1, &lines);
        first.artifacts = vec![artifact("archive", &["out/"]), artifact("dotenv", &["vars.env"])];
        let ended = place.run(&first).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert_eq!(ended.outcome.dotenv, [("A".to_owned(), "b".to_owned())]);
        let mut second = job(2, &["cat out/link", "test ! -e vars.env"]);
        second.dependencies = vec![Dependency {
            id: 1,
            name: "first".into(),
            ..Dependency::default()
        }];
        let ended = place.run(&second).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(ended.trace.contains("\nmade\n"), "{}", ended.trace);
        nothing_left(&place);
    });
}

fn only_what_a_shell_job_names_is_read() {
    block_on(async {
        let place = place().await;
        let lines = [
            "mkdir other out && echo made > out/a.log && echo b > b.log && mkfifo other/pipe out/pipe",
            // As root it can be read all the same.
            "echo c > other/c.log && chmod 0 other/c.log other",
        ];
        let mut first = job(1, &lines);
        first.artifacts = vec![artifact("archive", &["*.log", "out"])];
        let ended = place.run(&first).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            ended
                .trace
                .contains("out/pipe: neither a file, a directory nor a link"),
            "{}",
            ended.trace
        );
        let mut archive = tar::Archive::new(std::fs::File::open(place.artifacts.path(1)).unwrap());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["b.log", "out/", "out/a.log"]);
        nothing_left(&place);
    });
}

fn what_a_killed_run_left_goes_with_the_next_shell_job() {
    block_on(async {
        let mut place = place().await;
        let builds = place.directory.path().join("elsewhere");
        place.context.settings.builds_directory = Some(builds.clone());
        let killed = builds.join("shipway-job-0123456789abcdef");
        for directory in [killed.join("group/project.tmp"), builds.join("somebody-elses")] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write(killed.join("group/project.tmp/KEY"), "a secret").unwrap();
        let ended = place
            .run(&job(1, &["echo \"in $CI_BUILDS_DIR\"; ls \"$CI_BUILDS_DIR/..\""]))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        let expected = format!("in {}/shipway-job-", builds.display());
        assert!(ended.trace.contains(&expected), "{}", ended.trace);
        assert!(!ended.trace.contains("0123456789abcdef"), "{}", ended.trace);
        let left: Vec<_> = std::fs::read_dir(&builds)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["somebody-elses"]);

        // In the data directory, who starts jobs has removed them already, and has said what stays.
        place.context.settings.builds_directory = None;
        let builds = place.context.data.join("builds");
        let killed = builds.join("shipway-job-0123456789abcdef");
        std::fs::create_dir_all(&killed).unwrap();
        place.run(&job(2, &["true"])).await;
        assert!(killed.exists());
        let _ = disarm_dead_jobs(&place.context.data, &place.context.store);
        assert!(!killed.exists());
    });
}

fn no_process_outlives_its_shell_job() {
    block_on(async {
        let place = place().await;
        let marks = place.directory.path().join("marks");
        std::fs::create_dir(&marks).unwrap();
        let background = format!(
            "(trap '' TERM; echo $BASHPID > {0}/$CI_JOB_ID; while :; do sleep 1; done) & while ! test -s {0}/$CI_JOB_ID; do :; done",
            marks.display()
        );
        let process = |id: u64| {
            let text = std::fs::read_to_string(marks.join(id.to_string())).unwrap();
            PathBuf::from(format!("/proc/{}", text.trim()))
        };
        let gone = |id: u64| {
            // A killed process may still wait for somebody to take note of its end.
            let status = std::fs::read_to_string(process(id).join("stat")).unwrap_or_default();
            assert!(status.is_empty() || status.contains(") Z "), "{status}");
        };
        let with_id = |id: u64, lines: &[&str]| {
            let mut payload = job(id, lines);
            payload
                .variables
                .push(Variable::public("CI_JOB_ID", id.to_string()));
            payload
        };
        let ended = place.run(&with_id(1, &[&background, "echo done"])).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        gone(1);

        let waiting = with_id(2, &[&background, "echo waiting", "wait"]);
        let ended = place.run_with(&waiting, Files(vec![]), Some("\nwaiting")).await;
        assert_eq!(ended.outcome.status, JobStatus::Canceled, "{}", ended.trace);
        gone(2);

        let mut slow = with_id(3, &[&background, "wait"]);
        slow.runner_info.timeout = 2;
        let ended = place.run(&slow).await;
        let JobStatus::Failed { reason, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::JobExecutionTimeout);
        gone(3);
        nothing_left(&place);
    });
}

fn a_shell_job_needs_no_containers() {
    block_on(async {
        let mut place = place().await;
        place.context.containers = Err(NoContainers {
            source: Arc::new(std::io::Error::other("there are no subordinate ids")),
        });
        let ended = place.run(&job(1, &["echo \"at ${DOCKER_HOST:-nobody}\""])).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        let looked_for = !daemon_of_the_machine();
        let said =
            "cannot take its place: making a container failed: this place makes no containers: there are no";
        assert_eq!(ended.trace.contains(said), looked_for, "{}", ended.trace);
        nothing_left(&place);

        place.context.settings.executor = Executor::Container;
        let ended = place.run(&job(2, &["true"])).await;
        let JobStatus::Failed { reason, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::RunnerSystemFailure);
    });
}

/// Whether this machine's docker CLI finds a daemon, which is then left alone.
fn daemon_of_the_machine() -> bool {
    std::os::unix::net::UnixStream::connect("/var/run/docker.sock").is_ok()
        || ["DOCKER_HOST", "DOCKER_CONTEXT"]
            .into_iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn the_docker_cli_of_a_shell_job_finds_an_engine() {
    if daemon_of_the_machine() {
        return;
    }
    block_on(async {
        let place = place().await;
        let ended = place
            .run(&job(
                1,
                &[
                    "echo \"$DOCKER_HOST\"",
                    "test -S \"${DOCKER_HOST#unix://}\" && echo a socket",
                ],
            ))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(ended.trace.contains("\na socket\n"), "{}", ended.trace);
        nothing_left(&place);

        let mut named = job(2, &["echo \"at $DOCKER_HOST\""]);
        named
            .variables
            .push(Variable::public("DOCKER_HOST", "tcp://elsewhere:2375"));
        let ended = place.run(&named).await;
        assert!(
            ended.trace.contains("\nat tcp://elsewhere:2375\n"),
            "{}",
            ended.trace
        );
    });
}
