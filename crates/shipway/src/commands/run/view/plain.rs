//! Lines with the job's name before them, for pipes and logs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use shipway_runner::{JobStatus, TraceEvent};

use super::{JobEnd, JobLabel, View, describe, span};
use crate::commands::run::summary::Summary;
use crate::screen;
use crate::screen::lines::{Lines, without_colours};

/// A longer name is not worth shifting every line of every job.
const WIDEST: usize = 24;

/// The view for pipes.
pub(super) struct PlainView {
    width: usize,
    open: Mutex<HashMap<u64, Lines>>,
}

impl PlainView {
    pub(super) fn new(longest_name: usize) -> Self {
        Self {
            width: longest_name.min(WIDEST),
            open: Mutex::default(),
        }
    }

    fn line(&self, job: &JobLabel, text: &str) {
        screen::line(format!("{:width$} | {text}", job.name, width = self.width).trim_end());
    }
}

impl View for PlainView {
    fn note(&self, text: &str) {
        screen::line(text);
    }

    fn job_started(&self, _: &JobLabel) {}

    fn job_event(&self, job: &JobLabel, event: TraceEvent<'_>) {
        if let TraceEvent::Output(bytes) = event {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.entry(job.id)
                .or_default()
                .write(bytes, |line| self.line(job, &without_colours(&line)));
        }
    }

    fn job_finished(&self, job: &JobLabel, end: &JobEnd<'_>) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&job.id);
        let mut text = format!("{} ({})", describe(end), span(end.duration));
        if let (JobStatus::Failed { .. }, Some(trace)) = (end.status, end.trace) {
            text.push_str(&format!("  trace: {}", trace.display()));
        }
        self.line(job, &text);
    }

    fn finished(&self, summary: &Summary) {
        for line in summary.lines() {
            screen::line(&line);
        }
    }
}
