//! How scripts run and end.

use crate::place::{Files, IMAGE, Place, artifact, block_on, job, step};
use shipway_pipeline::job::{JobArtifact, JobCache, JobPayload};
use shipway_pipeline::variables::Variable;
use shipway_runner::configuration::RunnerSettings;
use shipway_runner::{FailureReason, JobStatus};
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[
    (
        "the_first_failure_ends_the_script_and_after_script_knows",
        the_first_failure_ends_the_script_and_after_script_knows,
    ),
    ("secrets_do_not_reach_the_trace", secrets_do_not_reach_the_trace),
    (
        "a_job_that_takes_too_long_is_ended",
        a_job_that_takes_too_long_is_ended,
    ),
    ("a_canceled_job_leaves_nothing", a_canceled_job_leaves_nothing),
    (
        "a_canceled_job_keeps_what_a_failed_one_keeps",
        a_canceled_job_keeps_what_a_failed_one_keeps,
    ),
    (
        "scripts_may_have_times_of_their_own",
        scripts_may_have_times_of_their_own,
    ),
    (
        "an_entrypoint_runs_first_with_all_variables",
        an_entrypoint_runs_first_with_all_variables,
    ),
    ("a_job_may_run_as_anybody", a_job_may_run_as_anybody),
    (
        "an_image_that_is_nowhere_is_an_image_failure",
        an_image_that_is_nowhere_is_an_image_failure,
    ),
    (
        "a_job_without_an_image_says_which_it_gets",
        a_job_without_an_image_says_which_it_gets,
    ),
];

fn the_first_failure_ends_the_script_and_after_script_knows() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(1, &["echo one", "(exit 42)", "echo two"]);
        payload.steps.push(step(
            "after_script",
            &["echo \"after: $CI_JOB_STATUS\"", "exit 7"],
        ));
        let ended = place.run(&payload).await;
        let JobStatus::Failed {
            reason, exit_code, ..
        } = &ended.outcome.status
        else {
            panic!("{:?}\n{}", ended.outcome.status, ended.trace)
        };
        assert_eq!(
            (*reason, *exit_code),
            (FailureReason::ScriptFailure, Some(42)),
            "{}",
            ended.trace
        );
        assert!(
            ended.trace.contains("\none\n") && !ended.trace.contains("\ntwo\n"),
            "{}",
            ended.trace
        );
        assert!(ended.trace.contains("\nafter: failed\n"), "{}", ended.trace);
        assert_eq!(ended.trace.matches("Running after").count(), 1, "{}", ended.trace);
        assert!(
            ended.trace.contains("ERROR: Job failed: exit code 42"),
            "{}",
            ended.trace
        );
        assert_eq!(place.pods(), Vec::<std::path::PathBuf>::new());
    });
}

fn secrets_do_not_reach_the_trace() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(
            2,
            &[
                "echo $PASSWORD",
                "printf sword; sleep 0.2; printf 'fish99\\n'",
                "echo $CI_JOB_TOKEN",
            ],
        );
        payload
            .variables
            .push(Variable::secret("PASSWORD", "swordfish99"));
        payload
            .variables
            .push(Variable::secret("CI_JOB_TOKEN", payload.token.clone()));
        let ended = place.run(&payload).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            !ended.trace.contains("swordfish99") && !ended.trace.contains("token-of-job"),
            "{}",
            ended.trace
        );
        assert_eq!(ended.trace.matches("[MASKED]").count(), 3, "{}", ended.trace);
    });
}

fn a_job_that_takes_too_long_is_ended() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(3, &["echo started", "sleep 1000"]);
        payload.steps.push(step("after_script", &["echo never"]));
        payload.runner_info.timeout = 3;
        let ended = place.run(&payload).await;
        let JobStatus::Failed { reason, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::JobExecutionTimeout, "{}", ended.trace);
        assert!(
            ended.trace.contains("execution took longer than 3s") && !ended.trace.contains("\nnever\n"),
            "{}",
            ended.trace
        );
        assert_eq!(place.pods(), Vec::<std::path::PathBuf>::new());
    });
}

fn a_canceled_job_leaves_nothing() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(4, &["sleep 1001 & echo \"has $((1 + 1)) started\"", "sleep 1001"]);
        payload
            .steps
            .push(step("after_script", &["echo \"after: $CI_JOB_STATUS\""]));
        let ended = place
            .run_with(&payload, Files(Vec::new()), Some("has 2 started"))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Canceled, "{}", ended.trace);
        assert!(ended.trace.contains("\nafter: canceled\n"), "{}", ended.trace);
        assert_eq!(place.pods(), Vec::<std::path::PathBuf>::new());
        assert!(
            !processes().iter().any(|line| line.contains("sleep\x001001")),
            "a process of the job outlived it"
        );
    });
}

fn a_canceled_job_keeps_what_a_failed_one_keeps() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(
            9,
            &["echo made > file; echo \"has $((1 + 1)) started\"", "sleep 1002"],
        );
        payload.artifacts = ["always", "on_success"]
            .map(|when| JobArtifact {
                when: when.to_owned(),
                ..artifact("archive", &["file"])
            })
            .into();
        payload.cache = vec![JobCache {
            key: "kept".to_owned(),
            paths: vec!["file".to_owned()],
            when: "on_failure".to_owned(),
            ..JobCache::default()
        }];
        let ended = place
            .run_with(&payload, Files(Vec::new()), Some("has 2 started"))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Canceled, "{}", ended.trace);
        assert!(ended.outcome.artifacts, "{}", ended.trace);
        assert_eq!(
            ended.trace.matches("Uploading artifacts").count(),
            1,
            "{}",
            ended.trace
        );
        assert!(ended.trace.contains("Created cache kept"), "{}", ended.trace);
    });
}

fn scripts_may_have_times_of_their_own() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(10, &["echo made > file", "sleep 1003"]);
        payload.steps.push(step(
            "after_script",
            &["echo \"after: $CI_JOB_STATUS\"", "sleep 1003"],
        ));
        payload.artifacts = vec![JobArtifact {
            when: "on_failure".to_owned(),
            ..artifact("archive", &["file"])
        }];
        let limit = |name: &str| Variable::public(name, "1s");
        payload.variables = vec![
            limit("RUNNER_SCRIPT_TIMEOUT"),
            limit("RUNNER_AFTER_SCRIPT_TIMEOUT"),
        ];
        let ended = place.run(&payload).await;
        let JobStatus::Failed { reason, message, .. } = &ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(*reason, FailureReason::JobExecutionTimeout, "{}", ended.trace);
        assert!(message.contains("the script took longer than 1s"), "{message}");
        assert!(ended.trace.contains("\nafter: failed\n"), "{}", ended.trace);
        assert!(ended.outcome.artifacts, "{}", ended.trace);

        // The time of the whole job holds for what comes after the script, too.
        let mut payload = job(11, &["true"]);
        payload.steps.push(step("after_script", &["sleep 1003"]));
        payload.runner_info.timeout = 5;
        let ended = place.run(&payload).await;
        assert!(
            ended.trace.contains("execution took longer than 5s"),
            "{}",
            ended.trace
        );
        assert_ne!(ended.outcome.status, JobStatus::Success);
    });
}

/// The command lines of this machine.
fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .collect()
}

fn an_entrypoint_runs_first_with_all_variables() {
    block_on(async {
        let mut place = Place::new().await;
        let entrypoint =
            "ENTRYPOINT [\"sh\", \"-c\", \"export SEEN=entrypoint-saw-$GIVEN; exec \\\"$@\\\"\", \"--\"]";
        place.import("busybox.test/entrypoint:1", &["ENV PATH=/bin", entrypoint]);
        let mut payload = job(5, &["echo \"$SEEN\""]);
        payload.image.name = "busybox.test/$WHICH:1".into();
        payload.variables.push(Variable::public("WHICH", "entrypoint"));
        payload
            .variables
            .push(Variable::public("GIVEN", "it's \"quoted\""));
        let ended = place.run(&payload).await;
        assert!(
            ended.trace.contains("\nentrypoint-saw-it's \"quoted\"\n"),
            "{}",
            ended.trace
        );
        let without = async |place: &Place, payload: &JobPayload| {
            let ended = place.run(payload).await;
            assert!(!ended.trace.contains("\nentrypoint-saw"), "{}", ended.trace);
            assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        };
        place.context.settings.docker.passes_over_entrypoints = true;
        without(&place, &payload).await;
        place.context.settings = RunnerSettings::default();
        payload.image.entrypoint = Some(vec![String::new()]);
        without(&place, &payload).await;
    });
}

fn a_job_may_run_as_anybody() {
    block_on(async {
        let place = Place::new().await;
        place.import("busybox.test/ann:1", &["ENV PATH=/bin", "USER ann"]);
        let lines = [
            "id -u",
            "echo changed >> dir/file",
            "cat dir/file",
            "echo new > made",
            "cat \"$SECRET_FILE\"",
        ];
        let mut payload = job(6, &lines);
        payload.image.name = "busybox.test/ann:1".into();
        payload.variables.push(Variable {
            file: true,
            ..Variable::public("SECRET_FILE", "in a file\n")
        });
        let ended = place
            .run_with(&payload, Files(vec![("dir/file", "first\n")]), None)
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(ended.trace.contains("\n1000\n"), "{}", ended.trace);
        assert!(
            ended.trace.contains("\nfirst\nchanged\n") && ended.trace.contains("\nin a file\n"),
            "{}",
            ended.trace
        );
    });
}

fn an_image_that_is_nowhere_is_an_image_failure() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(7, &["true"]);
        payload.image.name = "busybox.test/nothing:1".into();
        let ended = place.run(&payload).await;
        let JobStatus::Failed { reason, message, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::ImagePullFailure, "{message}");
        assert!(message.contains("busybox.test/nothing:1"), "{message}");
    });
}

fn a_job_without_an_image_says_which_it_gets() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(8, &["true"]);
        payload.image.name = String::new();
        let ended = place.run(&payload).await;
        let notice = format!("This job names no image: the default {IMAGE} is used.");
        assert!(ended.trace.contains(&notice), "{}", ended.trace);
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
    });
}
