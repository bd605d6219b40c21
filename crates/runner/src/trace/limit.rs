//! The ceiling on what a job may print.
//!
//! A job that prints for ever must fill neither the disk nor a screen. The job goes on; its output does not.

/// How much a job may print where nothing else is configured, as GitLab's runner has it.
pub const DEFAULT_OUTPUT_LIMIT: u64 = 4 * 1024 * 1024;

/// Counts output up to a ceiling.
#[derive(Debug)]
pub(super) struct OutputLimit {
    ceiling: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// ## Open => Reached when a write passes the ceiling.
    Open { left: u64 },
    /// The notice is out; everything later is dropped.
    Reached,
}

/// What to do with a piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The beginning, then this notice, then nothing ever.
    Last(&'a [u8], String),
    /// Nothing.
    Nothing,
}

impl OutputLimit {
    pub(super) fn new(ceiling: u64) -> Self {
        Self {
            ceiling,
            state: State::Open { left: ceiling },
        }
    }

    pub(super) fn admit<'a>(&mut self, bytes: &'a [u8]) -> Admitted<'a> {
        let State::Open { left } = &mut self.state else {
            return Admitted::Nothing;
        };
        match left.checked_sub(bytes.len() as u64) {
            Some(rest) => {
                *left = rest;
                Admitted::Whole(bytes)
            }
            None => {
                let fits = usize::try_from(*left).unwrap_or(bytes.len()).min(bytes.len());
                self.state = State::Reached;
                Admitted::Last(&bytes[..fits], self.notice())
            }
        }
    }

    fn notice(&self) -> String {
        format!(
            "\n\u{1b}[33;1mJob's log exceeded limit of {} bytes.\nJob execution will continue but no more output will be \
             collected.\u{1b}[0;m\n",
            self.ceiling
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Admitted, OutputLimit};

    #[test]
    fn output_ends_at_the_ceiling_with_one_notice() {
        let mut limit = OutputLimit::new(5);
        assert_eq!(limit.admit(b"abc"), Admitted::Whole(b"abc"));
        let Admitted::Last(fits, notice) = limit.admit(b"defg") else {
            panic!("the ceiling was not noticed")
        };
        assert_eq!(fits, b"de");
        assert!(notice.contains("limit of 5 bytes"));
        assert_eq!(limit.admit(b"h"), Admitted::Nothing);
    }
}
