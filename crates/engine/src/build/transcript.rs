//! A build in the words of Docker's classic builder, which scripts read.
//!
//! Independent stages are built at the same time, but told one after the other: what a later step says waits until all
//! before it have ended, as far as the bound on waiting text allows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shipway_build::{BuildEvents, Step};
use shipway_container::OutputStream;
use shipway_oci::Digest;
use shipway_registry::PullProgress;

use crate::image::Progress;
use crate::name::short;
use crate::reply::StreamWriter;

/// Bytes of later steps that wait for earlier ones; what comes on top is left out.
const MOST_WAITING: usize = 16 << 20;

/// Writes what a build tells into an answer.
pub(super) struct Transcript {
    writer: StreamWriter,
    quiet: bool,
    place: String,
    pulls: Option<Progress>,
    state: Mutex<State>,
}

struct State {
    /// The step that is told as it happens; those before it too.
    current: usize,
    steps: BTreeMap<usize, StepState>,
    waiting: usize,
    /// The id after the last step, until it is known what the image itself is called.
    last: Option<Digest>,
}

#[derive(Default)]
struct StepState {
    /// A RUN has begun, and whether it is cached is not known yet.
    pending: bool,
    finished: bool,
    /// Bytes of a character that is not whole yet, of each output.
    partial: HashMap<OutputStream, Vec<u8>>,
    waiting: Vec<String>,
}

impl Transcript {
    /// `place` is what `Running in` names.
    pub(super) fn new(writer: StreamWriter, quiet: bool, place: &str) -> Transcript {
        let pulls = (!quiet).then(|| Progress::pull(writer.clone()));
        let state = State {
            current: 1,
            steps: BTreeMap::new(),
            waiting: 0,
            last: None,
        };
        Transcript {
            writer,
            quiet,
            place: short(place).to_owned(),
            pulls,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, state: &mut State, step: &Step<'_>, text: String) {
        if self.quiet || text.is_empty() {
            return;
        }
        if step.index <= state.current {
            self.writer.text(&text);
        } else if state.waiting < MOST_WAITING {
            state.waiting += text.len();
            state.of(step).waiting.push(text);
        }
    }

    /// Once for each RUN that is not cached, before its first output.
    fn announce(&self, state: &mut State, step: &Step<'_>) {
        if std::mem::take(&mut state.of(step).pending) {
            self.say(state, step, format!(" ---> Running in {}\n", self.place));
        }
    }

    /// Tells what still waits: the build is over, one way or the other. The image is what the last step made, though its
    /// own configuration has more to it than the steps.
    pub(super) fn end(&self, image: Option<&Digest>) {
        let (steps, last) = {
            let mut state = self.state();
            (std::mem::take(&mut state.steps), state.last.take())
        };
        for text in steps.into_values().flat_map(|step| step.waiting) {
            self.writer.text(&text);
        }
        if let Some(last) = last.filter(|_| !self.quiet) {
            self.writer.text(&result(image.unwrap_or(&last)));
        }
    }

    pub(super) fn warn(&self, message: &str) {
        if !self.quiet {
            self.writer.text(&format!("[Warning] {message}\n"));
        }
    }
}

impl State {
    fn of(&mut self, step: &Step<'_>) -> &mut StepState {
        self.steps.entry(step.index).or_default()
    }
}

impl BuildEvents for Transcript {
    fn step_started(&self, step: &Step<'_>) {
        let mut state = self.state();
        // Triggers of a base have the number of its FROM, so that the last number may come again.
        if let Some(id) = state.last.take() {
            self.say(&mut state, step, result(&id));
        }
        state.of(step).pending = step
            .text
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("RUN "));
        self.say(
            &mut state,
            step,
            format!("Step {}/{} : {}\n", step.index, step.total, step.text),
        );
    }

    fn cached(&self, step: &Step<'_>) {
        let mut state = self.state();
        state.of(step).pending = false;
        self.say(&mut state, step, " ---> Using cache\n".to_owned());
    }

    fn output(&self, step: &Step<'_>, stream: OutputStream, bytes: &[u8]) {
        let mut state = self.state();
        self.announce(&mut state, step);
        let text = whole_characters(state.of(step).partial.entry(stream).or_default(), bytes);
        self.say(&mut state, step, text);
    }

    fn step_finished(&self, step: &Step<'_>, id: &Digest) {
        let mut state = self.state();
        self.announce(&mut state, step);
        let left: Vec<u8> = state
            .of(step)
            .partial
            .drain()
            .flat_map(|(_, bytes)| bytes)
            .collect();
        self.say(&mut state, step, String::from_utf8_lossy(&left).into_owned());
        if step.index == step.total {
            state.last = Some(id.clone());
        } else {
            self.say(&mut state, step, result(id));
        }
        state.of(step).finished = true;
        let mut current = state.current;
        while state.steps.get(&current).is_some_and(|step| step.finished) {
            current += 1;
            let waiting = state
                .steps
                .get_mut(&current)
                .map(|step| std::mem::take(&mut step.waiting));
            for text in waiting.unwrap_or_default() {
                state.waiting = state.waiting.saturating_sub(text.len());
                self.writer.text(&text);
            }
        }
        state.current = current;
    }

    fn warning(&self, message: &str) {
        self.warn(message);
    }

    fn pull_progress(&self) -> &dyn PullProgress {
        match &self.pulls {
            Some(progress) => progress,
            None => &(),
        }
    }
}

fn result(id: &Digest) -> String {
    format!(" ---> {}\n", id.short())
}

/// The text so far; what may be the beginning of a character waits for the rest.
fn whole_characters(partial: &mut Vec<u8>, bytes: &[u8]) -> String {
    partial.extend_from_slice(bytes);
    let end = match std::str::from_utf8(partial) {
        Ok(_) => partial.len(),
        // An error without a length is an end that came too early.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => partial.len(),
    };
    let whole: Vec<u8> = partial.drain(..end).collect();
    String::from_utf8_lossy(&whole).into_owned()
}

#[cfg(test)]
mod tests;
