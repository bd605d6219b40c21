//! Shell word expansion: `$x`, `${x:-y}`, `${x##p}`, `${x/p/r}`, quotes and escapes.
//!
//! The rules are those of Docker's lexer rather than of a POSIX shell where the two differ; the vectors of that
//! lexer are the test. Nothing is executed and nothing is globbed.

use super::limits::{EXPANDED_BYTES, EXPANSION_DEPTH, EXPANSIONS_BYTES};
use super::pattern::{Effort, Pattern};

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote that nothing closes.
    #[error("unexpected end of statement while looking for the matching {quote}")]
    UnclosedQuote {
        /// The quote.
        quote: char,
    },
    /// `${` that nothing closes.
    #[error("a variable substitution is not closed: `}}` is missing")]
    UnclosedBrace,
    /// `${}`, `${{` or `${:`.
    #[error("bad substitution: a variable name must follow ${{")]
    BadSubstitution,
    /// `${x:=y}` and others that Docker does not know.
    #[error("unsupported modifier `{modifier}` in the substitution of {name}")]
    UnsupportedModifier {
        /// The variable.
        name: String,
        /// What followed its name.
        modifier: String,
    },
    /// `${x?message}` with `x` unset.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message.
        message: String,
    },
    /// `${x#\\a}` and others in which a backslash stands before what needs none.
    #[error("invalid pattern `{pattern}`: a backslash may stand before *, ?, /, }} and itself")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// Deeper or longer than the limits allow.
    #[error(
        "the expansion is nested too deeply, grows past {EXPANDED_BYTES} bytes, or matches too long a pattern with too long a value"
    )]
    TooLarge,
    /// More than all words of a build may give.
    #[error(
        "the variables of this build expand to more than {EXPANSIONS_BYTES} bytes in all: use shorter values"
    )]
    TooMuch,
}

/// Expands words against a set of variables.
pub struct Expander<'a> {
    escape: char,
    variables: &'a dyn Fn(&str) -> Option<String>,
    effort: Effort,
}

/// How quotes are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They group and vanish.
    Shell,
    /// They are text: the body of a heredoc.
    Literal,
}

impl<'a> Expander<'a> {
    /// `escape` is the Dockerfile's escape character.
    pub fn new(escape: char, variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            escape,
            variables,
            effort: Effort::default(),
        }
    }

    /// For the bodies of heredocs, in which the escape is always a backslash.
    pub fn for_heredocs(variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self::new('\\', variables)
    }

    /// Expands to one word: white space in values stays.
    pub fn word(&self, text: &str) -> Result<String, ExpandError> {
        Ok(self.run(text, Quotes::Shell)?.text)
    }

    /// Expands to words: unquoted white space splits.
    pub fn words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        Ok(self.run(text, Quotes::Shell)?.finish())
    }

    /// Expands the body of a heredoc: quotes are text, and an escape vanishes before any character, a line end too.
    pub fn body(&self, text: &str) -> Result<String, ExpandError> {
        Ok(self.run(text, Quotes::Literal)?.text)
    }

    /// What patterns have cost so far, as if it were bytes: the time that it takes to copy so many is about the same.
    pub(crate) fn cost(&self) -> usize {
        const STEPS_OF_A_BYTE: usize = 64;
        self.effort.steps() / STEPS_OF_A_BYTE
    }

    fn run(&self, text: &str, quotes: Quotes) -> Result<Output, ExpandError> {
        let chars: Vec<char> = text.chars().collect();
        let mut scan = Scan {
            chars: &chars,
            at: 0,
            expander: self,
            quotes,
            depth: 0,
        };
        scan.until(None, false)
    }
}

/// The result as one string and as words at the same time.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    fn splitting(&mut self, c: char) {
        self.text.push(c);
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Scan<'a, 'b> {
    chars: &'a [char],
    at: usize,
    expander: &'a Expander<'b>,
    quotes: Quotes,
    depth: usize,
}

impl Scan<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Up to `stop` (consumed) or the end; `keep_escapes` leaves escapes in place for a pattern.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<Output, ExpandError> {
        self.depth += 1;
        if self.depth > EXPANSION_DEPTH {
            return Err(ExpandError::TooLarge);
        }
        let mut output = Output::default();
        while let Some(c) = self.peek() {
            if output.text.len() > EXPANDED_BYTES {
                return Err(ExpandError::TooLarge);
            }
            if Some(c) == stop {
                self.at += 1;
                self.depth -= 1;
                return Ok(output);
            }
            match c {
                '$' => self.dollar()?.chars().for_each(|c| output.splitting(c)),
                '\'' if self.quotes == Quotes::Shell => output.raw(&self.single_quoted()?),
                '"' if self.quotes == Quotes::Shell => output.raw(&self.double_quoted(keep_escapes)?),
                c if c == self.expander.escape => self.escaped(keep_escapes, &mut output),
                '<' => self.angles(&mut output),
                c => {
                    self.at += 1;
                    output.splitting(c);
                }
            }
        }
        self.depth -= 1;
        match stop {
            Some(_) => Err(ExpandError::UnclosedBrace),
            None => Ok(output),
        }
    }

    fn escaped(&mut self, keep: bool, output: &mut Output) {
        self.at += 1;
        if keep {
            output.raw(self.expander.escape.encode_utf8(&mut [0; 4]));
        }
        let Some(c) = self.next() else { return };
        output.raw(c.encode_utf8(&mut [0; 4]));
    }

    /// White space behind `<<` belongs to the word.
    fn angles(&mut self, output: &mut Output) {
        self.at += 1;
        output.raw("<");
        if self.peek() != Some('<') {
            return;
        }
        self.at += 1;
        output.raw("<");
        while let Some(c @ (' ' | '\t' | '\r')) = self.peek() {
            self.at += 1;
            output.raw(c.encode_utf8(&mut [0; 4]));
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next().ok_or(ExpandError::UnclosedQuote { quote: '\'' })? {
                '\'' => return Ok(text),
                c => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, keep_escapes: bool) -> Result<String, ExpandError> {
        let unclosed = ExpandError::UnclosedQuote { quote: '"' };
        let escape = self.expander.escape;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek().ok_or(unclosed.clone())? {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                c if c == escape => {
                    self.at += 1;
                    // Only a quote, a dollar and the escape itself can be escaped here; others keep their escape.
                    match self.peek() {
                        None => return Err(unclosed),
                        Some(next) if next == '"' || next == '$' || next == escape => {
                            if keep_escapes {
                                text.push(escape);
                            }
                            self.at += 1;
                            text.push(next);
                        }
                        Some(_) => {
                            if keep_escapes {
                                text.push(escape);
                            }
                            text.push(escape);
                        }
                    }
                }
                c => {
                    self.at += 1;
                    text.push(c);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                self.value(&name).unwrap_or_default()
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err(ExpandError::UnclosedBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let value = self.value(&name);
        match self.next() {
            None => Err(ExpandError::UnclosedBrace),
            Some('}') => Ok(value.unwrap_or_default()),
            Some('/') => self.replacement(&value.unwrap_or_default()),
            Some(':') => {
                let operator = self.next().ok_or(ExpandError::UnclosedBrace)?;
                if !matches!(operator, '-' | '+' | '?') {
                    return Err(ExpandError::UnsupportedModifier {
                        name,
                        modifier: format!(":{operator}"),
                    });
                }
                let value = value.filter(|value| !value.is_empty());
                self.modified(&name, value, operator)
            }
            Some(operator @ ('-' | '+' | '?' | '#' | '%')) => self.modified(&name, value, operator),
            Some(other) => Err(ExpandError::UnsupportedModifier {
                name,
                modifier: other.to_string(),
            }),
        }
    }

    fn modified(&mut self, name: &str, value: Option<String>, operator: char) -> Result<String, ExpandError> {
        let pattern = matches!(operator, '#' | '%');
        let word = self.until(Some('}'), pattern)?.text;
        match operator {
            '-' => Ok(value.unwrap_or(word)),
            '+' => Ok(if value.is_some() { word } else { String::new() }),
            '?' => value.ok_or_else(|| ExpandError::Required {
                name: name.to_owned(),
                message: if word.is_empty() {
                    "is not allowed to be unset or empty".to_owned()
                } else {
                    word
                },
            }),
            _ => {
                let (longest, word) = match word.strip_prefix(operator) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                let pattern = Pattern::new(word, &self.expander.effort)?;
                let value = value.unwrap_or_default();
                if operator == '#' {
                    pattern.trim_front(&value, longest)
                } else {
                    pattern.trim_back(&value, longest)
                }
            }
        }
    }

    fn replacement(&mut self, value: &str) -> Result<String, ExpandError> {
        let everywhere = self.peek() == Some('/');
        if everywhere {
            self.at += 1;
        }
        let pattern = self.until(Some('/'), true)?.text;
        // Escapes stay in what is put in, as they do in Docker.
        let with = self.until(Some('}'), true)?.text;
        Pattern::new(&pattern, &self.expander.effort)?.replace(value, &with, everywhere)
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.expander.variables)(name)
    }

    /// A name, a number, or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let numeric = name.starts_with(|c: char| c.is_ascii_digit());
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.at += 1;
                return c.to_string();
            }
            let belongs = if numeric {
                c.is_ascii_digit()
            } else {
                c.is_alphanumeric() || c == '_'
            };
            if !belongs {
                break;
            }
            self.at += 1;
            name.push(c);
        }
        name
    }
}
