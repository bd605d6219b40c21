//! How a command ends when it does not end well: what happened, where, what to do, and the exit code that programs read.
//!
//! Kept apart from the commands so that the five codes mean the same everywhere: 0 done, 1 the work failed, 2 wrong use or
//! a wrong file, 3 the place or the configuration cannot do it, 4 internal. A run that a signal ends has the codes of `interrupt`.

use shipway_oci::with_causes;
use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use shipway_container::{MAKE_ROOM, is_disk_full};

use crate::screen::{self, Colours};

/// Why a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// A job, a step or a transfer failed: exit 1.
    Work,
    /// Wrong arguments or a wrong file: exit 2.
    Use,
    /// The place or the configuration cannot do it: exit 3.
    Place,
    /// A bug or a broken store: exit 4.
    Internal,
}

impl FailureKind {
    /// The exit code of this kind.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Work => 1,
            Self::Use => 2,
            Self::Place => 3,
            Self::Internal => 4,
        })
    }
}

/// A command's end with a message for people: the chain of causes, then hints on lines of their own.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// A failure of the given kind.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// A failure whose message is an error with all its causes.
    ///
    /// A full disk is nobody's fault wherever it is met, and what was to be done is done once there is room: exit 1, with what
    /// makes some.
    pub(crate) fn caused(kind: FailureKind, doing: &str, error: &(dyn Error + 'static)) -> Self {
        let message = format!("{doing}: {}", with_causes(error));
        if is_disk_full(error) {
            return Self::new(FailureKind::Work, message).hint(MAKE_ROOM);
        }
        Self::new(kind, message)
    }

    /// What happened.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Prints the failure on standard error and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let message = screen::clean(&self.message, Colours::Dropped);
        let mut text = format!("{} {message}", screen::red("error:"));
        for hint in &self.hints {
            let hint = screen::clean(hint, Colours::Dropped);
            let _ = write!(text, "\n{} {hint}", screen::cyan("hint:"));
        }
        screen::error_line(&text);
        self.kind.code()
    }
}

/// Prints clap's help, version or complaint, which repeats what was typed; complaints end with exit code 2, help with 0.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    screen::whole(&error.render().ansi().to_string(), error.use_stderr());
    if error.use_stderr() {
        FailureKind::Use.code()
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_full_disk_is_a_failure_of_the_work_with_what_to_do() {
        let full = Outer(rustix::io::Errno::NOSPC.into());
        let failure = Failure::caused(FailureKind::Internal, "opening", &full);
        assert_eq!(
            (failure.kind, failure.hints),
            (FailureKind::Work, vec![MAKE_ROOM.to_owned()])
        );
    }
}
