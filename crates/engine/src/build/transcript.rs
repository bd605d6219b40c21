//! A build in the words of Docker's classic builder, which scripts read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use shipway_build::{BuildEvents, Step};
use shipway_container::OutputStream;
use shipway_oci::Digest;
use shipway_registry::PullProgress;

use crate::image::Progress;
use crate::name::short;
use crate::reply::StreamWriter;

/// Writes what a build tells into an answer.
pub(super) struct Transcript {
    writer: StreamWriter,
    quiet: bool,
    place: String,
    pulls: Option<Progress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A RUN has begun, and whether it is cached is not known yet.
    pending: bool,
    /// Bytes of a character that is not whole yet, of each output.
    partial: HashMap<OutputStream, Vec<u8>>,
}

impl Transcript {
    /// `place` is what `Running in` names.
    pub(super) fn new(writer: StreamWriter, quiet: bool, place: &str) -> Transcript {
        let pulls = (!quiet).then(|| Progress::pull(writer.clone()));
        Transcript {
            writer,
            quiet,
            place: short(place).to_owned(),
            pulls,
            state: Mutex::default(),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.writer.text(text);
        }
    }

    /// Once for each RUN that is not cached, before its first output.
    fn announce(&self, state: &mut State) {
        if std::mem::take(&mut state.pending) {
            self.say(&format!(" ---> Running in {}\n", self.place));
        }
    }

    pub(super) fn warn(&self, message: &str) {
        self.say(&format!("[Warning] {message}\n"));
    }
}

impl BuildEvents for Transcript {
    fn step_started(&self, step: &Step<'_>) {
        let runs = step
            .text
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("RUN "));
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pending = runs;
        self.say(&format!("Step {}/{} : {}\n", step.index, step.total, step.text));
    }

    fn cached(&self, _step: &Step<'_>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pending = false;
        self.say(" ---> Using cache\n");
    }

    fn output(&self, _step: &Step<'_>, stream: OutputStream, bytes: &[u8]) {
        let text = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.announce(&mut state);
            whole_characters(state.partial.entry(stream).or_default(), bytes)
        };
        if !text.is_empty() {
            self.say(&text);
        }
    }

    fn step_finished(&self, _step: &Step<'_>, id: &Digest) {
        let left: Vec<u8> = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.announce(&mut state);
            state.partial.drain().flat_map(|(_, bytes)| bytes).collect()
        };
        if !left.is_empty() {
            self.say(&String::from_utf8_lossy(&left));
        }
        self.say(&format!(" ---> {}\n", id.short()));
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
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::reply;

    async fn written(quiet: bool, tell: impl FnOnce(&Transcript)) -> Vec<String> {
        let (writer, answer) = reply::channel(reply::JSON);
        let transcript = Transcript::new(writer, quiet, "0123456789abcdef");
        tell(&transcript);
        drop(transcript);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(text.to_vec())
            .unwrap()
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["stream"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    fn step(text: &str) -> Step<'_> {
        Step {
            index: 2,
            total: 3,
            text,
            stage: "0",
            line: 2,
        }
    }

    fn tell(transcript: &Transcript) {
        let (step, id) = (step("RUN make"), Digest::sha256(b""));
        transcript.step_started(&step);
        transcript.output(&step, OutputStream::Stdout, &"ä".as_bytes()[..1]);
        transcript.output(&step, OutputStream::Stdout, &"ä\n".as_bytes()[1..]);
        transcript.output(&step, OutputStream::Stderr, b"\xff");
        transcript.step_finished(&step, &id);
        transcript.step_started(&step);
        transcript.cached(&step);
    }

    #[tokio::test]
    async fn the_words_are_docker_s_and_characters_stay_whole() {
        assert_eq!(
            written(false, tell).await,
            [
                "Step 2/3 : RUN make\n",
                " ---> Running in 0123456789ab\n",
                "ä\n",
                "\u{fffd}",
                " ---> e3b0c44298fc\n",
                "Step 2/3 : RUN make\n",
                " ---> Using cache\n",
            ]
        );
    }

    #[tokio::test]
    async fn a_quiet_build_says_nothing() {
        assert!(written(true, tell).await.is_empty());
    }
}
