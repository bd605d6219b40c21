//! The signals that ask a verb to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks a verb to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ctrl-C.
    Interrupt,
    /// As `kill` and service managers ask.
    Terminate,
}

impl Asked {
    /// What a shell reports of a process that the signal ended: 128 and its number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Hears them from now on, in place of the process's end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;
    use rustix::process::Signal;

    #[test]
    fn a_signal_is_told_as_shells_tell_it() {
        for (asked, signal) in [(Asked::Interrupt, Signal::INT), (Asked::Terminate, Signal::TERM)] {
            assert_eq!(i32::from(asked.code()), 128 + signal.as_raw());
        }
    }
}
