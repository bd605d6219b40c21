//! Signals as people and images write them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

use std::fmt;
use std::str::FromStr;

const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    // Other names of some.
    ("IOT", 6),
    ("CLD", 17),
    ("POLL", 29),
];
const REAL_TIME: (i32, i32) = (34, 64);

/// A signal number that the kernel knows. The numbers are those of x86-64 and arm64, which agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// A text is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no signal: write a name such as SIGTERM, or a number from 1 to 64")]
pub struct SignalError {
    text: String,
}

impl Signal {
    /// The request to end.
    pub const TERM: Self = Self(15);
    /// The end.
    pub const KILL: Self = Self(9);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(2);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let wrong = || SignalError {
            text: text.chars().take(40).collect(),
        };
        if let Ok(number) = text.parse::<i32>() {
            return if (1..=REAL_TIME.1).contains(&number) {
                Ok(Self(number))
            } else {
                Err(wrong())
            };
        }
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            offset(rest, '+').map(|offset| REAL_TIME.0 + offset)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            offset(rest, '-').map(|offset| REAL_TIME.1 - offset)
        } else {
            None
        };
        number.map(Self).ok_or_else(wrong)
    }
}

fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let offset: u8 = text.strip_prefix(sign)?.parse().ok()?;
    (i32::from(offset) <= REAL_TIME.1 - REAL_TIME.0).then_some(i32::from(offset))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_understood_and_nonsense_is_not() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGRTMIN", 34),
            ("SIGQUIT", 3),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for text in [
            "", "0", "65", "-9", "SIG", "SIGNOPE", "RTMIN-1", "RTMIN+31", "RTMAX-99",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    }
}
