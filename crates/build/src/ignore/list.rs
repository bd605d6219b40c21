//! The list of patterns and what it says about a path.

use super::glob::{GlobError, Token, tokens};

/// The ignore file is not the context; it stays small.
const MAX_BYTES: usize = 1 << 20;
const MAX_PATTERNS: usize = 10_000;
/// Letters and wildcards of all patterns that have to be compiled: each takes about a kilobyte.
const MAX_TOKENS: usize = 100_000;

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// A pattern with wrong syntax.
    #[error("{file}:{line}: wrong pattern")]
    Pattern {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: GlobError,
    },
    /// `!` alone.
    #[error("{file}:{line}: `!` must be followed by a pattern")]
    EmptyException {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
    },
    /// A pattern too large to compile.
    #[error("{file}:{line}: the pattern is too large")]
    TooLarge {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What the compiler says.
        #[source]
        source: Box<regex::Error>,
    },
    /// More than anybody writes by hand.
    #[error(
        "{file}: more than {MAX_PATTERNS} patterns, {MAX_BYTES} bytes, or {MAX_TOKENS} letters in patterns with wildcards"
    )]
    TooMany {
        /// The file.
        file: String,
    },
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Prefix(String),
    /// Behind a leading `**`.
    Suffix(String),
    Regex(regex::Regex),
}

#[derive(Debug, Clone)]
struct Pattern {
    exception: bool,
    matcher: Matcher,
    /// The text up to the first wildcard: where an exception may reach.
    literal: String,
}

/// An ordered list; the last pattern that applies to a path or a parent of it decides.
#[derive(Debug, Clone, Default)]
pub struct IgnoreList {
    patterns: Vec<Pattern>,
    /// Whether a pattern is one for everything.
    everything: bool,
    /// Of those that were compiled.
    tokens: usize,
}

/// What the list says about one path, to be carried to its children.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Whether the path is left out.
    pub ignored: bool,
    matched: Vec<bool>,
}

impl IgnoreList {
    /// Reads a `.dockerignore`; `file` is for messages.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, IgnoreError> {
        if bytes.len() > MAX_BYTES {
            return Err(IgnoreError::TooMany {
                file: file.to_owned(),
            });
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (mark, pattern) = match line.strip_prefix('!') {
                Some(rest) => ("!", rest.trim()),
                None => ("", line),
            };
            if pattern.is_empty() {
                if !mark.is_empty() {
                    return Err(IgnoreError::EmptyException {
                        file: file.to_owned(),
                        line: index + 1,
                    });
                }
                continue;
            }
            let cleaned = clean(pattern);
            let rooted = if cleaned.len() > 1 {
                cleaned.trim_start_matches('/')
            } else {
                &cleaned
            };
            list.push(&format!("{mark}{rooted}"), file, index + 1)?;
        }
        Ok(list)
    }

    /// A list of patterns as `--exclude` gives them.
    pub fn from_patterns<S: AsRef<str>>(patterns: &[S], file: &str) -> Result<Self, IgnoreError> {
        let mut list = Self::default();
        for (index, pattern) in patterns.iter().enumerate() {
            list.push(pattern.as_ref(), file, index + 1)?;
        }
        Ok(list)
    }

    fn push(&mut self, pattern: &str, file: &str, line: usize) -> Result<(), IgnoreError> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Ok(());
        }
        if self.patterns.len() == MAX_PATTERNS {
            return Err(IgnoreError::TooMany {
                file: file.to_owned(),
            });
        }
        let cleaned = clean(pattern);
        let (exception, text) = match cleaned.strip_prefix('!') {
            Some("") => {
                return Err(IgnoreError::EmptyException {
                    file: file.to_owned(),
                    line,
                });
            }
            Some(rest) => (true, rest),
            None => (false, cleaned.as_str()),
        };
        let tokens = tokens(text).map_err(|source| IgnoreError::Pattern {
            file: file.to_owned(),
            line,
            source,
        })?;
        if !is_simple(text) {
            self.tokens += tokens.len();
            if self.tokens > MAX_TOKENS {
                return Err(IgnoreError::TooMany {
                    file: file.to_owned(),
                });
            }
        }
        let matcher = matcher(text, &tokens).map_err(|source| IgnoreError::TooLarge {
            file: file.to_owned(),
            line,
            source: Box::new(source),
        })?;
        self.everything |= !exception && matches!(text, "*" | "**" | "**/*");
        let literal = text.split(['*', '?', '[', '\\']).next().unwrap_or("").to_owned();
        self.patterns.push(Pattern {
            exception,
            matcher,
            literal,
        });
        Ok(())
    }

    /// Whether there is nothing to ignore.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a pattern takes something in again.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether it leaves nothing of the context: a pattern is for everything, and there are no exceptions.
    pub fn leaves_nothing(&self) -> bool {
        self.everything && !self.has_exceptions()
    }

    /// What the list says about the root of the context.
    pub fn root(&self) -> Verdict {
        Verdict {
            ignored: false,
            matched: vec![false; self.patterns.len()],
        }
    }

    /// What it says about `path` (slashes, relative), given what it says about its parent.
    pub fn below(&self, parent: &Verdict, path: &str) -> Verdict {
        let mut ignored = false;
        let matched: Vec<bool> = self
            .patterns
            .iter()
            .zip(&parent.matched)
            .map(|(pattern, &above)| {
                let matched = above || pattern.matcher.matches(path);
                if matched {
                    ignored = !pattern.exception;
                }
                matched
            })
            .collect();
        Verdict { ignored, matched }
    }

    /// Whether `path` is ignored, its parents considered.
    pub fn ignores(&self, path: &str) -> bool {
        let mut verdict = self.root();
        for (end, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            verdict = self.below(&verdict, &path[..end]);
        }
        self.below(&verdict, path).ignored
    }

    /// Whether an exception may take something below an ignored directory in again.
    pub fn may_except_below(&self, directory: &str) -> bool {
        self.patterns
            .iter()
            .filter(|pattern| pattern.exception)
            .any(|pattern| match &pattern.matcher {
                Matcher::Suffix(_) => true,
                Matcher::Exact(path) => below(path, directory),
                Matcher::Prefix(_) | Matcher::Regex(_) => {
                    let literal = pattern.literal.trim_end_matches('/');
                    below(literal, directory) || directory.starts_with(literal)
                }
            })
    }
}

fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Matcher {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => path == wanted,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

fn special(text: &str) -> bool {
    text.contains(['*', '?', '[', ']', '\\'])
}

/// Whether a pattern needs no compiler.
fn is_simple(text: &str) -> bool {
    let inner = text.strip_prefix("**").or_else(|| text.strip_suffix("**"));
    !special(inner.unwrap_or(text))
}

/// The cheapest matcher that says what the pattern says.
fn matcher(text: &str, tokens: &[Token]) -> Result<Matcher, regex::Error> {
    if !special(text) {
        return Ok(Matcher::Exact(text.to_owned()));
    }
    if let Some(suffix) = text.strip_prefix("**").filter(|rest| !special(rest)) {
        return Ok(Matcher::Suffix(suffix.to_owned()));
    }
    if let Some(prefix) = text.strip_suffix("**").filter(|rest| !special(rest)) {
        return Ok(Matcher::Prefix(prefix.to_owned()));
    }
    let mut expression = String::from("(?s)^");
    let mut rest = tokens.iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            Token::Star if rest.next_if(|next| **next == Token::Star).is_some() => {
                rest.next_if(|next| **next == Token::Char('/'));
                expression.push_str(if rest.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            Token::Star => expression.push_str("[^/]*"),
            Token::One => expression.push_str("[^/]"),
            Token::Char(c) => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Token::Class { negated, ranges } => {
                expression.push_str(if *negated { "[^" } else { "[" });
                for &(low, high) in ranges.iter().filter(|(low, high)| low <= high) {
                    expression.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", low as u32, high as u32));
                }
                if ranges.iter().all(|(low, high)| low > high) {
                    // Only empty ranges: a class that holds nothing.
                    expression.push_str("&&[^\\x{0}-\\x{10ffff}]");
                }
                expression.push(']');
            }
        }
    }
    expression.push('$');
    regex::RegexBuilder::new(&expression)
        .size_limit(1 << 20)
        .build()
        .map(Matcher::Regex)
}

/// Go's `path.Clean`: no empty or `.` component, `..` resolved, no trailing slash.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests;
