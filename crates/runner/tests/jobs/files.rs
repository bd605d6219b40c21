//! What jobs find and what they leave.

use crate::place::{Files, Place, artifact, block_on, job};
use shipway_pipeline::job::{Dependency, JobArtifact, JobCache, JobPayload};
use shipway_pipeline::variables::Variable;
use shipway_runner::{FailureReason, JobStatus};
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[
    ("artifacts_reach_the_next_job", artifacts_reach_the_next_job),
    (
        "a_file_of_many_names_is_kept_under_those_that_are_meant",
        a_file_of_many_names_is_kept_under_those_that_are_meant,
    ),
    (
        "a_failed_job_leaves_what_is_for_failures",
        a_failed_job_leaves_what_is_for_failures,
    ),
    (
        "a_cache_reaches_the_next_pipeline",
        a_cache_reaches_the_next_pipeline,
    ),
    (
        "sources_that_break_fail_the_runner",
        sources_that_break_fail_the_runner,
    ),
];

fn artifacts_reach_the_next_job() {
    block_on(async {
        let place = Place::new().await;
        let lines = [
            "mkdir -p out/deep other",
            "echo app > out/deep/app && echo left > out/deep/app.tmp && echo no > other/no && echo top > top.txt",
            "echo RELEASE=1.2.3 > vars.env",
        ];
        let mut first = job(1, &lines);
        let mut archive = artifact("archive", &["out", "**/*.txt", "missing/*"]);
        archive.exclude = vec!["out/**/*.tmp".into()];
        first.artifacts = vec![archive, artifact("dotenv", &["vars.env"])];
        let ended = place.run(&first).await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(ended.outcome.artifacts, "{}", ended.trace);
        assert_eq!(ended.outcome.dotenv, [("RELEASE".to_owned(), "1.2.3".to_owned())]);
        assert!(
            ended.trace.contains("missing/*: no matching files"),
            "{}",
            ended.trace
        );

        let mut second = job(
            2,
            &[
                "cat out/deep/app top.txt README",
                "echo more >> out/deep/app",
                "ls out/deep other || echo absent",
            ],
        );
        second.dependencies = vec![Dependency {
            id: 1,
            name: "job 1".into(),
            ..Default::default()
        }];
        let ended = place
            .run_with(
                &second,
                Files(vec![("README", "readme\n"), ("out/deep/app", "older\n")]),
                None,
            )
            .await;
        assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
        assert!(ended.trace.contains("\napp\ntop\nreadme\n"), "{}", ended.trace);
        assert!(
            ended.trace.contains("absent") && !ended.trace.contains("app.tmp"),
            "{}",
            ended.trace
        );
    });
}

/// As compilers leave them: the result is also among what it was made of.
fn a_file_of_many_names_is_kept_under_those_that_are_meant() {
    block_on(async {
        let place = Place::new().await;
        let lines = [
            "mkdir -p target/deps && echo app > target/app",
            "ln target/app target/deps/app-1 && ln target/app target/deps/app-2",
        ];
        let kept = |mut archive: JobArtifact, exclude: &[&str]| {
            archive.exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
            archive
        };
        for (id, archive, expected) in [
            (1, kept(artifact("archive", &["target/d*/*"]), &[]), "app-1 app-2"),
            (
                2,
                kept(artifact("archive", &["target"]), &["target/app"]),
                "app-1 app-2",
            ),
            (3, kept(artifact("archive", &["target/deps"]), &[]), "app-1 app-2"),
            (4, kept(artifact("archive", &["target/*/app-2"]), &[]), "app-2"),
        ] {
            let mut first = job(id, &lines);
            first.artifacts = vec![archive];
            let ended = place.run(&first).await;
            assert!(ended.outcome.artifacts, "{}", ended.trace);
            let mut second = job(10 + id, &["echo $(ls target/deps)", "cat target/deps/app-2"]);
            second.dependencies = vec![Dependency {
                id,
                name: "first".into(),
                ..Default::default()
            }];
            let ended = place.run(&second).await;
            assert!(
                ended.trace.contains(&format!("\n{expected}\n")) && ended.trace.contains("\napp\n"),
                "{}",
                ended.trace
            );
        }
    });
}

fn a_failed_job_leaves_what_is_for_failures() {
    block_on(async {
        let place = Place::new().await;
        let mut payload = job(1, &["echo log > log.txt", "exit 3"]);
        let mut artifact = artifact("archive", &["log.txt"]);
        artifact.when = "on_failure".into();
        payload.artifacts = vec![artifact];
        let ended = place.run(&payload).await;
        assert!(ended.outcome.artifacts, "{}", ended.trace);
        assert!(
            ended.trace.contains("Uploading artifacts for failed job"),
            "{}",
            ended.trace
        );
        let JobStatus::Failed { exit_code, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(exit_code, Some(3));
    });
}

fn a_cache_reaches_the_next_pipeline() {
    block_on(async {
        let place = Place::new().await;
        let cached = |id, script: &[&str], policy: &str| {
            let paths = vec!["deps/".to_owned()];
            let cache = JobCache {
                key: "deps-$LOCK".into(),
                paths,
                policy: policy.into(),
                ..Default::default()
            };
            let variables = vec![Variable::public("LOCK", "7")];
            JobPayload {
                cache: vec![cache],
                variables,
                ..job(id, script)
            }
        };
        let ended = place
            .run(&cached(1, &["mkdir deps", "echo kept > deps/one"], "pull-push"))
            .await;
        assert!(ended.trace.contains("No cache deps-7 yet"), "{}", ended.trace);
        assert!(ended.trace.contains("Created cache deps-7"), "{}", ended.trace);
        let ended = place
            .run(&cached(2, &["cat deps/one", "echo lost > deps/two"], "pull"))
            .await;
        assert!(ended.trace.contains("\nkept\n"), "{}", ended.trace);
        let ended = place.run(&cached(3, &["ls deps"], "pull")).await;
        assert!(
            ended.trace.contains("\none\n") && !ended.trace.contains("\ntwo\n"),
            "{}",
            ended.trace
        );
    });
}

fn sources_that_break_fail_the_runner() {
    block_on(async {
        let place = Place::new().await;
        // A tar path that nothing may extract.
        let ended = place
            .run_with(&job(1, &["true"]), Files(vec![("bad\u{0}name", "x")]), None)
            .await;
        let JobStatus::Failed { reason, .. } = ended.outcome.status else {
            panic!("{}", ended.trace)
        };
        assert_eq!(reason, FailureReason::RunnerSystemFailure, "{}", ended.trace);
        assert_eq!(place.pods(), Vec::<std::path::PathBuf>::new());
    });
}
