//! Variables given on the command line and in a file.
//!
//! They stand for what a project keeps on its server, secrets above all, so their values are hidden in traces unless
//! they are too short to be a secret. `--variable` is said for this one pipeline and overrides everything; a file is
//! the project's settings.

use std::path::Path;

use shipway_pipeline::variables::Variable;

use crate::failure::{Failure, FailureKind};

/// GitLab masks nothing shorter; a mask for `1` or `main` would make a trace unreadable.
const SHORTEST_SECRET: usize = 8;
/// Characters of a wrong line that are shown.
const SHOWN: usize = 24;
/// A file larger than this is not a list of variables.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads `NAME=value`.
pub(super) fn parse(text: &str) -> Result<Variable, Failure> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| is_name(name))
        .ok_or_else(|| {
            let name = text.split('=').next().unwrap_or_default();
            Failure::new(FailureKind::Use, format!("`{name}` is no variable")).hint("write it as NAME=value")
        })?;
    Ok(variable(name, value))
}

/// Reads a file of `NAME=value` lines; blank lines and lines that begin with `#` are left out, and a value may stand
/// in quotes, as in the `.env` files of other tools.
pub(super) fn read_file(path: &Path) -> Result<Vec<Variable>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::caused(
            FailureKind::Use,
            &format!("reading the variables in `{}`", path.display()),
            &error,
        )
    };
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
        return Err(Failure::new(
            FailureKind::Use,
            format!("`{}` is larger than 1 MiB", path.display()),
        ));
    }
    list(path, &std::fs::read_to_string(path).map_err(failed)?)
}

/// The variables in the text of a file.
fn list(path: &Path, text: &str) -> Result<Vec<Variable>, Failure> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), unquoted(value.trim())))
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| {
                Failure::new(
                    FailureKind::Use,
                    format!(
                        "{}:{}: no NAME=value: `{}`",
                        path.display(),
                        index + 1,
                        shown(line)
                    ),
                )
                .hint("names have letters, digits and `_`; every variable stands on one line")
            })?;
        variables.push(variable(name, value));
    }
    Ok(variables)
}

fn variable(name: &str, value: &str) -> Variable {
    if value.len() >= SHORTEST_SECRET && !value.contains('\n') {
        Variable::secret(name, value)
    } else {
        Variable {
            masked: false,
            ..Variable::secret(name, value)
        }
    }
}

/// A wrong line, without what may be a secret: neither a value nor, say, the middle of a key.
fn shown(line: &str) -> String {
    let (text, cut) = match line.split_once('=') {
        Some((name, _)) => (format!("{name}="), true),
        None => (line.to_owned(), false),
    };
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if cut || shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

fn is_name(name: &str) -> bool {
    name.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SHOWN, is_name, list, parse, read_file};

    #[test]
    fn long_values_are_hidden_and_short_ones_are_not() {
        let long = parse("TOKEN=abcdefgh=").unwrap();
        assert_eq!(
            (long.value.as_str(), long.masked, long.public),
            ("abcdefgh=", true, false)
        );
        assert!(!parse("FLAG=1").unwrap().masked);
        assert!(parse("no value").is_err() && parse("1A=x").is_err() && parse("=x").is_err());
    }

    #[test]
    fn a_file_may_have_comments_and_quotes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# settings\n\nA=1\nexport B=\"two words\"\n").unwrap();
        let values: Vec<_> = read_file(file.path())
            .unwrap()
            .into_iter()
            .map(|v| (v.key, v.value))
            .collect();
        assert_eq!(
            values,
            [
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "two words".to_owned())
            ]
        );
        for (line, shown) in [
            ("broken", ":2: no NAME=value: `broken`"),
            ("MY-TOKEN=swordfish", ":2: no NAME=value: `MY-TOKEN=…`"),
            (
                "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
                "value: `MIIEvQIBADANBgkqhkiG9w0B…`",
            ),
        ] {
            std::fs::write(file.path(), format!("A=1\n{line}\n")).unwrap();
            let said = format!("{:?}", read_file(file.path()).unwrap_err());
            assert!(said.contains(shown), "{said}");
        }
    }

    /// What is taken has names and values of one line; what is refused is not shown whole.
    #[test]
    fn foreign_variable_files() {
        let seeds = [
            "# settings\n\nA=1\nexport B=\"two words\"\nC='x'\r\n",
            "MY_TOKEN=swordfish-of-the-team",
        ];
        shipway_testkit::Foreign::near(seeds)
            .with_words(&["export ", "=", "#", "\"", "\n"])
            .check_text(|text| match list(Path::new("f"), text) {
                Ok(variables) => {
                    for variable in variables {
                        assert!(is_name(&variable.key) && !variable.value.contains('\n'));
                    }
                }
                Err(failure) => {
                    let said = format!("{failure:?}");
                    let number = said.matches(char::is_alphanumeric).count();
                    assert!(number < 10 * SHOWN, "{said}");
                }
            });
    }
}
