//! A line of JSON for everything that happens, on standard output.
//!
//! Every line is an object with `event` and `time`; new members may appear, none changes its meaning. The text of a
//! trace is given in whole lines without markers and colours: what they say to a viewer, other events say to programs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use shipway_pipeline::{Diagnostic, Pipeline};
use shipway_runner::TraceEvent;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{JobEnd, JobLabel, View};
use crate::commands::run::summary::Summary;
use crate::screen;
use crate::screen::lines::{Lines, without_colours};

/// Where the lines go.
type Output = Box<dyn Fn(&str) + Send + Sync>;

/// The view for programs.
pub(super) struct JsonView {
    open: Mutex<HashMap<u64, Lines>>,
    output: Output,
}

impl JsonView {
    /// On standard output.
    pub(super) fn new() -> Self {
        Self::to(Box::new(screen::document))
    }

    fn to(output: Output) -> Self {
        Self {
            open: Mutex::default(),
            output,
        }
    }

    /// What the compiler said about a file.
    pub(super) fn diagnostics(&self, file: &str, valid: bool, diagnostics: &[Diagnostic]) {
        let members = json!({ "file": file, "valid": valid, "diagnostics": diagnostics });
        self.tell("diagnostics", None, members);
    }

    fn tell(&self, event: &str, job: Option<&JobLabel>, mut members: Value) {
        if let Value::Object(object) = &mut members {
            object.insert("event".to_owned(), event.into());
            object.insert("time".to_owned(), moment(OffsetDateTime::now_utc()).into());
            if let Some(job) = job {
                object.insert("job".to_owned(), job.name.clone().into());
                object.insert("id".to_owned(), job.id.into());
            }
        }
        (self.output)(&members.to_string());
    }

    /// The lines that these bytes complete, each with its end.
    fn completed(&self, job: &JobLabel, bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = open.entry(job.id).or_insert_with(Lines::with_tabs);
        lines.write(bytes, |line| {
            text.push_str(&without_colours(&line));
            text.push('\n');
        });
        text
    }
}

impl View for JsonView {
    fn started(&self, pipeline: &Pipeline) {
        let jobs: Vec<Value> = pipeline
            .jobs
            .iter()
            .map(|job| json!({ "job": job.name.as_str(), "stage": job.stage.as_str() }))
            .collect();
        let situation = &pipeline.situation;
        let members = json!({
            "number": situation.pipeline.id,
            "ref": situation.ref_name,
            "sha": situation.commit.sha,
            "jobs": jobs,
        });
        self.tell("pipeline_started", None, members);
    }

    fn note(&self, text: &str) {
        self.tell("note", None, json!({ "text": text }));
    }

    fn job_started(&self, job: &JobLabel) {
        self.tell("job_started", Some(job), json!({ "stage": job.stage }));
    }

    fn job_event(&self, job: &JobLabel, event: TraceEvent<'_>) {
        match event {
            TraceEvent::Output(bytes) => {
                let text = self.completed(job, bytes);
                if !text.is_empty() {
                    self.tell("output", Some(job), json!({ "text": text }));
                }
            }
            TraceEvent::StageStarted(section) => {
                self.tell("section_started", Some(job), json!({ "section": section.name() }));
            }
            TraceEvent::StageFinished(section) => {
                self.tell(
                    "section_finished",
                    Some(job),
                    json!({ "section": section.name() }),
                );
            }
        }
    }

    fn job_finished(&self, job: &JobLabel, end: &JobEnd<'_>) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&job.id);
        let mut members = serde_json::to_value(end.status).unwrap_or_else(|_| json!({}));
        if let Value::Object(object) = &mut members {
            object.insert("allowed".to_owned(), end.allowed.into());
            object.insert("differs".to_owned(), end.differs.into());
            object.insert("seconds".to_owned(), end.duration.as_secs_f64().into());
            object.insert(
                "trace".to_owned(),
                end.trace.map(|path| path.display().to_string()).into(),
            );
            object.insert("trace_failure".to_owned(), end.trace_failure.into());
        }
        self.tell("job_finished", Some(job), members);
    }

    fn finished(&self, summary: &Summary) {
        let images: Vec<Value> = summary
            .images
            .iter()
            .map(|image| json!({ "name": image.name, "digest": image.digest, "outside": image.outside }))
            .collect();
        let jobs: Vec<Value> = summary
            .jobs
            .iter()
            .map(|job| {
                json!({
                    "job": job.name,
                    "status": job.status,
                    "allowed_failure": job.allowed_failure,
                    "trace": job.trace.as_ref().map(|path| path.display().to_string()),
                })
            })
            .collect();
        let members = json!({
            "status": summary.status,
            "warnings": summary.has_warnings(),
            "seconds": summary.duration.as_secs_f64(),
            "jobs": jobs,
            "images": images,
        });
        self.tell("pipeline_finished", None, members);
    }
}

/// To the millisecond.
fn moment(now: OffsetDateTime) -> Option<String> {
    let milliseconds = now.nanosecond() / 1_000_000;
    let now = now.replace_nanosecond(milliseconds * 1_000_000).ok()?;
    now.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests;
