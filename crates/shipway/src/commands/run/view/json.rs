//! A line of JSON for everything that happens, on standard output.
//!
//! Every line is an object with `event`; new members may appear, none changes its meaning.

use serde_json::{Value, json};
use shipway_runner::TraceEvent;

use super::{JobEnd, JobLabel, View};
use crate::commands::run::summary::Summary;
use crate::screen;

/// The view for programs.
pub(super) struct JsonView;

impl JsonView {
    fn tell(event: &str, job: Option<&JobLabel>, mut members: Value) {
        if let Value::Object(object) = &mut members {
            object.insert("event".to_owned(), event.into());
            if let Some(job) = job {
                object.insert("job".to_owned(), job.name.clone().into());
                object.insert("id".to_owned(), job.id.into());
            }
        }
        screen::line(&members.to_string());
    }
}

impl View for JsonView {
    fn note(&self, text: &str) {
        Self::tell("note", None, json!({ "text": text }));
    }

    fn job_started(&self, job: &JobLabel) {
        Self::tell("job_started", Some(job), json!({ "stage": job.stage }));
    }

    fn job_event(&self, job: &JobLabel, event: TraceEvent<'_>) {
        match event {
            TraceEvent::Output(bytes) => {
                Self::tell(
                    "output",
                    Some(job),
                    json!({ "text": String::from_utf8_lossy(bytes) }),
                );
            }
            TraceEvent::StageStarted(section) => {
                Self::tell("section_started", Some(job), json!({ "section": section.name() }));
            }
            TraceEvent::StageFinished(section) => {
                Self::tell(
                    "section_finished",
                    Some(job),
                    json!({ "section": section.name() }),
                );
            }
        }
    }

    fn job_finished(&self, job: &JobLabel, end: &JobEnd<'_>) {
        let mut members = serde_json::to_value(end.status).unwrap_or_else(|_| json!({}));
        if let Value::Object(object) = &mut members {
            object.insert("allowed".to_owned(), end.allowed.into());
            object.insert("differs".to_owned(), end.differs.into());
            object.insert("seconds".to_owned(), end.duration.as_secs_f64().into());
            object.insert("trace".to_owned(), end.trace.display().to_string().into());
        }
        Self::tell("job_finished", Some(job), members);
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
            .map(|job| json!({ "job": job.name, "status": job.status }))
            .collect();
        let members = json!({
            "status": summary.status,
            "seconds": summary.duration.as_secs_f64(),
            "jobs": jobs,
            "images": images,
        });
        Self::tell("pipeline_finished", None, members);
    }
}
