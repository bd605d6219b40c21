//! What the trace says of services that end, and of what they print.

use crate::place::{Files, IMAGE, Place, block_on, job, local};
use shipway_pipeline::job::{JobPayload, JobService};
use shipway_pipeline::variables::Variable;
use shipway_runner::JobStatus;
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[
    (
        "a_service_without_ports_that_ends_is_told_with_its_log",
        a_service_without_ports_that_ends_is_told_with_its_log,
    ),
    (
        "nothing_is_said_of_a_service_that_lives_until_the_job_ends",
        nothing_is_said_of_a_service_that_lives_until_the_job_ends,
    ),
    (
        "what_services_print_is_in_the_trace_when_asked_for",
        what_services_print_is_in_the_trace_when_asked_for,
    ),
];

/// Waits in a script until the service has put the file `ended` where both see it.
const UNTIL_THE_SERVICE_IS_DONE: &str = "until test -e /builds/ended; do usleep 10000; done";

fn with_service(id: u64, script: &[&str], command: &str) -> JobPayload {
    let mut payload = job(id, script);
    payload.services = vec![JobService {
        name: IMAGE.into(),
        alias: "db".into(),
        command: Some(vec!["sh".into(), "-c".into(), command.into()]),
        pull_policy: local(),
        ..Default::default()
    }];
    payload
}

fn a_service_without_ports_that_ends_is_told_with_its_log() {
    block_on(async {
        let place = Place::new().await;
        let payload = with_service(1, &["while :; do usleep 10000; done"], "echo boom; exit 3");
        // Ended as soon as the log is shown, which is while the script runs.
        let ended = place.run_with(&payload, Files(Vec::new()), Some("boom\n")).await;
        assert_eq!(ended.outcome.status, JobStatus::Canceled, "{}", ended.trace);
        let told = format!("the service {IMAGE} ended with exit code 3");
        assert_eq!(ended.trace.matches(&told).count(), 1, "{}", ended.trace);
    });
}

fn nothing_is_said_of_a_service_that_lives_until_the_job_ends() {
    block_on(async {
        let place = Place::new().await;
        let living = "echo alive; touch /builds/ended; while :; do usleep 10000; done";
        let ended = place
            .run(&with_service(1, &[UNTIL_THE_SERVICE_IS_DONE], living))
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(
            !ended.trace.contains("the service ") && !ended.trace.contains("alive"),
            "nothing is said of the job's own end: {}",
            ended.trace
        );
    });
}

fn what_services_print_is_in_the_trace_when_asked_for() {
    block_on(async {
        let place = Place::new().await;
        let service = "echo ready; echo the $CLOSED word; printf unfinished; touch /builds/ended; exit 4";
        let mut payload = with_service(1, &["while :; do usleep 10000; done"], service);
        payload
            .variables
            .push(Variable::public("CI_DEBUG_SERVICES", "true"));
        let ended = place
            .run_with(&payload, Files(Vec::new()), Some("ended with exit code 4"))
            .await;
        for expected in [
            "[service:busybox.test__busybox-busybox.test-busybox-db] ready",
            "] unfinished",
        ] {
            assert!(ended.trace.contains(expected), "{expected}: {}", ended.trace);
        }
        assert_eq!(ended.trace.matches("] ready").count(), 1, "{}", ended.trace);
        assert!(
            !ended.trace.contains("Its log:"),
            "it is there already: {}",
            ended.trace
        );
    });
}
