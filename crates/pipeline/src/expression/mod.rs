//! The language of `rules:if`.
//!
//! `lexer` → `parser` → `evaluate`, each after GitLab's own class of that name, because the language has no specification
//! but its implementation. Patterns are RE2, translated to Rust's engine in `pattern`.
//!
//! Two habits of GitLab that surprise: `&&` and `||` give an operand, not a boolean, and the verdict treats a blank string
//! as false; and `=~` with a plain string on the right asks whether the *left* one is contained in it.

mod effort;
mod evaluate;
mod lexer;
mod parser;
mod pattern;

use std::collections::{BTreeMap, HashMap};

pub use effort::Effort;
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
pub struct Expression {
    tree: Tree,
    /// Of all its patterns.
    size: u64,
}

/// The values of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// CI variables, unexpanded.
    pub variables: &'a HashMap<String, String>,
    /// Pipeline inputs.
    pub inputs: &'a BTreeMap<String, String>,
    /// What is left for all expressions together; where nothing is, no pattern matches.
    pub effort: &'a Effort,
}

impl Expression {
    /// Parses the text of an `if`.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let tokens = lexer::tokens(text)?;
        let tree = parser::parse(&tokens, text.chars().count())?;
        let size = tokens.iter().map(lexer::Token::size).fold(0, u64::saturating_add);
        Ok(Self { tree, size })
    }

    /// The value itself.
    pub fn evaluate(&self, scope: Scope<'_>) -> Value {
        scope.effort.take_building(self.size);
        evaluate::evaluate(&self.tree, scope)
    }

    /// What `rules:if` decides with.
    pub fn is_true(&self, scope: Scope<'_>) -> bool {
        self.evaluate(scope).is_present()
    }
}

#[cfg(test)]
mod tests;
