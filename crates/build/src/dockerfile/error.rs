//! The one error of the Dockerfile passes: it always knows where.
//!
//! A struct, not an enum: nobody acts on the kind of a syntax error, everybody wants to show its place.

use std::fmt;

/// Where an instruction begins, with the text to show a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The last line of the instruction, its heredocs included.
    pub end_line: u32,
    /// The physical line.
    pub source_line: String,
}

impl Location {
    /// Makes the error for this place in `file`.
    pub fn error(&self, file: &str, message: impl Into<String>) -> DockerfileError {
        DockerfileError {
            file: file.to_owned(),
            line: self.line,
            column: self.column,
            message: message.into(),
            source_line: self.source_line.clone(),
        }
    }
}

/// A Dockerfile that cannot be built as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DockerfileError {
    /// Name of the file as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong and what would be right.
    pub message: String,
    /// The physical line that `line` names.
    pub source_line: String,
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.source_line.is_empty() {
            write!(f, "\n  {} | {}", self.line, self.source_line)?;
        }
        Ok(())
    }
}

/// A place in the file before it is worth copying its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// The text of the file, kept for messages.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    pub(crate) name: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

impl SourceText<'_> {
    pub(crate) fn location(&self, at: Position) -> Location {
        let text = (at.line as usize)
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or("");
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        Location {
            line: at.line,
            column: at.column,
            end_line: at.line,
            source_line: shown.trim_end().to_owned(),
        }
    }

    pub(crate) fn error(&self, at: Position, message: impl Into<String>) -> DockerfileError {
        self.location(at).error(self.name, message)
    }
}

/// Minified JSON in a RUN must not fill the screen.
const MAX_SHOWN: usize = 240;
