//! Shell patterns inside `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and text.
//!
//! Matched by stepping through all states at once, so that a hostile pattern cannot make matching exponential.

use super::limits::EXPANDED_BYTES;
use super::words::ExpandError;

/// Replacing tries every start, which is quadratic; longer values are refused.
const REPLACED_BYTES: usize = 64 << 10;

/// A shell pattern of `*`, `?` and text.
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy)]
enum Token {
    Any,
    One,
    Char(char),
}

impl Pattern {
    pub(super) fn new(text: &str, escape: char) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                c if c == escape => Token::Char(chars.next().unwrap_or(escape)),
                c => Token::Char(c),
            });
        }
        Self { tokens }
    }

    /// Every length of a prefix of `text` that the whole pattern matches, ascending. Linear in text × pattern.
    fn prefixes(&self, text: impl Iterator<Item = char>) -> Vec<usize> {
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.skip_any(&mut states);
        let mut lengths = Vec::new();
        if states[self.tokens.len()] {
            lengths.push(0);
        }
        for (index, c) in text.enumerate() {
            let mut next = vec![false; states.len()];
            for (state, token) in self.tokens.iter().enumerate().filter(|(state, _)| states[*state]) {
                match token {
                    Token::Any => next[state] = true,
                    Token::One => next[state + 1] = true,
                    Token::Char(wanted) if *wanted == c => next[state + 1] = true,
                    Token::Char(_) => {}
                }
            }
            self.skip_any(&mut next);
            if !next.contains(&true) {
                break;
            }
            if next[self.tokens.len()] {
                lengths.push(index + 1);
            }
            states = next;
        }
        lengths
    }

    fn skip_any(&self, states: &mut [bool]) {
        for (state, token) in self.tokens.iter().enumerate() {
            if states[state] && matches!(token, Token::Any) {
                states[state + 1] = true;
            }
        }
    }

    pub(super) fn trim_front(&self, value: &str, longest: bool) -> String {
        let lengths = self.prefixes(value.chars());
        let cut = if longest { lengths.last() } else { lengths.first() };
        value.chars().skip(cut.copied().unwrap_or(0)).collect()
    }

    pub(super) fn trim_back(&self, value: &str, longest: bool) -> String {
        let backwards = Self {
            tokens: self.tokens.iter().rev().copied().collect(),
        };
        let lengths = backwards.prefixes(value.chars().rev());
        let cut = if longest { lengths.last() } else { lengths.first() }
            .copied()
            .unwrap_or(0);
        value.chars().take(value.chars().count() - cut).collect()
    }

    pub(super) fn replace(&self, value: &str, with: &str, everywhere: bool) -> Result<String, ExpandError> {
        if value.len() > REPLACED_BYTES {
            return Err(ExpandError::TooLarge);
        }
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        let mut done = false;
        while at < chars.len() {
            let matched = if done {
                None
            } else {
                self.prefixes(chars[at..].iter().copied()).pop()
            };
            match matched.filter(|&length| length > 0) {
                Some(length) => {
                    result.push_str(with);
                    at += length;
                    done = !everywhere;
                }
                None => {
                    result.push(chars[at]);
                    at += 1;
                }
            }
            if result.len() > EXPANDED_BYTES {
                return Err(ExpandError::TooLarge);
            }
        }
        Ok(result)
    }
}
