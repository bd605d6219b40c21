//! The one door to a job's trace.

use super::limit::{Admitted, OutputLimit};
use super::section::{Stage, end_marker, start_marker};
use super::{DEFAULT_OUTPUT_LIMIT, Masker};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a listener is told, in the order in which it happened.
#[derive(Clone, Copy, Debug)]
pub enum TraceEvent<'a> {
    /// Bytes of the trace, masked. Not cut at lines.
    Output(&'a [u8]),
    /// A stage began.
    StageStarted(Stage),
    /// A stage ended.
    StageFinished(Stage),
}

/// Somebody who follows a trace while it grows. Called under the trace's lock: be quick.
pub trait TraceListener: Send + Sync {
    /// Something was added.
    fn event(&self, event: TraceEvent<'_>);
}

/// A job's trace. Cheap to clone; all clones write one stream.
#[derive(Clone)]
pub struct Trace {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    masker: Masker,
    limit: OutputLimit,
    file: Box<dyn Write + Send>,
    failure: Option<io::Error>,
    listeners: Vec<Arc<dyn TraceListener>>,
    scratch: Vec<u8>,
    at_line_start: bool,
}

impl Trace {
    /// A trace that is written to `file` and told to `listeners`.
    pub fn new(file: impl Write + Send + 'static, listeners: Vec<Arc<dyn TraceListener>>) -> Self {
        let inner = Inner {
            masker: Masker::default(),
            limit: OutputLimit::new(DEFAULT_OUTPUT_LIMIT),
            file: Box::new(file),
            failure: None,
            listeners,
            scratch: Vec::new(),
            at_line_start: true,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// From here on, these values appear as `[MASKED]`.
    pub fn mask<S: Into<Vec<u8>>>(&self, secrets: impl IntoIterator<Item = S>) {
        self.with(|inner| {
            inner.flush();
            inner.masker = Masker::new(secrets);
        });
    }

    /// From here on, the job may print this many bytes.
    pub fn limit(&self, bytes: u64) {
        self.with(|inner| inner.limit = OutputLimit::new(bytes));
    }

    /// Output of the job: counted against the limit.
    pub fn output(&self, bytes: &[u8]) {
        self.with(|inner| match inner.limit.admit(bytes) {
            Admitted::Whole(bytes) => inner.write(bytes),
            Admitted::Last(bytes, notice) => {
                inner.write(bytes);
                inner.write(notice.as_bytes());
            }
            Admitted::Nothing => {}
        });
    }

    /// A line of the runner's own.
    pub fn say(&self, line: impl AsRef<str>) {
        self.line("", line.as_ref());
    }

    /// A line about something that is as it should be.
    pub fn good(&self, line: impl AsRef<str>) {
        self.line("\u{1b}[32;1m", line.as_ref());
    }

    /// A line about something the reader should know before trusting the result.
    pub fn warn(&self, line: impl AsRef<str>) {
        self.line("\u{1b}[0;33m", &format!("WARNING: {}", line.as_ref()));
    }

    /// A line about what went wrong.
    pub fn error(&self, line: impl AsRef<str>) {
        self.line("\u{1b}[31;1m", &format!("ERROR: {}", line.as_ref()));
    }

    /// Opens a section.
    pub fn begin(&self, stage: Stage) {
        self.with(|inner| {
            inner.end_line();
            inner.tell(TraceEvent::StageStarted(stage));
            inner.write(start_marker(stage, unix_now()).as_bytes());
        });
    }

    /// Closes a section.
    pub fn end(&self, stage: Stage) {
        self.with(|inner| {
            inner.end_line();
            inner.write(end_marker(stage, unix_now()).as_bytes());
            inner.flush();
            inner.tell(TraceEvent::StageFinished(stage));
        });
    }

    /// Writes what was held back.
    ///
    /// # Errors
    /// The first failure of the file since the trace began.
    pub fn finish(&self) -> io::Result<()> {
        self.with(|inner| {
            inner.end_line();
            inner.flush();
            let flushed = inner.file.flush();
            inner.failure.take().map_or(flushed, Err)
        })
    }

    fn line(&self, colour: &str, line: &str) {
        self.with(|inner| {
            inner.end_line();
            let reset = if colour.is_empty() { "" } else { "\u{1b}[0;m" };
            inner.write(format!("{colour}{line}{reset}\n").as_bytes());
        });
    }

    fn with<T>(&self, action: impl FnOnce(&mut Inner) -> T) -> T {
        action(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
        let mut out = std::mem::take(&mut self.scratch);
        self.masker.write(bytes, &mut out);
        self.deliver(out);
    }

    /// A runner's line never continues a line that the job left open.
    fn end_line(&mut self) {
        if !self.at_line_start {
            self.write(b"\n");
        }
    }

    fn flush(&mut self) {
        let mut out = std::mem::take(&mut self.scratch);
        self.masker.finish(&mut out);
        self.deliver(out);
    }

    fn deliver(&mut self, mut out: Vec<u8>) {
        if !out.is_empty() {
            if let Err(error) = self.file.write_all(&out) {
                self.failure.get_or_insert(error);
            }
            self.tell(TraceEvent::Output(&out));
        }
        out.clear();
        self.scratch = out;
    }

    fn tell(&self, event: TraceEvent<'_>) {
        for listener in &self.listeners {
            listener.event(event);
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{Stage, Trace, TraceEvent, TraceListener};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl TraceListener for Heard {
        fn event(&self, event: TraceEvent<'_>) {
            let text = match event {
                TraceEvent::Output(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                TraceEvent::StageStarted(stage) => format!("<{stage}>"),
                TraceEvent::StageFinished(stage) => format!("</{stage}>"),
            };
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn sections_stay_in_order_and_lines_stay_whole() {
        let heard = Arc::new(Heard::default());
        let trace = Trace::new(std::io::sink(), vec![heard.clone()]);
        trace.mask(["swordfish"]);
        trace.begin(Stage::StepScript);
        trace.output(b"the password is sword");
        trace.output(b"fish and no newline");
        trace.warn("careful");
        trace.end(Stage::StepScript);
        trace.finish().unwrap();
        let all = heard.0.lock().unwrap().concat();
        assert!(all.starts_with("<step_script>section_start:"), "{all}");
        assert!(
            all.contains("the password is [MASKED] and no newline\n\u{1b}[0;33mWARNING: careful"),
            "{all}"
        );
        assert!(all.ends_with("</step_script>"), "{all}");
    }

    #[test]
    fn the_limit_silences_the_job_but_not_the_runner() {
        let heard = Arc::new(Heard::default());
        let trace = Trace::new(std::io::sink(), vec![heard.clone()]);
        trace.limit(4);
        trace.output(b"123456");
        trace.output(b"789");
        trace.error("Job failed: exit code 1");
        let all = heard.0.lock().unwrap().concat();
        assert!(
            all.contains("1234\n") && !all.contains('5') && !all.contains('9'),
            "{all}"
        );
        assert!(all.contains("Job failed"), "{all}");
    }
}
