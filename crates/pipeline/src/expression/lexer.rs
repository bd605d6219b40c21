//! Text to tokens, trying the lexemes in GitLab's order.

use std::sync::LazyLock;

use regex::Regex;

use super::{ExpressionError, pattern::Pattern};

/// GitLab's bound on the length of an expression.
const LIMIT: usize = 100;

/// Longest text looked at; GitLab has no such bound, its token limit comes after the scan.
const LENGTH: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) lexeme: Lexeme,
    pub(super) offset: usize,
}

impl Token {
    /// That of its pattern, if it is one.
    pub(super) fn size(&self) -> u64 {
        match &self.lexeme {
            Lexeme::Pattern(pattern) => pattern.size(),
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Lexeme {
    Open,
    Close,
    Input(String),
    Variable(String),
    Text(String),
    Pattern(Pattern),
    Null,
    Bool(bool),
    Equal,
    Match,
    NotEqual,
    NotMatch,
    And,
    Or,
    Not,
}

struct Patterns {
    input: Regex,
    variable: Regex,
    text: Regex,
    pattern: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        input: Regex::new(r"^\$\[\[\s*inputs\.([a-zA-Z0-9_-]+)\s*\]\]").ok()?,
        variable: Regex::new(r"^\$([0-9A-Za-z_]+)").ok()?,
        text: Regex::new(r#"^(?:"(.*?)"|'(.*?)')"#).ok()?,
        pattern: Regex::new(r"^/(?:[^/]|\\/)+[^\\]/[ismU]*").ok()?,
    })
});

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    let offset_of = |rest: &str| {
        text.get(..text.len() - rest.len())
            .map_or(0, |before| before.chars().count())
    };
    if text.len() > LENGTH {
        return Err(ExpressionError {
            message: format!("the expression is longer than {LENGTH} bytes"),
            offset: 0,
            help: None,
        });
    }
    while !rest.is_empty() {
        let offset = offset_of(rest);
        if tokens.len() >= LIMIT {
            return Err(ExpressionError {
                message: format!("the expression has more than {LIMIT} parts"),
                offset,
                help: Some("split it into several rules".to_owned()),
            });
        }
        let (lexeme, length) = lexeme(rest, offset)?;
        tokens.push(Token { lexeme, offset });
        rest = rest.get(length..).unwrap_or("").trim_start();
    }
    Ok(tokens)
}

fn lexeme(rest: &str, offset: usize) -> Result<(Lexeme, usize), ExpressionError> {
    if rest.starts_with('(') {
        return Ok((Lexeme::Open, 1));
    }
    if rest.starts_with(')') {
        return Ok((Lexeme::Close, 1));
    }
    if let Some(patterns) = PATTERNS.as_ref() {
        let capture = |regex: &Regex| {
            regex.captures(rest).map(|found| {
                let inner = found
                    .iter()
                    .skip(1)
                    .flatten()
                    .next()
                    .map_or("", |group| group.as_str());
                (inner.to_owned(), found.get(0).map_or(0, |whole| whole.len()))
            })
        };
        if let Some((name, length)) = capture(&patterns.input) {
            return Ok((Lexeme::Input(name), length));
        }
        if let Some((name, length)) = capture(&patterns.variable) {
            return Ok((Lexeme::Variable(name), length));
        }
        if let Some((text, length)) = capture(&patterns.text) {
            return Ok((Lexeme::Text(text), length));
        }
        if let Some(found) = patterns.pattern.find(rest) {
            return match Pattern::parse(found.as_str()) {
                Some(Ok(pattern)) => Ok((Lexeme::Pattern(pattern), found.len())),
                Some(Err(error)) => Err(ExpressionError {
                    message: format!("the pattern `{}` is not valid: {error}", found.as_str()),
                    offset,
                    help: Some("patterns are RE2: no look-around and no back references".to_owned()),
                }),
                None => Err(unexpected(rest, offset)),
            };
        }
    }
    for (text, lexeme) in [
        ("null", Lexeme::Null),
        ("true", Lexeme::Bool(true)),
        ("false", Lexeme::Bool(false)),
        ("==", Lexeme::Equal),
        ("=~", Lexeme::Match),
        ("!=", Lexeme::NotEqual),
        ("!~", Lexeme::NotMatch),
        ("&&", Lexeme::And),
        ("||", Lexeme::Or),
        ("!", Lexeme::Not),
    ] {
        if rest.starts_with(text) {
            return Ok((lexeme, text.len()));
        }
    }
    Err(unexpected(rest, offset))
}

fn unexpected(rest: &str, offset: usize) -> ExpressionError {
    let help = if rest.starts_with("${") {
        let name: String = rest
            .chars()
            .skip(2)
            .take_while(|character| *character != '}')
            .collect();
        Some(format!("variables are written without braces here: `${name}`"))
    } else if rest.starts_with('=') {
        Some("comparison is `==`".to_owned())
    } else if rest.starts_with('/') {
        Some("a pattern stands between two slashes and has at least two characters".to_owned())
    } else if rest.starts_with(['"', '\'']) {
        Some("this string is not closed".to_owned())
    } else if rest.starts_with(|character: char| character.is_alphanumeric()) {
        Some("strings are quoted, variables begin with `$`".to_owned())
    } else {
        None
    };
    let near: String = rest.chars().take(20).collect();
    ExpressionError {
        message: format!("`{near}` is not part of the rules language"),
        offset,
        help,
    }
}
