//! What the rules find: collected, unless the file's author does not want to hear of it.

use super::options::{Options, Skips};
use super::rule::Rule;
use crate::dockerfile::Location;

/// One breach of one rule. BuildKit has a single level for all of them: a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What is wrong here, in one sentence.
    pub detail: String,
    /// The lines of the instruction.
    pub lines: Lines,
}

/// Lines of the file, from 1, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl From<&Location> for Lines {
    fn from(location: &Location) -> Self {
        Self {
            first: location.line,
            last: location.end_line.max(location.line),
        }
    }
}

/// Findings for which what their author may have meant is looked for: that compares with every name, and who has more of them
/// does not read so far.
const MOST_HINTS: usize = 100;

/// Collects findings. Bounded by the file: no rule speaks more often than there are words in it.
pub(super) struct Findings<'a> {
    options: &'a Options,
    found: Vec<Finding>,
    hints: usize,
}

impl<'a> Findings<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            found: Vec::new(),
            hints: 0,
        }
    }

    /// Whose comments may say that a rule is to be silent here.
    pub(super) fn beside(&mut self, comments: &[String]) -> Here<'a, '_> {
        let skips = Skips::of_comments(comments);
        Here { all: self, skips }
    }

    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.found.sort_by_key(|finding| finding.lines.first);
        self.found
    }
}

/// Collects the findings of one instruction.
pub(super) struct Here<'a, 'b> {
    all: &'b mut Findings<'a>,
    skips: Skips,
}

impl Here<'_, '_> {
    /// A hint, if not too many were looked for.
    pub(super) fn hint(&mut self, look: impl FnOnce() -> Option<String>) -> String {
        if self.all.hints == MOST_HINTS {
            return String::new();
        }
        self.all.hints += 1;
        look().unwrap_or_default()
    }

    pub(super) fn add(&mut self, rule: Rule, location: &Location, detail: impl Into<String>) {
        if self.all.options.skips.wants(rule, &self.skips) {
            self.all.found.push(Finding {
                rule,
                detail: detail.into(),
                lines: location.into(),
            });
        }
    }
}
