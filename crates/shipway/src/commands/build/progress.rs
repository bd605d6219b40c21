//! What people see of a build and of transfers: a line for each step, the output of the steps, a line for each blob.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use shipway_build::{BuildEvents, Step};
use shipway_container::OutputStream;
use shipway_oci::{Descriptor, Digest};
use shipway_registry::client::{BlobProgress, PullProgress, PushProgress};

use crate::screen::{self, Cleaner, Colours};

/// Prints a build as it goes, on standard error; the image's id alone goes to standard output.
pub(crate) struct Progress {
    quiet: bool,
    started: Mutex<Instant>,
    /// Of the step's two streams.
    cleaners: Mutex<[Cleaner; 2]>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            started: Mutex::new(Instant::now()),
            cleaners: Mutex::new(cleaners()),
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            screen::error_line(text);
        }
    }
}

impl BuildEvents for Progress {
    fn step_started(&self, step: &Step<'_>) {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        *self.cleaners.lock().unwrap_or_else(PoisonError::into_inner) = cleaners();
        self.say(&format!(
            "{} {}",
            screen::cyan(&format!("[{}/{}]", step.index, step.total)),
            screen::clean(step.text, Colours::Dropped)
        ));
    }

    fn cached(&self, _step: &Step<'_>) {
        self.say("      cached");
    }

    fn output(&self, _step: &Step<'_>, stream: OutputStream, bytes: &[u8]) {
        if self.quiet {
            return;
        }
        let mut cleaners = self.cleaners.lock().unwrap_or_else(PoisonError::into_inner);
        screen::error_output(&mut cleaners[stream as usize], bytes);
    }

    fn step_finished(&self, _step: &Step<'_>, _id: &Digest) {
        let elapsed = self
            .started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        self.say(&format!("      {:.2} s", elapsed.as_secs_f64()));
    }

    fn warning(&self, text: &str) {
        let text = screen::clean(text, Colours::Dropped);
        self.say(&format!("{} {text}", screen::yellow("warning:")));
    }
}

fn cleaners() -> [Cleaner; 2] {
    [screen::output_cleaner(), screen::output_cleaner()]
}

/// Prints a line for each blob that was moved.
pub(crate) struct Transfer {
    quiet: bool,
}

impl Transfer {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        let word = match progress {
            BlobProgress::Done if !self.quiet => "moved",
            BlobProgress::Present if !self.quiet => "already there",
            _ => return,
        };
        screen::error_line(&format!(
            "{}  {:>9}  {word}",
            blob.digest.short(),
            screen::size(blob.size)
        ));
    }
}

impl PullProgress for Transfer {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.blob(blob, progress);
    }
}

impl PushProgress for Transfer {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.blob(blob, progress);
    }
}
