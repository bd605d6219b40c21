//! What a person or a program sees of a running pipeline.
//!
//! Three faces of one trait: a live screen on a terminal, prefixed lines in a pipe and on a terminal whose cursor cannot be
//! moved, JSON lines for programs. They are told the same things in the same order; none of them decides anything.

mod json;
mod plain;
mod terminal;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipway_pipeline::{Diagnostic, Pipeline};
use shipway_runner::{FailureReason, JobStatus, TraceEvent, TraceListener};

use super::summary::Summary;
use crate::screen;

/// A job as the views name it.
#[derive(Debug, Clone)]
pub(super) struct JobLabel {
    /// Its number.
    pub(super) id: u64,
    /// Its name.
    pub(super) name: String,
    /// Its stage.
    pub(super) stage: String,
}

/// Somebody who shows a pipeline.
pub(super) trait View: Send + Sync {
    /// It begins. People know what they started.
    fn started(&self, _pipeline: &Pipeline) {}
    /// Something about the pipeline as a whole.
    fn note(&self, text: &str);
    /// A job starts.
    fn job_started(&self, job: &JobLabel);
    /// Its trace grew.
    fn job_event(&self, job: &JobLabel, event: TraceEvent<'_>);
    /// It is over; whether its failure is allowed, and where its trace is.
    fn job_finished(&self, job: &JobLabel, end: &JobEnd<'_>);
    /// The screen is somebody else's from here on.
    fn give_back(&self) {}
    /// All is over.
    fn finished(&self, summary: &Summary);
}

/// How a job ended, for views.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobEnd<'a> {
    pub(super) status: &'a JobStatus,
    pub(super) allowed: bool,
    pub(super) duration: Duration,
    /// Whether it ran on files that are not exactly those of the commit.
    pub(super) differs: bool,
    /// Where its trace is, if it has one.
    pub(super) trace: Option<&'a Path>,
    /// Why that lacks something, if it could not be written whole.
    pub(super) trace_failure: Option<&'a str>,
}

/// The view that fits where the output goes.
pub(super) fn choose(json: bool, names: impl Iterator<Item = usize>) -> Arc<dyn View> {
    if json {
        return Arc::new(json::JsonView::new());
    }
    let is_watched = std::io::stdout().is_terminal();
    match is_watched.then(terminal::TerminalView::begin).flatten() {
        Some(view) => Arc::new(view),
        None => Arc::new(plain::PlainView::new(names.max().unwrap_or_default())),
    }
}

/// Tells programs what the compiler said, since they get no view of a pipeline that does not exist.
pub(super) fn tell_diagnostics(file: &str, valid: bool, diagnostics: &[Diagnostic]) {
    json::JsonView::new().diagnostics(file, valid, diagnostics);
}

/// Brings the trace of one job to a view.
pub(super) struct JobListener {
    pub(super) view: Arc<dyn View>,
    pub(super) job: JobLabel,
}

impl TraceListener for JobListener {
    fn event(&self, event: TraceEvent<'_>) {
        self.view.job_event(&self.job, event);
    }
}

/// `8.3s`, `2m05s`, `1h02m`.
pub(super) fn span(duration: Duration) -> String {
    let tenths = duration.saturating_add(Duration::from_millis(50)).as_millis() / 100;
    let seconds = tenths / 10;
    match seconds {
        0..60 => format!("{seconds}.{}s", tenths % 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How a job failed, in a few words where the trace ends with all of them.
pub(super) fn brief(status: &JobStatus) -> Option<String> {
    match status {
        JobStatus::Failed {
            reason: FailureReason::ImagePullFailure,
            ..
        } => Some("an image could not be pulled".to_owned()),
        JobStatus::Failed { message, .. } => Some(screen::phrase(message)),
        JobStatus::Success | JobStatus::Canceled => None,
    }
}

/// How a job ended, in words.
pub(super) fn describe(end: &JobEnd<'_>) -> String {
    let mut text = match (brief(end.status), end.status) {
        (Some(failure), _) if end.allowed => format!("failed, which is allowed: {failure}"),
        (Some(failure), _) => format!("failed: {failure}"),
        (None, JobStatus::Canceled) => "canceled".to_owned(),
        (None, _) => "passed".to_owned(),
    };
    if let Some(failure) = end.trace_failure {
        text.push_str("; its trace is not whole: ");
        text.push_str(failure);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{JobEnd, describe, span};
    use shipway_runner::JobStatus;
    use std::time::Duration;

    #[test]
    fn durations_are_for_people() {
        for (milliseconds, text) in [
            (8_340, "8.3s"),
            (59_949, "59.9s"),
            (59_950, "1m00s"),
            (125_000, "2m05s"),
            (3_725_000, "1h02m"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_trace_that_lacks_something_is_said() {
        let end = |trace_failure| JobEnd {
            status: &JobStatus::Success,
            allowed: false,
            duration: Duration::ZERO,
            differs: false,
            trace: None,
            trace_failure,
        };
        assert_eq!(describe(&end(None)), "passed");
        assert_eq!(
            describe(&end(Some("No space left on device"))),
            "passed; its trace is not whole: No space left on device"
        );
    }
}
