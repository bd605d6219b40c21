//! What a job hears of its services while it runs: that one ended, with its log, and all that they print where
//! `CI_DEBUG_SERVICES` asks for it.
//!
//! Apart from the health check, which is over when the script starts and knows nothing of images that expose no port.

use crate::Trace;
use shipway_container::{Container, ContainerState};
use shipway_sandbox::ExitStatus;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How much of a service's log the trace shows when something is wrong with it.
const LOG_BYTES: usize = 16 * 1024;
/// A line that is longer is shown in pieces.
const LONGEST_LINE: usize = 16 * 1024;
/// How long the end of a job waits for the last words about a service that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the trace has of a service's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing, unless something is wrong.
    WhenWrong,
    /// All of it as it comes, each line after the service's names.
    Always {
        /// `[service:postgres-db]`, as GitLab's runner writes it.
        label: String,
    },
}

impl Shown {
    /// What `CI_DEBUG_SERVICES` says, for a service of these names.
    pub(super) fn new(debug: bool, names: &[String]) -> Self {
        if debug {
            let label = format!("[service:{}]", names.join("-"));
            Self::Always { label }
        } else {
            Self::WhenWrong
        }
    }
}

/// Follows one service until it ends or this is dropped.
pub(super) struct Watch(Vec<JoinHandle<()>>);

impl Watch {
    /// Puts its output into the trace, if it is wanted there.
    pub(super) fn new(container: &Container, shown: &Shown, trace: &Trace) -> Self {
        let Shown::Always { label } = shown else {
            return Self(Vec::new());
        };
        Self(vec![tokio::spawn(follow(
            container.clone(),
            label.clone(),
            trace.clone(),
        ))])
    }

    /// From now on the end of the service is said.
    pub(super) fn tell_its_end(&mut self, image: String, container: &Container, shown: Shown, trace: &Trace) {
        let (container, trace) = (container.clone(), trace.clone());
        self.0.push(tokio::spawn(async move {
            let status = container.wait().await;
            // Not its own doing: the pod was lost or ended for what the job took, which the job's end says.
            if matches!(container.state(), ContainerState::Exited { error: Some(_), .. }) {
                return;
            }
            tell(&image, &container, &shown, &describe(status), &trace).await;
        }));
    }

    /// Has what is to be said of a service that has ended said before the job ends. Afterwards nothing is: what ends
    /// then, the job ended.
    pub(super) async fn close(mut self, container: &Container) {
        let over = matches!(container.state(), ContainerState::Exited { .. });
        for task in self.0.iter_mut().filter(|_| over) {
            // Who cannot finish in time is cut short.
            let _ = timeout(LAST_WORDS, task).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// `ended with exit code 1`, `was killed by signal 9`.
pub(super) fn describe(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("ended with exit code {code}"),
        ExitStatus::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

/// Warns of a service, with its log where the trace does not have it anyway.
pub(super) async fn tell(image: &str, container: &Container, shown: &Shown, problem: &str, trace: &Trace) {
    let warning = format!("the service {image} {problem}; the job goes on");
    match shown {
        Shown::Always { .. } => trace.warn(format!("{warning}.")),
        Shown::WhenWrong => {
            let log = log(container).await;
            if log.is_empty() {
                trace.warn(format!("{warning}. Its log is empty."));
            } else {
                trace.warn(format!("{warning}. Its log:"));
                trace.output(&log);
            }
        }
    }
}

async fn log(container: &Container) -> Vec<u8> {
    let mut log = Vec::new();
    let mut output = container.logs(false);
    // A log that cannot be read any further is shown as far as it goes.
    while let Ok(Some(chunk)) = output.chunk().await {
        log.extend_from_slice(&chunk.bytes);
        // Only the end is shown, however much a service has said.
        if log.len() > 2 * LOG_BYTES {
            log.drain(..log.len() - LOG_BYTES);
        }
    }
    let from = log.len().saturating_sub(LOG_BYTES);
    log.split_off(from)
}

async fn follow(container: Container, label: String, trace: Trace) {
    let mut output = container.logs(true);
    let mut lines = Lines {
        label,
        rest: Vec::new(),
    };
    while let Ok(Some(chunk)) = output.chunk().await {
        trace.output(&lines.push(&chunk.bytes));
    }
    trace.output(&lines.finish());
}

/// Cuts output into lines, each with its label.
struct Lines {
    label: String,
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that are whole with these bytes.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut labelled = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.ends_with(b"\n") || self.rest.len() >= LONGEST_LINE {
                labelled.append(&mut self.finish());
            }
        }
        labelled
    }

    /// What is left, as a line.
    fn finish(&mut self) -> Vec<u8> {
        if self.rest.is_empty() {
            return Vec::new();
        }
        let line = self.rest.strip_suffix(b"\n").unwrap_or(&self.rest);
        let labelled = [b"\x1b[0;90m", self.label.as_bytes(), b" ", line, b"\x1b[0;m\n"].concat();
        self.rest.clear();
        labelled
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, Lines};

    #[test]
    fn every_line_has_its_label_wherever_the_output_was_cut() {
        let mut lines = Lines {
            label: "[service:db]".to_owned(),
            rest: Vec::new(),
        };
        let said = [&b"on"[..], b"e\ntwo\n\nthr", b"ee"].map(|bytes| lines.push(bytes));
        let said = [said.concat(), lines.finish(), lines.finish()].concat();
        let line = |text: &str| format!("\u{1b}[0;90m[service:db] {text}\u{1b}[0;m\n");
        let expected = ["one", "two", "", "three"].map(line).concat();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
        let endless = lines.push(&vec![b'x'; LONGEST_LINE]);
        assert!(endless.len() > LONGEST_LINE && lines.rest.is_empty());
    }
}
