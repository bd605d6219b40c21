//! The lines of a Dockerfile around one that failed, as BuildKit's clients show them.

use std::fmt;
use std::ops::RangeInclusive;

use crate::screen::{Colours, clean};

/// Lines above and below the ones that are meant.
const AROUND: u32 = 2;
/// An instruction with more lines is cut.
const MOST: u32 = 20;
/// Letters of one line.
const WIDEST: usize = 200;

/// A part of a Dockerfile with marks.
pub(super) struct Excerpt<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// The lines that are meant, from 1.
    pub(super) lines: RangeInclusive<u32>,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (*self.lines.start(), *self.lines.end());
        let last = last.min(first.saturating_add(MOST));
        let from = first.saturating_sub(AROUND).max(1);
        let shown = (1..).zip(self.text.lines()).filter(|(number, _)| {
            let number: u32 = *number;
            (from..=last.saturating_add(AROUND)).contains(&number)
        });
        let mut shown = shown.peekable();
        if shown.peek().is_none() {
            return Ok(());
        }
        writeln!(f, "{}:{first}\n--------------------", self.name)?;
        for (number, line) in shown {
            let mark = if (first..=last).contains(&number) {
                ">>>"
            } else {
                "   "
            };
            let line: String = clean(line, Colours::Dropped).chars().take(WIDEST).collect();
            writeln!(f, "{number:4} | {mark} {line}")?;
        }
        writeln!(f, "--------------------")
    }
}
