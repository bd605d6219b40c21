//! Shell patterns inside `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and text.
//!
//! Matched by stepping through all states at once, so that a hostile pattern cannot make matching exponential; and the steps
//! of a word are counted, because text × pattern is too much when both are a megabyte.

use std::cell::Cell;

use super::limits::{EXPANDED_BYTES, MATCHING_STEPS};
use super::words::ExpandError;

/// Replacing tries every start, which is quadratic; longer values are refused.
const REPLACED_BYTES: usize = 16 << 10;

/// States that were gone through so far.
#[derive(Debug, Default)]
pub(super) struct Effort(Cell<usize>);

impl Effort {
    pub(super) fn steps(&self) -> usize {
        self.0.get()
    }

    fn spend(&self, steps: usize) -> Result<(), ExpandError> {
        let spent = self.0.get().saturating_add(steps);
        self.0.set(spent);
        if spent > MATCHING_STEPS {
            return Err(ExpandError::TooLarge);
        }
        Ok(())
    }
}

/// A shell pattern of `*`, `?` and text.
pub(super) struct Pattern<'a> {
    tokens: Vec<Token>,
    effort: &'a Effort,
}

#[derive(Clone, Copy)]
enum Token {
    Any,
    One,
    Char(char),
}

impl<'a> Pattern<'a> {
    /// A backslash takes the meaning from `*`, `?` and itself, whatever the file's escape is; before `}` and `/` it has done
    /// its work already, and before anything else it is a mistake.
    pub(super) fn new(text: &str, effort: &'a Effort) -> Result<Self, ExpandError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(escaped),
                    _ => {
                        return Err(ExpandError::Pattern {
                            pattern: text.to_owned(),
                        });
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Self { tokens, effort })
    }

    /// Every length of a prefix of `text` that the whole pattern matches, ascending. Linear in text × pattern.
    fn prefixes(&self, text: impl Iterator<Item = char>) -> Result<Vec<usize>, ExpandError> {
        self.effort.spend(self.tokens.len() + 1)?;
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.skip_any(&mut states);
        let mut lengths = Vec::new();
        if states[self.tokens.len()] {
            lengths.push(0);
        }
        for (index, c) in text.enumerate() {
            self.effort.spend(states.len())?;
            let mut next = vec![false; states.len()];
            for (state, token) in self.tokens.iter().enumerate().filter(|(state, _)| states[*state]) {
                match token {
                    // A line's end is neither.
                    Token::Any => next[state] |= c != '\n',
                    Token::One => next[state + 1] |= c != '\n',
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
        Ok(lengths)
    }

    fn skip_any(&self, states: &mut [bool]) {
        for (state, token) in self.tokens.iter().enumerate() {
            if states[state] && matches!(token, Token::Any) {
                states[state + 1] = true;
            }
        }
    }

    pub(super) fn trim_front(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let lengths = self.prefixes(value.chars())?;
        let cut = if longest { lengths.last() } else { lengths.first() };
        Ok(value.chars().skip(cut.copied().unwrap_or(0)).collect())
    }

    pub(super) fn trim_back(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let backwards = Self {
            tokens: self.tokens.iter().rev().copied().collect(),
            effort: self.effort,
        };
        let lengths = backwards.prefixes(value.chars().rev())?;
        let cut = if longest { lengths.last() } else { lengths.first() }
            .copied()
            .unwrap_or(0);
        Ok(value.chars().take(value.chars().count() - cut).collect())
    }

    pub(super) fn replace(&self, value: &str, with: &str, everywhere: bool) -> Result<String, ExpandError> {
        if value.len() > REPLACED_BYTES {
            return Err(ExpandError::TooLarge);
        }
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let (mut done, mut from) = (0, 0);
        while let Some((start, end)) = self.find(&chars, from)? {
            result.extend(&chars[done..start]);
            // Nothing is matched in front of everything, but not again right behind a match.
            if end > done || start == 0 {
                result.push_str(with);
            }
            if result.len() > EXPANDED_BYTES {
                return Err(ExpandError::TooLarge);
            }
            done = end;
            from = end.max(from + 1);
            if !everywhere {
                break;
            }
        }
        result.extend(&chars[done..]);
        Ok(result)
    }

    /// The first place at or behind `from` where the pattern matches, and the end of the longest match there.
    fn find(&self, chars: &[char], from: usize) -> Result<Option<(usize, usize)>, ExpandError> {
        for start in from..=chars.len() {
            if let Some(longest) = self.prefixes(chars[start..].iter().copied())?.pop() {
                return Ok(Some((start, start + longest)));
            }
        }
        Ok(None)
    }
}
