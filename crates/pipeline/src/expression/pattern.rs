//! RE2 patterns run by Rust's `regex`.
//!
//! The two engines share their ancestry and promise (linear time), but not every spelling. The translation works on the
//! text: `\d`, `\w`, `\s`, `\b` are ASCII in RE2; `\Q…\E`, `\C` and a literal `{` exist there; `[`, `&&` and `~~` inside a class
//! and `\<` mean something else in Rust. What RE2 refuses and Rust takes (`(?x)`, repeats above 1000) stays accepted.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::effort::{self, Effort};

/// Bound on the compiled program, so that a pattern cannot take the memory of the process.
const SIZE: usize = 1 << 18;
/// Bound on how deep a pattern nests.
const DEPTH: u32 = 100;

/// `/pattern/flags`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: String,
    regex: Regex,
    size: u64,
}

impl Pattern {
    /// `None` when the text does not have the shape of a pattern.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (body, flags) = split(text)?;
        Some(Self::compile(text, &body.replace("\\/", "/"), flags))
    }

    /// A pattern without slashes and flags.
    pub(crate) fn bare(body: &str) -> Result<Self, String> {
        Self::compile(body, body, "")
    }

    fn compile(source: &str, body: &str, flags: &str) -> Result<Self, String> {
        let translated = translate(body);
        let full = if flags.is_empty() {
            translated
        } else {
            format!("(?{flags}){translated}")
        };
        RegexBuilder::new(&full)
            .size_limit(SIZE)
            .nest_limit(DEPTH)
            .build()
            .map(|regex| Self {
                source: source.to_owned(),
                regex,
                // What could be built can be parsed.
                size: ParserBuilder::new()
                    .nest_limit(DEPTH)
                    .build()
                    .parse(&full)
                    .map_or(SIZE as u64, |hir| effort::size(&hir)),
            })
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                error => error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("")
                    .trim()
                    .trim_start_matches("error: ")
                    .to_owned(),
            })
    }

    /// Whether it is found in a text; false when that is more than there is effort left.
    pub(crate) fn is_match(&self, text: &str, effort: &Effort) -> bool {
        effort.take(self.size, text) && self.regex.is_match(text)
    }

    /// How many parts it has.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn text(&self) -> &str {
        &self.source
    }
}

fn split(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('/')?;
    let end = inner.rfind('/')?;
    let (body, flags) = (inner.get(..end)?, inner.get(end + 1..)?);
    (!body.is_empty() && flags.chars().all(|flag| matches!(flag, 'i' | 's' | 'm' | 'U')))
        .then_some((body, flags))
}

fn translate(body: &str) -> String {
    let mut output = String::with_capacity(body.len() + 16);
    let mut characters = body.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(&mut characters, &mut output, false),
            '[' => class(&mut characters, &mut output),
            '{' if !is_repetition(&characters) => output.push_str("\\{"),
            other => output.push(other),
        }
    }
    output
}

fn escape(characters: &mut Peekable<Chars<'_>>, output: &mut String, in_class: bool) {
    let Some(escaped) = characters.next() else {
        output.push('\\');
        return;
    };
    let replacement = match (escaped, in_class) {
        ('d', false) => "[0-9]",
        ('d', true) => "0-9",
        ('D', _) => "[^0-9]",
        ('w', false) => "[0-9A-Za-z_]",
        ('w', true) => "0-9A-Za-z_",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', false) => "[\\t\\n\\f\\r ]",
        ('s', true) => "\\t\\n\\f\\r ",
        ('S', _) => "[^\\t\\n\\f\\r ]",
        ('b', false) => "(?-u:\\b)",
        ('C', false) => "(?s:.)",
        ('<', _) => "<",
        ('>', _) => ">",
        ('/', _) => "/",
        ('Q', false) => {
            quoted(characters, output);
            return;
        }
        (other, _) => {
            output.push('\\');
            output.push(other);
            return;
        }
    };
    output.push_str(replacement);
}

fn quoted(characters: &mut Peekable<Chars<'_>>, output: &mut String) {
    let mut literal = String::new();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.peek() == Some(&'E') {
            characters.next();
            break;
        }
        literal.push(character);
    }
    output.push_str(&regex::escape(&literal));
}

fn class(characters: &mut Peekable<Chars<'_>>, output: &mut String) {
    output.push('[');
    if characters.peek() == Some(&'^') {
        characters.next();
        output.push('^');
    }
    // A closing bracket in first place is a literal.
    if characters.peek() == Some(&']') {
        characters.next();
        output.push_str("\\]");
    }
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(characters, output, true),
            ']' => {
                output.push(']');
                return;
            }
            '[' if characters.peek() == Some(&':') => posix_class(characters, output),
            '[' => output.push_str("\\["),
            '&' | '~' => {
                output.push('\\');
                output.push(character);
            }
            other => output.push(other),
        }
    }
}

fn posix_class(characters: &mut Peekable<Chars<'_>>, output: &mut String) {
    output.push('[');
    for character in characters.by_ref() {
        output.push(character);
        if character == ']' {
            return;
        }
    }
}

fn is_repetition(rest: &Peekable<Chars<'_>>) -> bool {
    let mut digits = 0;
    let mut comma = false;
    for character in rest.clone() {
        match character {
            '0'..='9' => digits += 1,
            ',' if digits > 0 && !comma => comma = true,
            '}' => return digits > 0,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern)
            .unwrap()
            .unwrap()
            .is_match(text, &Effort::default())
    }

    #[test]
    fn re2_spellings_mean_what_they_mean_in_re2() {
        assert!(!matches(r"/^\d+$/", "٣"), "digits are ASCII");
        assert!(!matches(r"/^\w$/", "é"));
        assert!(matches(r"/^[\w-]+$/", "a-b_1"));
        assert!(matches(r"/\Qa.b\E$/", "xa.b"));
        assert!(!matches(r"/^\Qa.b\E$/", "axb"));
        assert!(matches(r"/a{x/", "a{x"));
        assert!(matches(r"/^a{2}$/", "aa"));
        assert!(matches(r"/^[[]$/", "["));
        assert!(matches(r"/^[[:digit:]]+$/", "12"));
        assert!(matches(r"/^[a&&b]+$/", "a&b"));
        assert!(matches(r"/\<br\>/", "<br>"));
        assert!(matches(r"/^v[0-9]+\.\d+$/", "v1.20"));
        assert!(matches(r"/ABC/i", "xabcx"));
        assert!(!matches(r"/^b/", "a\nb"));
        assert!(matches(r"/^b/m", "a\nb"));
    }

    #[test]
    fn look_around_is_refused() {
        assert!(Pattern::parse("/a(?=b)/").unwrap().is_err());
        assert!(Pattern::parse(r"/(a)\1/").unwrap().is_err());
        assert!(Pattern::parse("plain").is_none());
    }
}
