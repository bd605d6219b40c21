//! The live screen: a line for each running job with its stage and the last thing it said, a line for each finished one.
//!
//! Of a failed job the end of its trace is shown, because that is what its owner looks for, and where the whole is.
//!
//! Only the lines of running jobs are drawn. What stays is written above them as plain lines with their ends, so that a
//! session that is copied or recorded reads as a log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use shipway_runner::{JobStatus, TraceEvent};

use super::{JobEnd, JobLabel, View, describe, span};
use crate::commands::run::summary::Summary;
use crate::screen;
use crate::screen::echo::QuietInterrupt;
use crate::screen::lines::{Lines, without_colours};

/// Lines of a failed job's trace that are shown.
const TAIL: usize = 30;
const TICK: Duration = Duration::from_millis(100);

/// The view for terminals.
pub(super) struct TerminalView {
    quiet: QuietInterrupt<std::io::Stderr>,
    bars: MultiProgress,
    jobs: Mutex<HashMap<u64, LiveJob>>,
}

struct LiveJob {
    bar: ProgressBar,
    lines: Lines,
    tail: VecDeque<String>,
}

impl TerminalView {
    /// Begins to draw on standard error; nothing where nothing can be drawn: that is no terminal, or `TERM` says that its cursor
    /// cannot be moved (`dumb`, or not set).
    pub(super) fn begin() -> Option<Self> {
        let bars = MultiProgress::new();
        if bars.is_hidden() {
            return None;
        }
        screen::live::begin(&bars);
        Some(Self {
            quiet: QuietInterrupt::begin(std::io::stderr()),
            bars,
            jobs: Mutex::default(),
        })
    }
}

impl View for TerminalView {
    fn note(&self, text: &str) {
        screen::whole(&format!("{text}\n"), true);
    }

    fn job_started(&self, job: &JobLabel) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) =
            ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold} {elapsed:>4} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(screen::phrase(&job.name));
        bar.enable_steady_tick(TICK);
        let live = LiveJob {
            bar,
            lines: Lines::default(),
            tail: VecDeque::new(),
        };
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(job.id, live);
    }

    fn job_event(&self, job: &JobLabel, event: TraceEvent<'_>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(LiveJob { bar, lines, tail }) = jobs.get_mut(&job.id) else {
            return;
        };
        match event {
            TraceEvent::StageStarted(stage) => bar.set_message(stage.heading()),
            TraceEvent::StageFinished(_) => {}
            TraceEvent::Output(bytes) => lines.write(bytes, |line| {
                let text = without_colours(&line);
                if !text.trim().is_empty() {
                    bar.set_message(text);
                }
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }),
        }
    }

    fn job_finished(&self, job: &JobLabel, end: &JobEnd<'_>) {
        let live = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&job.id);
        let Some(LiveJob { bar, tail, .. }) = live else {
            return;
        };
        bar.finish_and_clear();
        self.bars.remove(&bar);
        let mark = match end.status {
            JobStatus::Success => screen::green("✓"),
            JobStatus::Failed { .. } if end.allowed => screen::yellow("!"),
            JobStatus::Failed { .. } => screen::red("✗"),
            JobStatus::Canceled => screen::yellow("○"),
        };
        let mut text = format!("{mark} {} {} ({})\n", job.name, describe(end), span(end.duration));
        if matches!(end.status, JobStatus::Failed { .. }) {
            for line in &tail {
                text.push_str(&format!("  │ {line}\u{1b}[0m\n"));
            }
            if let Some(trace) = end.trace {
                text.push_str(&format!("  └ all of it: {}\n", trace.display()));
            }
        }
        screen::whole(&text, true);
    }

    fn give_back(&self) {
        // A line that is still there belongs to a job that never ended.
        let _ = self.bars.clear();
        screen::live::end();
        self.quiet.end();
    }

    fn finished(&self, summary: &Summary) {
        self.give_back();
        for line in summary.lines() {
            screen::line(&line);
        }
    }
}

impl Drop for TerminalView {
    fn drop(&mut self) {
        self.give_back();
    }
}
