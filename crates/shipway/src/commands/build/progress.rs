//! What people and programs see of a build: `--progress`, as BuildKit's clients have it.
//!
//! [`Progress`] hears the builder's events and gives each display the same story, told of vertices: one for each step that makes
//! or fetches files, by the name that BuildKit gives it. What steps write has the build's secrets masked before anybody sees it.
//! All of it goes to standard error; standard output has the image's id alone.

mod activity;
mod clip;
mod excerpt;
mod mode;
mod plain;
mod rawjson;
mod tail;
mod transfer;
mod tty;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use shipway_build::lint::Finding;
use shipway_build::{BuildError, BuildEvents, Miss, Step};
use shipway_container::OutputStream;
use shipway_oci::{Descriptor, Digest, with_causes};
use shipway_registry::client::{BlobProgress, PullProgress};
use shipway_runner::Masker;

pub(super) use self::activity::Activity;
use self::clip::Clip;
pub(super) use self::clip::{LogLimit, LogLimits};
use self::excerpt::Excerpt;
pub(super) use self::mode::ProgressMode;
use self::tail::Tail;
pub(crate) use self::transfer::Transfer;
use crate::commands::findings;
use crate::screen::{self, Colours};

/// The name of a step in a build: its index and, of a base's triggers, which.
type Key = (usize, usize);

/// Something that takes its time.
#[derive(Debug, Clone)]
pub(super) struct Vertex {
    key: Key,
    /// As it is shown: `[stage 2/3] RUN make`.
    name: String,
    begun: Instant,
    /// The same for programs.
    began: SystemTime,
}

impl Vertex {
    fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// How a vertex ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End<'a> {
    Done,
    Cached,
    Failed(&'a str),
    Canceled,
}

/// How far something is that a vertex fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Status<'a> {
    id: &'a str,
    current: u64,
    total: u64,
    is_done: bool,
}

/// What shows a build. Calls are quick and come one at a time.
trait Display: Send {
    fn started(&mut self, vertex: &Vertex);
    fn output(&mut self, vertex: &Vertex, stream: OutputStream, bytes: &[u8]);
    fn fetched(&mut self, vertex: &Vertex, status: &Status<'_>);
    fn ended(&mut self, vertex: &Vertex, end: End<'_>);
    /// A line about a step that it does not say itself.
    fn remark(&mut self, vertex: &Vertex, text: &str);
    fn warning(&mut self, text: &str);
    fn note(&mut self, _text: &str) {}
    /// What should be written otherwise in the Dockerfile; told when all steps have ended.
    fn findings(&mut self, _findings: &[Finding]) {}
    /// Nothing more comes.
    fn finish(&mut self) {}
}

/// Shows a build as it goes.
pub(crate) struct Progress {
    mode: ProgressMode,
    state: Mutex<State>,
}

struct State {
    display: Box<dyn Display>,
    masker: Masker,
    limits: LogLimits,
    running: BTreeMap<Key, Running>,
    /// The last that began: whose base images arrive.
    latest: Option<Key>,
    /// The Dockerfile's name and text.
    source: (String, String),
    failure: Option<String>,
    findings: Vec<Finding>,
    /// What began that is no step.
    activities: usize,
}

struct Running {
    vertex: Vertex,
    is_cached: bool,
    /// Of the two streams.
    maskers: [Masker; 2],
    clip: Clip,
    tail: Tail,
}

impl Progress {
    /// A display on standard error that masks these secrets and shows so much of what a step writes.
    pub(super) fn new(mode: ProgressMode, secrets: Vec<Vec<u8>>, limits: LogLimits) -> Self {
        let mode = mode.here();
        let display: Box<dyn Display> = match mode {
            ProgressMode::Quiet => Box::new(Nothing),
            ProgressMode::RawJson => Box::new(rawjson::RawJson),
            ProgressMode::Tty | ProgressMode::Auto => Box::new(tty::Tty::begin()),
            ProgressMode::Plain => Box::new(plain::Plain::new(|text| screen::whole(text, true))),
        };
        Self {
            mode,
            state: Mutex::new(State {
                display,
                masker: Masker::new(secrets),
                limits,
                running: BTreeMap::new(),
                latest: None,
                source: Default::default(),
                failure: None,
                findings: Vec::new(),
                activities: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remark(&self, step: &Step<'_>, text: &str) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(running) = state.running.get(&key(step)) {
            state.display.remark(&running.vertex, &screen::phrase(text));
        }
    }

    /// Drops what the checks said: another build told it.
    pub(super) fn forget_findings(&self) {
        self.state().findings.clear();
    }

    /// Nothing more comes. What still runs was given up; of a step that failed its last lines are shown, and where it stands.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        for mut running in std::mem::take(&mut state.running).into_values() {
            state.flush(&mut running);
            state.display.ended(&running.vertex, End::Canceled);
        }
        let findings = std::mem::take(&mut state.findings);
        state.display.finish();
        if !findings.is_empty() {
            state.display.findings(&findings);
        }
        if let Some(failure) = state.failure.take()
            && self.mode != ProgressMode::RawJson
        {
            screen::whole(&failure, true);
        }
    }
}

impl State {
    /// What a masker still held back, and the end of what was left out.
    fn flush(&mut self, running: &mut Running) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let mut rest = Vec::new();
            running.maskers[stream as usize].finish(&mut rest);
            self.show(running, stream, rest);
            let clipped = running.clip.finish(stream);
            if !clipped.is_empty() {
                self.display.output(&running.vertex, stream, &clipped);
            }
        }
    }

    /// Shows masked bytes of a step as far as its limits allow.
    fn show(&mut self, running: &mut Running, stream: OutputStream, bytes: Vec<u8>) {
        running.tail.write(stream, &bytes);
        let shown = running.clip.take(stream, bytes, running.vertex.age());
        if !shown.is_empty() {
            self.display.output(&running.vertex, stream, &shown);
        }
    }
}

impl BuildEvents for Progress {
    fn dockerfile(&self, name: &str, text: &str) {
        self.state().source = (name.to_owned(), text.to_owned());
    }

    fn step_started(&self, step: &Step<'_>) {
        let Some(name) = vertex_name(step) else { return };
        let vertex = Vertex {
            key: key(step),
            name,
            begun: Instant::now(),
            began: SystemTime::now(),
        };
        let mut state = self.state();
        state.display.started(&vertex);
        state.latest = Some(vertex.key);
        let maskers = [state.masker.clone(), state.masker.clone()];
        let limits = state.limits;
        state.running.insert(
            vertex.key,
            Running {
                tail: Tail::new(&vertex),
                vertex,
                is_cached: false,
                maskers,
                clip: Clip::new(limits),
            },
        );
    }

    fn missed(&self, step: &Step<'_>, why: &Miss) {
        self.remark(step, &format!("not cached: {why}"));
    }

    fn waiting(&self, step: &Step<'_>) {
        self.remark(
            step,
            "another build carries out this step, waiting for its result",
        );
    }

    fn cached(&self, step: &Step<'_>) {
        if let Some(running) = self.state().running.get_mut(&key(step)) {
            running.is_cached = true;
        }
    }

    fn output(&self, step: &Step<'_>, stream: OutputStream, bytes: &[u8]) {
        let mut state = self.state();
        let Some(mut running) = state.running.remove(&key(step)) else {
            return;
        };
        let mut masked = Vec::with_capacity(bytes.len());
        running.maskers[stream as usize].write(bytes, &mut masked);
        state.show(&mut running, stream, masked);
        state.running.insert(key(step), running);
    }

    fn step_finished(&self, step: &Step<'_>, _id: &Digest) {
        let mut state = self.state();
        let Some(mut running) = state.running.remove(&key(step)) else {
            return;
        };
        state.flush(&mut running);
        let end = if running.is_cached { End::Cached } else { End::Done };
        state.display.ended(&running.vertex, end);
    }

    fn step_failed(&self, step: &Step<'_>, error: &BuildError) {
        let mut state = self.state();
        let mut told = String::new();
        if let Some(mut running) = state.running.remove(&key(step)) {
            state.flush(&mut running);
            state
                .display
                .ended(&running.vertex, End::Failed(&sentence(error)));
            told = running.tail.finish(&running.vertex.name);
        }
        let (name, text) = &state.source;
        let excerpt = Excerpt {
            name,
            text,
            lines: step.line..=step.last_line,
        };
        let _ = write!(told, "{excerpt}");
        state.failure.get_or_insert(told);
    }

    fn note(&self, text: &str) {
        self.state().display.note(text);
    }

    fn findings(&self, _dockerfile: &str, findings: &[Finding]) {
        self.state().findings = findings.to_vec();
    }

    fn warning(&self, text: &str) {
        self.state().display.warning(text);
    }

    fn pull_progress(&self) -> &dyn PullProgress {
        self
    }
}

impl PullProgress for Progress {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        let current = match progress {
            BlobProgress::Moving { done } => done,
            BlobProgress::Done => blob.size,
            BlobProgress::Waiting | BlobProgress::Present | BlobProgress::Retrying => return,
        };
        let mut state = self.state();
        let state = &mut *state;
        let latest = state.latest.and_then(|key| state.running.get(&key));
        if let Some(running) = latest {
            let id = blob.digest.to_string();
            let status = Status {
                id: &id,
                current,
                total: blob.size,
                is_done: progress == BlobProgress::Done,
            };
            state.display.fetched(&running.vertex, &status);
        }
    }
}

fn key(step: &Step<'_>) -> Key {
    (step.index, step.trigger)
}

/// As BuildKit calls it; nothing for a step that it does not show.
fn vertex_name(step: &Step<'_>) -> Option<String> {
    let position = step.position?;
    let stage = match step.stages {
        0 | 1 => String::new(),
        _ if step.stage.parse::<usize>().is_ok() => format!("stage-{} ", step.stage),
        _ => format!("{} ", step.stage),
    };
    let width = position.total.max(1).ilog10() as usize + 1;
    let text = match step.base {
        Some(base) => format!("FROM {}", screen::phrase(base)),
        None => screen::phrase(step.text),
    };
    let platform = step
        .platform
        .map(|platform| format!("{platform} "))
        .unwrap_or_default();
    Some(format!(
        "[{platform}{stage}{:>width$}/{}] {text}",
        position.number, position.total
    ))
}

/// Why a step failed, without its place.
fn sentence(error: &BuildError) -> String {
    match error {
        BuildError::Run {
            exit_code, command, ..
        } => {
            format!("process \"{command}\" did not complete successfully: exit code: {exit_code}")
        }
        BuildError::Step { source, .. } => with_causes(source.as_ref()),
        other => with_causes(other),
    }
}

/// Shows nothing.
struct Nothing;

impl Display for Nothing {
    fn started(&mut self, _: &Vertex) {}
    fn output(&mut self, _: &Vertex, _: OutputStream, _: &[u8]) {}
    fn fetched(&mut self, _: &Vertex, _: &Status<'_>) {}
    fn ended(&mut self, _: &Vertex, _: End<'_>) {}
    fn remark(&mut self, _: &Vertex, _: &str) {}
    fn warning(&mut self, _: &str) {}
}

/// A note for people, above whatever is drawn.
fn note(text: &str) {
    let text = screen::clean(text, Colours::Dropped);
    screen::error_line(&format!("{} {text}", screen::cyan("note:")));
}

/// What was found in the Dockerfile, for people.
fn tell_findings(findings: &[Finding]) {
    screen::error_line(&findings::summary(findings));
}

/// Seconds since a vertex began, as BuildKit writes them: three digits at first, fewer later.
fn stamp(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    let digits = match seconds {
        ..10.0 => 3,
        ..100.0 => 2,
        _ => 1,
    };
    format!("{seconds:.digits$}")
}

#[cfg(test)]
mod tests;
