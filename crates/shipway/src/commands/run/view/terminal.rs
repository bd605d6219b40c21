//! The live screen: a line for each running job with its stage and the last thing it said, a line for each finished one.
//!
//! Of a failed job the end of its trace is shown, because that is what its owner looks for, and where the whole is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use shipway_runner::{JobStatus, TraceEvent};

use super::echo::QuietInterrupt;
use super::{JobEnd, JobLabel, View, describe, span};
use crate::commands::run::lines::{Lines, without_colours};
use crate::commands::run::summary::Summary;
use crate::screen;

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
    pub(super) fn new() -> Self {
        let bars = MultiProgress::new();
        screen::live::begin(&bars);
        Self {
            quiet: QuietInterrupt::begin(std::io::stderr()),
            bars,
            jobs: Mutex::default(),
        }
    }

    fn print(&self, line: &str) {
        // The screen is gone when this fails, and nobody looks.
        let _ = self.bars.println(screen::clean(line, screen::of_others()));
    }
}

impl View for TerminalView {
    fn note(&self, text: &str) {
        self.print(text);
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
        self.print(&format!(
            "{mark} {} {} ({})",
            job.name,
            describe(end),
            span(end.duration)
        ));
        if matches!(end.status, JobStatus::Failed { .. }) {
            for line in &tail {
                self.print(&format!("  │ {line}\u{1b}[0m"));
            }
            if let Some(trace) = end.trace {
                self.print(&format!("  └ all of it: {}", trace.display()));
            }
        }
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
