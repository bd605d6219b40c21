//! What is to be said about a configuration, each with its place in the file.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something is done in another way than the file may suggest.
    Note,
    /// Something of the file has no effect.
    Warning,
    /// The file is of no use, or the section of the runner that it is found in.
    Error,
}

/// One thing to be said: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its weight.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// One line.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Where a text begins in its file: lines before it, and characters before each of its own lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) lines: usize,
    pub(super) columns: usize,
}

/// Findings while a file is read.
pub(super) struct Findings {
    file: PathBuf,
    origin: Origin,
    /// Where each line begins.
    lines: Vec<usize>,
    text: String,
    list: RefCell<Vec<(usize, Finding)>>,
}

impl Findings {
    pub(super) fn new(file: &Path, text: &str, origin: Origin) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            file: file.to_owned(),
            origin,
            lines,
            text: text.to_owned(),
            list: RefCell::default(),
        }
    }

    /// A finding that is not kept here.
    pub(super) fn make(
        &self,
        severity: Severity,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Finding {
        let line = self.lines.partition_point(|begin| *begin <= span.start).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(begin..span.start).unwrap_or_default();
        Finding {
            severity,
            place: Place {
                file: self.file.clone(),
                line: self.origin.lines + line,
                column: self.origin.columns + before.chars().count() + 1,
            },
            message: message.into(),
        }
    }

    pub(super) fn add(&self, severity: Severity, span: &Range<usize>, message: impl Into<String>) {
        let finding = self.make(severity, span, message);
        self.list.borrow_mut().push((span.start, finding));
    }

    /// What the file has in a place.
    pub(super) fn text_at(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// How many there are by now.
    pub(super) fn count(&self) -> usize {
        self.list.borrow().len()
    }

    /// The error that stands first in the file, of those that were found after so many findings.
    pub(super) fn first_error_after(&self, count: usize) -> Option<Finding> {
        let list = self.list.borrow();
        let errors = list
            .iter()
            .skip(count)
            .filter(|(_, finding)| finding.severity == Severity::Error);
        errors
            .min_by_key(|(at, _)| *at)
            .map(|(_, finding)| finding.clone())
    }

    /// The findings in the order of the file.
    pub(super) fn into_inner(self) -> Vec<Finding> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|(at, _)| *at);
        list.into_iter().map(|(_, finding)| finding).collect()
    }
}
