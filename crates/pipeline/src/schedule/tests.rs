//! Which jobs run next, whatever ended before them and however.

use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    Options, Situation, compile,
    diagnostic::Reports,
    yaml::{self, Node, Value},
};

fn pipeline(config: &str) -> Pipeline {
    let files = BTreeMap::from([(".gitlab-ci.yml".to_owned(), config.as_bytes().to_vec())]);
    let situation = Situation {
        ref_name: "main".to_owned(),
        ..Situation::default()
    };
    match compile(&files, ".gitlab-ci.yml", &situation, Options::default()) {
        Ok(compiled) => compiled.pipeline,
        Err(diagnostics) => panic!("{}", diagnostics[0]),
    }
}

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn failed() -> JobResult {
    JobResult::Failed {
        reason: "script_failure".to_owned(),
        exit_code: Some(1),
    }
}

fn names(jobs: &[JobName]) -> Vec<&str> {
    jobs.iter().map(JobName::as_str).collect()
}

#[test]
fn stages_follow_one_another() {
    let mut schedule = Schedule::new(&pipeline(
        "stages: [a, b]\nx: {stage: a, script: x}\ny: {stage: a, script: y}\nz: {stage: b, script: z}",
    ));
    assert_eq!(names(&schedule.startable()), ["x", "y"]);
    schedule.started(&name("x")).unwrap();
    schedule.finished(&name("x"), JobResult::Success).unwrap();
    assert_eq!(names(&schedule.startable()), ["y"]);
    schedule.started(&name("y")).unwrap();
    schedule.finished(&name("y"), JobResult::Success).unwrap();
    assert_eq!(names(&schedule.startable()), ["z"]);
    assert!(!schedule.is_settled());
    schedule.finished(&name("z"), JobResult::Success).unwrap();
    assert!(schedule.is_settled());
    assert_eq!(schedule.status(), Status::Success);
}

#[test]
fn a_failed_job_is_tried_again_as_often_as_asked() {
    let mut schedule = Schedule::new(&pipeline("x: {script: x, retry: {max: 1, when: script_failure}}"));
    schedule.finished(&name("x"), failed()).unwrap();
    assert_eq!(names(&schedule.startable()), ["x"]);
    schedule.finished(&name("x"), failed()).unwrap();
    assert_eq!(schedule.status(), Status::Failed);

    let mut other = Schedule::new(&pipeline(
        "x: {script: x, retry: {max: 1, when: runner_system_failure}}",
    ));
    other.finished(&name("x"), failed()).unwrap();
    assert_eq!(other.status(), Status::Failed);
}

#[test]
fn reasons_and_exit_codes_each_let_a_job_be_tried_again() {
    for (retry, reason, exit_code, again) in [
        ("{max: 1, exit_codes: [7, 9]}", "script_failure", Some(9), true),
        ("{max: 1, exit_codes: 7}", "script_failure", Some(1), false),
        ("{max: 1, exit_codes: 7}", "runner_system_failure", None, false),
        (
            "{max: 1, when: runner_system_failure, exit_codes: 7}",
            "script_failure",
            Some(7),
            true,
        ),
        (
            "{max: 1, when: runner_system_failure, exit_codes: 7}",
            "runner_system_failure",
            None,
            true,
        ),
        (
            "{max: 1, when: [api_failure, always]}",
            "script_failure",
            Some(1),
            true,
        ),
        ("0", "script_failure", Some(1), false),
    ] {
        let mut schedule = Schedule::new(&pipeline(&format!("x: {{script: x, retry: {retry}}}")));
        let result = JobResult::Failed {
            reason: reason.to_owned(),
            exit_code,
        };
        schedule.finished(&name("x"), result).unwrap();
        assert_eq!(
            names(&schedule.startable()) == ["x"],
            again,
            "{retry} {reason} {exit_code:?}"
        );
    }
}

#[test]
fn exit_codes_decide_whether_a_failure_counts() {
    let config = "x: {stage: build, script: x, allow_failure: {exit_codes: [1]}}\ny: {script: y}";
    let mut schedule = Schedule::new(&pipeline(config));
    schedule.finished(&name("x"), failed()).unwrap();
    assert!(schedule.is_failure_allowed(&name("x")));
    assert_eq!(names(&schedule.startable()), ["y"]);

    let mut other = Schedule::new(&pipeline(config));
    other
        .finished(
            &name("x"),
            JobResult::Failed {
                reason: "script_failure".to_owned(),
                exit_code: Some(2),
            },
        )
        .unwrap();
    assert_eq!(other.job_status(&name("y")), Some(Status::Skipped));
}

#[test]
fn a_resource_group_runs_one_job_at_a_time() {
    let mut schedule = Schedule::new(&pipeline(
        "x: {script: x, resource_group: r}\ny: {script: y, resource_group: r}\nz: {script: z}",
    ));
    assert_eq!(names(&schedule.startable()), ["x", "z"]);
    schedule.started(&name("x")).unwrap();
    assert_eq!(names(&schedule.startable()), ["z"]);
    schedule.finished(&name("x"), JobResult::Success).unwrap();
    assert_eq!(names(&schedule.startable()), ["y", "z"]);
}

#[test]
fn delayed_jobs_wait_for_their_time() {
    let mut schedule = Schedule::new(&pipeline("x: {script: x, when: delayed, start_in: 5 minutes}"));
    assert_eq!(schedule.delayed(), [(name("x"), Duration::from_secs(300))]);
    assert_eq!(schedule.status(), Status::Scheduled);
    schedule.due(&name("x")).unwrap();
    assert_eq!(names(&schedule.startable()), ["x"]);
}

#[test]
fn cancelling_names_what_runs() {
    let mut schedule = Schedule::new(&pipeline(
        "x: {stage: build, script: x}\ny: {stage: build, script: y}\nz: {script: z}",
    ));
    schedule.started(&name("x")).unwrap();
    assert_eq!(names(&schedule.cancel_all()), ["x"]);
    assert_eq!(schedule.status(), Status::Canceled);
    assert!(schedule.finished(&name("x"), JobResult::Success).is_err());
    assert!(schedule.started(&name("nobody")).is_err());
}

/// JSON is YAML, so a part of a case can be written out as a file of its own.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|entry| (entry.key.to_string(), json(&entry.value)))
            .collect(),
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Scalar(_) if node.is_null() => serde_json::Value::Null,
        Value::Scalar(scalar) => match (node.as_bool(), node.as_integer()) {
            (Some(value), _) => value.into(),
            (_, Some(value)) => value.into(),
            _ => scalar.text().into(),
        },
        Value::Reference(_) => panic!("no references in these cases"),
    }
}

fn differences(schedule: &Schedule, expect: &serde_json::Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: String, actual: Option<Status>, expected: &serde_json::Value| {
        let actual = actual.map_or("absent", Status::as_str);
        if Some(actual) != expected.as_str() {
            wrong.push(format!("{at}: {what} is {actual}, expected {expected}"));
        }
    };
    check(
        "pipeline".to_owned(),
        Some(schedule.status()),
        &expect["pipeline"],
    );
    for (stage, expected) in expect["stages"].as_object().into_iter().flatten() {
        check(
            format!("stage {stage}"),
            schedule.stage_status(&stage.parse().unwrap()),
            expected,
        );
    }
    for (job, expected) in expect["jobs"].as_object().into_iter().flatten() {
        check(format!("job {job}"), schedule.job_status(&name(job)), expected);
    }
    wrong
}

fn run_case(text: &str) -> Vec<String> {
    let mut reports = Reports::default();
    let file = reports.add_file("case", text.into());
    let case = json(&yaml::parse(file, text).unwrap().documents[0]);
    let mut schedule = Schedule::new(&pipeline(&case["config"].to_string()));
    let mut wrong = differences(&schedule, &case["init"]["expect"], "init");
    for (number, transition) in case["transitions"].as_array().into_iter().flatten().enumerate() {
        let event = transition["event"].as_str().unwrap();
        for job in transition["jobs"].as_array().unwrap() {
            let job = name(job.as_str().unwrap());
            let outcome = match event {
                "success" => schedule.finished(&job, JobResult::Success).map(drop),
                "drop" => schedule.finished(&job, failed()).map(drop),
                "cancel" => schedule.cancel(&job),
                "run" => schedule.started(&job),
                "play" => schedule.play(&job),
                "retry" => schedule.retry(&job),
                other => panic!("unknown event {other}"),
            };
            if let Err(error) = outcome {
                wrong.push(format!("step {number}: {error}"));
            }
        }
        wrong.extend(differences(
            &schedule,
            &transition["expect"],
            &format!("step {number} ({event})"),
        ));
    }
    wrong
}

/// Cases known to differ stand in `tests/gitlab-processing-differs.tsv` with the reason; one that no longer differs must
/// leave the list.
#[test]
fn gitlabs_processing_cases_give_gitlabs_statuses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(cases) = std::fs::read_dir(root.join("../../../shared/vectors/gitlab-processing")) else {
        return;
    };
    let differs = include_str!("../../tests/gitlab-processing-differs.tsv");
    let differs: Vec<&str> = differs
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect();
    let mut report = Vec::new();
    for case in cases {
        let path = case.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let wrong = run_case(&std::fs::read_to_string(&path).unwrap());
        match (wrong.is_empty(), differs.contains(&file.as_str())) {
            (false, false) => report.push(format!("{file}\n  {}", wrong.join("\n  "))),
            (true, true) => report.push(format!("{file} passes, take it off the list")),
            _ => {}
        }
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
}
