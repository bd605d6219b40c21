//! The language of `rules:if`.
//!
//! `lexer` → `parser` → `evaluate`, each after GitLab's own class of that name, because the language has no specification
//! but its implementation. Patterns are RE2, translated to Rust's engine in `pattern`.
//!
//! Two habits of GitLab that surprise: `&&` and `||` give an operand, not a boolean, and the verdict treats a blank string
//! as false; and `=~` with a plain string on the right asks whether the *left* one is contained in it.

mod evaluate;
mod lexer;
mod parser;
mod pattern;

use std::collections::{BTreeMap, HashMap};

pub use evaluate::Value;
pub(crate) use pattern::Pattern;

use parser::Tree;

/// Text that is no expression.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// Where, counted in characters from 0.
    pub offset: usize,
    /// What to write instead.
    pub help: Option<String>,
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression(Tree);

/// The values of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// CI variables, unexpanded.
    pub variables: &'a HashMap<String, String>,
    /// Pipeline inputs.
    pub inputs: &'a BTreeMap<String, String>,
}

impl Expression {
    /// Parses the text of an `if`.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let tokens = lexer::tokens(text)?;
        parser::parse(&tokens, text.chars().count()).map(Self)
    }

    /// The value itself.
    pub fn evaluate(&self, scope: Scope<'_>) -> Value {
        evaluate::evaluate(&self.0, scope)
    }

    /// What `rules:if` decides with.
    pub fn is_true(&self, scope: Scope<'_>) -> bool {
        self.evaluate(scope).is_present()
    }
}

#[cfg(test)]
mod tests;
