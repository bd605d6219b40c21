//! Each event in its own line: moments, whole text, findings with places.

use super::{JsonView, moment};
use crate::commands::run::summary::{JobLine, Summary};
use crate::commands::run::view::{JobEnd, JobLabel, View};
use serde_json::{Value, json};
use shipway_pipeline::schedule::Status;
use shipway_pipeline::{Options, PipelineFacts, Situation, compile};
use shipway_runner::{JobStatus, Stage, TraceEvent};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a view printed, without the times, which every line must have.
fn told(speak: impl FnOnce(&JsonView)) -> Vec<Value> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let view = JsonView::to(Box::new(move |line| sink.lock().unwrap().push(line.to_owned())));
    speak(&view);
    let lines = lines.lock().unwrap();
    lines
        .iter()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let time = value.as_object_mut().unwrap().remove("time").unwrap();
            OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).unwrap();
            value
        })
        .collect()
}

#[test]
fn a_moment_is_in_milliseconds() {
    let time = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap();
    assert_eq!(moment(time).unwrap(), "2023-11-14T22:13:20.123Z");
}

#[test]
fn text_has_whole_lines_without_markers_and_colours() {
    let job = JobLabel {
        id: 7,
        name: "test".into(),
        stage: "test".into(),
    };
    let seen = told(|view| {
        view.job_event(&job, TraceEvent::StageStarted(Stage::StepScript));
        for bytes in [
            "section_start:1:step_script\r\u{1b}[0K\u{1b}[36;1mExecu",
            "ting\u{1b}[0;m\na\tb\n",
            "section_end:2:step_script\r\u{1b}[0K\n",
        ] {
            view.job_event(&job, TraceEvent::Output(bytes.as_bytes()));
        }
    });
    assert_eq!(
        seen,
        [
            json!({"event": "section_started", "job": "test", "id": 7, "section": "step_script"}),
            json!({"event": "output", "job": "test", "id": 7, "text": "Executing\na\tb\n"}),
        ]
    );
}

#[test]
fn a_pipeline_says_what_it_is_and_what_became_of_it() {
    let file = b"soft: {script: x, allow_failure: true}\nnext: {script: x, stage: deploy}".to_vec();
    let files = BTreeMap::from([("ci.yml".to_owned(), file)]);
    let mut situation = Situation {
        ref_name: "main".into(),
        pipeline: PipelineFacts {
            id: 12,
            ..PipelineFacts::default()
        },
        ..Situation::default()
    };
    situation.commit.sha = "0123".into();
    let compiled = compile(&files, "ci.yml", &situation, Options::default()).unwrap();
    let summary = Summary {
        status: Status::Success,
        duration: Duration::from_secs(2),
        jobs: vec![JobLine {
            name: "soft".into(),
            status: Status::Failed,
            allowed_failure: true,
            failure: Some("exit code 1".into()),
            trace: Some("/t/1-soft.log".into()),
        }],
        images: Vec::new(),
    };
    let seen = told(|view| {
        view.started(&compiled.pipeline);
        view.finished(&summary);
    });
    assert_eq!(
        seen,
        [
            json!({
                "event": "pipeline_started", "number": 12, "ref": "main", "sha": "0123",
                "jobs": [{"job": "soft", "stage": "test"}, {"job": "next", "stage": "deploy"}],
            }),
            json!({
                "event": "pipeline_finished", "status": "success", "warnings": true, "seconds": 2.0,
                "jobs": [{
                    "job": "soft", "status": "failed", "allowed_failure": true, "trace": "/t/1-soft.log",
                }],
                "images": [],
            }),
        ]
    );
}

#[test]
fn an_end_says_how_where_and_what_was_lost() {
    let job = JobLabel {
        id: 7,
        name: "test".into(),
        stage: "test".into(),
    };
    let end = JobEnd {
        status: &JobStatus::Success,
        allowed: false,
        duration: Duration::from_secs(3),
        differs: true,
        trace: Some(Path::new("/t/7-test.log")),
        trace_failure: Some("No space left on device"),
    };
    assert_eq!(
        told(|view| view.job_finished(&job, &end)),
        [json!({
            "event": "job_finished", "job": "test", "id": 7, "status": "success", "allowed": false, "differs": true,
            "seconds": 3.0, "trace": "/t/7-test.log", "trace_failure": "No space left on device",
        })]
    );
}

#[test]
fn a_wrong_file_is_told_with_its_places() {
    let files = BTreeMap::from([("ci.yml".to_owned(), b"job: {scirpt: x}".to_vec())]);
    let found = compile(&files, "ci.yml", &Situation::default(), Options::default()).unwrap_err();
    let seen = told(|view| view.diagnostics("ci.yml", false, &found));
    let [line] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        (&line["event"], &line["valid"]),
        (&json!("diagnostics"), &json!(false))
    );
    let first = &line["diagnostics"][0];
    assert_eq!(
        (&first["severity"], &first["line"]),
        (&json!("error"), &json!(1)),
        "{line}"
    );
}
