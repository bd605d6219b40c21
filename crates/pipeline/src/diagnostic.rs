//! What the compiler says to the person who wrote the file.
//!
//! A diagnostic carries the place (file, line, column) and the source line itself, so that whoever shows it needs no
//! access to the file: a server shows it on a page, the command line on a terminal. `Display` is the plain rendering.
//! The number of diagnostics is bounded: past [`LIMIT`] the rest is dropped, because a hostile file can earn one per byte.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Diagnostics kept per compilation; what comes after is counted by nobody.
const LIMIT: usize = 100;

/// Longest source line copied into a diagnostic, in characters.
const SOURCE_LINE_LIMIT: usize = 240;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline runs, but something may not be what its author expects.
    Warning,
    /// There is no pipeline.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One message about one place.
#[derive(Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Whether it stops the pipeline.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The file, as the caller named it.
    pub file: String,
    /// Line, counted from 1; 0 when the message is about the file as a whole.
    pub line: u32,
    /// Column in characters, counted from 1; 0 when the message is about the file as a whole.
    pub column: u32,
    /// The text of that line.
    pub source_line: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.severity, self.message)?;
        if self.line == 0 {
            write!(formatter, "\n  --> {}", self.file)?;
        } else {
            write!(formatter, "\n  --> {}:{}:{}", self.file, self.line, self.column)?;
        }
        if let Some(source) = &self.source_line {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            let offset = (self.column as usize).saturating_sub(1).min(SOURCE_LINE_LIMIT);
            write!(
                formatter,
                "\n{gutter} |\n{number} | {source}\n{gutter} | {}^",
                " ".repeat(offset)
            )?;
        }
        if let Some(help) = &self.help {
            write!(formatter, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

/// Which of the files of one compilation.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct FileId(u16);

/// Where a node begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Span {
    /// The file as a whole.
    pub(crate) fn whole(file: FileId) -> Self {
        Self {
            file,
            line: 0,
            column: 0,
        }
    }
}

struct SourceFile {
    name: String,
    text: Arc<str>,
}

/// The files read so far and what has been said about them.
#[derive(Default)]
pub(crate) struct Reports {
    files: Vec<SourceFile>,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
}

impl Reports {
    /// Registers a file, so that spans into it can be shown.
    pub(crate) fn add_file(&mut self, name: &str, text: Arc<str>) -> FileId {
        let id = FileId(u16::try_from(self.files.len()).unwrap_or(u16::MAX));
        self.files.push(SourceFile {
            name: name.to_owned(),
            text,
        });
        id
    }

    /// The name of the file of a place.
    pub(crate) fn file_name(&self, span: Span) -> &str {
        self.files
            .get(usize::from(span.file.0))
            .map_or("", |file| file.name.as_str())
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Error, span, message.into(), None);
    }

    pub(crate) fn error_with_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, span, message.into(), Some(help.into()));
    }

    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, span, message.into(), help);
    }

    pub(crate) fn error_count(&self) -> usize {
        self.errors
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether further diagnostics would be dropped: loops over foreign data may stop.
    pub(crate) fn is_full(&self) -> bool {
        self.errors >= LIMIT
    }

    /// Everything said, in the order of the files and lines.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        let order: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        self.diagnostics.sort_by_key(|diagnostic| {
            let file = order.iter().position(|name| *name == diagnostic.file);
            (
                std::cmp::Reverse(diagnostic.severity),
                file,
                diagnostic.line,
                diagnostic.column,
            )
        });
        self.diagnostics
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, help: Option<String>) {
        let of_kind = match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.diagnostics.len() - self.errors,
        };
        if of_kind >= LIMIT {
            return;
        }
        let file = self.files.get(usize::from(span.file.0));
        let source_line = file
            .filter(|_| span.line > 0)
            .and_then(|file| file.text.lines().nth(span.line as usize - 1))
            .map(|line| line.chars().take(SOURCE_LINE_LIMIT).map(visible).collect());
        let diagnostic = Diagnostic {
            severity,
            message,
            file: file.map_or_else(String::new, |file| file.name.clone()),
            line: span.line,
            column: span.column,
            source_line,
            help,
        };
        if self.diagnostics.contains(&diagnostic) {
            return;
        }
        if severity == Severity::Error {
            self.errors += 1;
        }
        self.diagnostics.push(diagnostic);
    }
}

/// Control characters would move the caret or drive the terminal.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}
