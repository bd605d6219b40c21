//! Variables a job leaves for later jobs in an `artifacts:reports:dotenv` file.
//!
//! The format is GitLab's, which is stricter than its name suggests: every line is `NAME=value`, a blank line or a
//! comment is an error, the last of several equal names wins.

use thiserror::Error;

/// A ceiling on the size of all reports of a job, as GitLab's default has it.
pub(super) const DOTENV_BYTES: usize = 5 * 1024;

/// A ceiling on the number of variables.
const DOTENV_VARIABLES: usize = 150;

/// Why a dotenv report is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum DotenvError {
    /// Too large.
    #[error(
        "the dotenv reports of a job are larger than {DOTENV_BYTES} bytes: write fewer or shorter variables into them"
    )]
    TooLarge,
    /// Too many.
    #[error("the dotenv report has more than {DOTENV_VARIABLES} variables")]
    TooMany,
    /// Not text.
    #[error("the dotenv report is not UTF-8 text")]
    NotText,
    /// Not `NAME=value`.
    #[error(
        "line {line} of the dotenv report is not NAME=value; blank lines and comments are not allowed either"
    )]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

/// Reads a report.
///
/// # Errors
/// The first thing that GitLab would refuse too.
pub(super) fn parse_dotenv(bytes: &[u8]) -> Result<Vec<(String, String)>, DotenvError> {
    if bytes.len() > DOTENV_BYTES {
        return Err(DotenvError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DotenvError::NotText)?;
    let mut variables: Vec<(String, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (name, value) = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, _)| is_name(name))
            .ok_or(DotenvError::Line { line: index + 1 })?;
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_owned(),
            None => variables.push((name.to_owned(), value.to_owned())),
        }
    }
    if variables.len() > DOTENV_VARIABLES {
        return Err(DotenvError::TooMany);
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{DotenvError, parse_dotenv};

    #[test]
    fn the_last_of_equal_names_wins_and_values_are_stripped() {
        let variables = parse_dotenv(b"A=1\nB = two words \nA=3=4\nEMPTY=\n").unwrap();
        let expected = [("A", "3=4"), ("B", "two words"), ("EMPTY", "")];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn comments_and_blank_lines_are_refused_with_their_line() {
        assert_eq!(parse_dotenv(b"A=1\n\n"), Err(DotenvError::Line { line: 2 }));
        assert_eq!(parse_dotenv(b"# comment\n"), Err(DotenvError::Line { line: 1 }));
        assert_eq!(parse_dotenv(&[b'A'; 6000]), Err(DotenvError::TooLarge));
    }

    /// What is taken is named as variables are, within the limits.
    #[test]
    fn foreign_reports() {
        shipway_testkit::Foreign::near(["A=1\nB = two words \nA=3=4\nEMPTY=\n", "A=\"q\"\r\n"]).check(
            |bytes| {
                if let Ok(variables) = parse_dotenv(bytes) {
                    assert!(bytes.len() <= super::DOTENV_BYTES && variables.len() <= super::DOTENV_VARIABLES);
                    assert!(
                        variables
                            .iter()
                            .all(|(name, value)| super::is_name(name) && !value.contains('\n'))
                    );
                }
            },
        );
    }
}
