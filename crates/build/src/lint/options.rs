//! `skip=…;error=…;experimental=…`: which rules speak, and whether they fail the build.
//!
//! Said by the directive `# check=` at the top of the file, by a build argument that takes its place, and for one
//! instruction by a comment above it, which only adds.

use std::collections::{BTreeMap, BTreeSet};

use super::CHECK_ARGUMENT;
use super::rule::Rule;
use crate::dockerfile::{Dockerfile, DockerfileError, directive};

/// Text that is no list of options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionsError {
    /// None of the three.
    #[error(
        "`{option}` is no option of `check`: there are `skip=RULE,…`, `error=true` and `experimental=RULE,…`"
    )]
    Unknown {
        /// What was given.
        option: String,
    },
    /// `error=maybe`
    #[error("`error={value}` of `check` is neither true nor false")]
    NoSwitch {
        /// What was given.
        value: String,
    },
}

/// What is wanted of the checks of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub(super) skips: Skips,
    /// `error=true`: findings fail the build.
    pub fails_build: bool,
}

/// Which rules are silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Skips {
    skipped: Choice,
    experimental: Choice,
}

/// Rules by name; names that nothing has are passed over, since newer frontends have more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    All,
    Named(BTreeSet<String>),
}

impl Default for Choice {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl Choice {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn holds(&self, rule: Rule) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(rule.name()),
        }
    }
}

impl Skips {
    /// What the first `check=` among the comments of an instruction adds; a malformed one adds nothing.
    pub(super) fn of_comments(comments: &[String]) -> Self {
        let mut values = comments.iter().filter_map(|comment| directive(comment, ""));
        let Some((_, value)) = values.find(|(name, _)| name == "check") else {
            return Self::default();
        };
        let text = value.split(' ').next().unwrap_or(value);
        Options::parse(text).unwrap_or_default().skips
    }

    /// Whether a rule speaks, given what its instruction says.
    pub(super) fn wants(&self, rule: Rule, here: &Self) -> bool {
        if rule.is_experimental() {
            self.experimental.holds(rule) || here.experimental.holds(rule)
        } else {
            !self.skipped.holds(rule) && !here.skipped.holds(rule)
        }
    }
}

impl Options {
    /// What holds for a file: the build argument, else its directive, else everything.
    ///
    /// # Errors
    /// When what holds is malformed.
    pub fn of(
        file: &Dockerfile,
        arguments: &BTreeMap<String, Option<String>>,
    ) -> Result<Self, DockerfileError> {
        if let Some(Some(text)) = arguments.get(CHECK_ARGUMENT) {
            return Self::parse(text).map_err(|error| DockerfileError {
                file: format!("build argument {CHECK_ARGUMENT}"),
                line: 1,
                column: 1,
                message: error.to_string(),
                source_line: text.clone(),
            });
        }
        match &file.check {
            Some(check) => {
                let failed = |error: CheckOptionsError| check.location.error(&file.name, error.to_string());
                Self::parse(&check.text).map_err(failed)
            }
            None => Ok(Self::default()),
        }
    }

    /// Reads `skip=A,B;error=true;experimental=all`.
    ///
    /// # Errors
    /// When a part is something else.
    pub fn parse(text: &str) -> Result<Self, CheckOptionsError> {
        let mut options = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(options);
        }
        for part in text.splitn(3, ';') {
            let unknown = || CheckOptionsError::Unknown {
                option: part.trim().to_owned(),
            };
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            match name.trim() {
                "skip" => options.skips.skipped = Choice::parse(value),
                "experimental" => options.skips.experimental = Choice::parse(value),
                "error" => options.fails_build = switch(value.trim())?,
                _ => return Err(unknown()),
            }
        }
        Ok(options)
    }
}

/// The spellings that Go's programs take.
fn switch(value: &str) -> Result<bool, CheckOptionsError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(CheckOptionsError::NoSwitch {
            value: other.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_options_are_errors() {
        for wrong in [
            "all",
            "skip",
            "error=",
            "error=maybe",
            "skip=A;foo=b",
            "skip=A;error=true;x=y;z=1",
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong}");
        }
        for right in ["", " ", "skip=", "skip=Unheard", " skip = all ; error = T "] {
            assert!(Options::parse(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn experimental_rules_are_asked_for_and_not_skipped() {
        let (usual, experimental) = (Rule::FromAsCasing, Rule::InvalidDefinitionDescription);
        let wants = |text: &str, comment: &str, rule: Rule| {
            let here = Skips::of_comments(&["any".to_owned(), comment.to_owned()]);
            Options::parse(text).unwrap().skips.wants(rule, &here)
        };
        assert!(wants("", "", usual) && !wants("", "", experimental));
        assert!(!wants("skip=all", "", usual) && !wants("skip=all", "", experimental));
        assert!(wants("skip=all;experimental=all", "", experimental));
        assert!(wants(
            "skip=all;experimental=InvalidDefinitionDescription",
            "",
            experimental
        ));
        assert!(!wants("", "check=skip=FromAsCasing // why", usual));
        assert!(!wants("", "check = skip=all", usual));
        assert!(wants("", "check=experimental=all", experimental));
        assert!(wants("", "check=nonsense", usual));
        assert!(wants("", "check=error=true", usual));
    }
}
