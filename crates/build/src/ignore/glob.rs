//! Patterns of `*`, `?`, `[a-z]` and `\x`, as Go's `filepath.Match` has them.

/// A malformed pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` is malformed: a [ is not closed, a range is incomplete, or it ends in \\")]
pub struct GlobError {
    /// The pattern.
    pub pattern: String,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `?`: one character that is not a slash.
    One,
    /// `*`: any characters that are not a slash.
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(wanted) => *wanted == c,
            Self::One | Self::Star => c != '/',
            Self::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

/// The tokens of a whole pattern.
pub(super) fn tokens(pattern: &str) -> Result<Vec<Token>, GlobError> {
    let malformed = || GlobError {
        pattern: pattern.to_owned(),
    };
    let mut found = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        found.push(match c {
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Char(chars.next().ok_or_else(malformed)?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                let bound = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| match chars.next() {
                    None | Some('-' | ']') => Err(malformed()),
                    Some('\\') => chars.next().ok_or_else(malformed),
                    Some(c) => Ok(c),
                };
                loop {
                    if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = bound(&mut chars)?;
                    let high = if chars.next_if_eq(&'-').is_some() {
                        bound(&mut chars)?
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::Char(c),
        });
    }
    Ok(found)
}

/// A pattern over a path; `*` stops at slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        Ok(Self {
            tokens: tokens(pattern)?,
        })
    }

    /// Whether `text` holds anything that makes it a pattern.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Whether the whole of `path` matches. Time is bounded by pattern × path.
    pub fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let (mut at, mut token) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < path.len() {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    retry = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(other) if other.takes(path[at]) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            // The last star takes one more character, unless that is a slash: then an earlier star cannot help either.
            match retry {
                Some((star, from)) if path[from] != '/' => {
                    retry = Some((star, from + 1));
                    at = from + 1;
                    token = star + 1;
                }
                _ => return false,
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::Star)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes() {
        let table = [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("*/*.txt", "d/a.txt", true),
            ("a*/*b*c", "ax/1b2b3c", true),
            ("a*/*b*c", "ax/1b2b3", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[^a-c]x", "dx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*", "", true),
        ];
        for (pattern, path, wanted) in table {
            assert_eq!(
                Glob::parse(pattern).expect(pattern).matches(path),
                wanted,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["[", "[]", "[]a]", "[-x]", "[x-]", "[a-b-c]", "\\", "a[", "[^"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }
}
