//! Keeps a terminal from showing `^C` where the live screen is.
//!
//! The live screen leaves the cursor at the right edge, so that what others print comes on a line of its own. The two
//! columns that the terminal itself prints for Ctrl-C do so as well, unseen by whoever counts the lines to clear, and one
//! of them would stay. Only this one echo is turned off: a process that is killed leaves the terminal as usable as it was.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetpgrp, tcsetattr};

/// A terminal that shows no `^C` until this is ended or dropped.
pub(crate) struct QuietInterrupt<T: AsFd> {
    terminal: T,
    changed: AtomicBool,
}

impl<T: AsFd> QuietInterrupt<T> {
    /// Turns the echo off, if it is on. A terminal that cannot be changed is left as it is: that costs a line on it.
    pub(crate) fn begin(terminal: T) -> Self {
        let changed = AtomicBool::new(set(&terminal, false));
        Self { terminal, changed }
    }

    /// Turns it on again, if it was on.
    pub(crate) fn end(&self) {
        if self.changed.swap(false, Ordering::Relaxed) {
            set(&self.terminal, true);
        }
    }
}

impl<T: AsFd> Drop for QuietInterrupt<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether there was something to change.
fn set(terminal: impl AsFd, shown: bool) -> bool {
    // A process in the background that changes its terminal is stopped.
    if tcgetpgrp(&terminal).is_ok_and(|foreground| foreground != getpgrp()) {
        return false;
    }
    let Ok(mut modes) = tcgetattr(&terminal) else {
        return false;
    };
    if modes.local_modes.contains(LocalModes::ECHOCTL) == shown {
        return false;
    }
    modes.local_modes.set(LocalModes::ECHOCTL, shown);
    tcsetattr(&terminal, OptionalActions::Now, &modes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::QuietInterrupt;
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    #[test]
    fn the_terminal_is_as_before_in_the_end() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let modes = || tcgetattr(&terminal).unwrap().local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ECHOCTL));
        let quiet = QuietInterrupt::begin(&terminal);
        assert_eq!(modes(), before - LocalModes::ECHOCTL);
        drop(quiet);
        assert_eq!(modes(), before);
    }
}
