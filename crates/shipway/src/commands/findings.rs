//! What the checks of a Dockerfile found, for people and for programs, in the two forms that `docker build --check` has.
//!
//! Apart from the verbs so that `build --check` and `lint` cannot come to say it differently.

use std::fmt::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shipway_build::lint::{Finding, Lines, Report};

use crate::failure::{Failure, FailureKind};
use crate::screen::{self, Colours};

/// A Dockerfile that was checked.
pub(crate) struct CheckedFile<'a> {
    /// Its name as the user knows it.
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) report: &'a Report,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

impl CheckedFile<'_> {
    /// Prints the answer on standard output, and gives exit code 1 if there is anything to mend.
    ///
    /// # Errors
    /// When the file cannot be built at all.
    pub(crate) fn tell(&self, form: Form) -> Result<ExitCode, Failure> {
        match form {
            Form::Json => screen::document(&self.document().to_string()),
            Form::Text => screen::whole(&self.text(), false),
        }
        if let Some(error) = &self.report.error {
            return Err(Failure::new(FailureKind::Use, error.to_string()));
        }
        Ok(match self.report.findings.is_empty() {
            true => ExitCode::SUCCESS,
            false => FailureKind::Work.code(),
        })
    }

    fn text(&self) -> String {
        let findings = &self.report.findings;
        let mut text = match findings.len() {
            0 if self.report.error.is_some() => String::new(),
            0 => "Check complete, no warnings found.\n".to_owned(),
            1 => "Check complete, 1 warning has been found!\n".to_owned(),
            count => format!("Check complete, {count} warnings have been found!\n"),
        };
        for finding in findings {
            let _ = write!(text, "\nWARNING: {}", finding.rule);
            if let Some(url) = finding.rule.url() {
                let _ = write!(text, " - {url}");
            }
            let detail = screen::clean(&finding.detail, Colours::Dropped);
            let _ = write!(text, "\n{detail}\n{}", self.excerpt(finding.lines));
        }
        text
    }

    /// The lines of a finding, with some around them.
    fn excerpt(&self, lines: Lines) -> String {
        const RULE: &str = "--------------------";
        let source = String::from_utf8_lossy(self.bytes);
        let all: Vec<&str> = source.split('\n').collect();
        let marked = lines.first as usize..=(lines.last as usize).min(all.len());
        let shown = surroundings(&marked, all.len());
        let mut text = format!("{}:{}\n{RULE}\n", self.name, lines.first);
        for (number, line) in (1..).zip(&all).filter(|(number, _)| shown.contains(number)) {
            let mark = if marked.contains(&number) { ">>>" } else { "   " };
            let line = screen::clean(line.trim_end_matches('\r'), Colours::Dropped);
            let _ = writeln!(text, " {number:>3} | {mark} {line}");
        }
        let _ = writeln!(text, "{RULE}");
        text
    }

    fn document(&self) -> Value {
        let warnings: Vec<Value> = self.report.findings.iter().map(warning).collect();
        let mut document = json!({
            "warnings": warnings,
            "sources": [{
                "filename": self.name,
                "language": "Dockerfile",
                "data": STANDARD.encode(self.bytes),
            }],
        });
        if let Some(error) = &self.report.error {
            let lines = Lines {
                first: error.line,
                last: error.line,
            };
            document["buildError"] = json!({ "message": error.message, "location": location(lines) });
        }
        document
    }
}

/// Four lines around a single one, two around several, as far as there are any.
fn surroundings(marked: &std::ops::RangeInclusive<usize>, count: usize) -> std::ops::RangeInclusive<usize> {
    let (mut first, mut last) = (*marked.start(), *marked.end());
    let wanted = if first == last { 4 } else { 2 };
    let mut padded = 0;
    while padded < wanted {
        if first > 1 {
            first -= 1;
            padded += 1;
        }
        if last < count {
            last += 1;
            padded += 1;
        }
        // A file may have too few lines on either side.
        padded += 1;
    }
    first..=last
}

fn warning(finding: &Finding) -> Value {
    let mut warning = json!({
        "ruleName": finding.rule.name(),
        "description": finding.rule.description(),
        "detail": finding.detail,
        "location": location(finding.lines),
    });
    if let Some(url) = finding.rule.url() {
        warning["url"] = url.into();
    }
    warning
}

/// A range for each line, as BuildKit has it.
pub(crate) fn location(lines: Lines) -> Value {
    let ranges =
        (lines.first..=lines.last).map(|line| json!({ "start": { "line": line }, "end": { "line": line } }));
    json!({ "ranges": ranges.collect::<Vec<_>>() })
}

/// The lines at the end of a build, told once.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let mut text = match findings.len() {
        1 => screen::yellow("1 warning found:"),
        count => screen::yellow(&format!("{count} warnings found:")),
    };
    for finding in findings {
        let detail = screen::clean(&finding.detail, Colours::Dropped);
        let _ = write!(
            text,
            "\n - {}: {detail} (line {})",
            finding.rule, finding.lines.first
        );
    }
    text
}

#[cfg(test)]
mod tests;
