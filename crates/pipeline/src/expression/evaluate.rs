//! What an expression is worth, with Ruby's notion of truth inside and Rails' `present?` at the end.

use super::{
    Scope,
    parser::{Comparison, Tree},
    pattern::Pattern,
};

/// The value of an expression.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// `null`, or a variable that does not exist.
    Null,
    /// The outcome of a comparison, or a literal.
    Bool(bool),
    /// Everything else.
    Text(String),
}

impl Value {
    /// Whether `rules:if` takes it for true: not null, not false, not blank.
    pub fn is_present(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Text(text) => !text.trim().is_empty(),
        }
    }

    /// Ruby's truth, by which `&&` and `||` choose: an empty string is true.
    fn is_truthy(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => text,
        }
    }
}

pub(super) fn evaluate(tree: &Tree, scope: Scope<'_>) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Text(text) => Value::Text(text.clone()),
        // A pattern by itself is its text.
        Tree::Pattern(pattern) => Value::Text(pattern.text().to_owned()),
        Tree::Variable(name) => scope.variables.get(name).map_or(Value::Null, |value| {
            scope.effort.take(1, value);
            Value::Text(value.clone())
        }),
        Tree::Input(name) => scope
            .inputs
            .get(name)
            .map_or(Value::Null, |value| Value::Text(value.clone())),
        Tree::Not(operand) => Value::Bool(!evaluate(operand, scope).is_present()),
        Tree::And(left, right) => {
            let left = evaluate(left, scope);
            if left.is_truthy() {
                evaluate(right, scope)
            } else {
                left
            }
        }
        Tree::Or(left, right) => {
            let left = evaluate(left, scope);
            if left.is_truthy() {
                left
            } else {
                evaluate(right, scope)
            }
        }
        Tree::Compare(comparison, left, right) => {
            let left = evaluate(left, scope);
            Value::Bool(match comparison {
                Comparison::Equal => left == evaluate(right, scope),
                Comparison::NotEqual => left != evaluate(right, scope),
                Comparison::Match => matches(left, right, scope),
                Comparison::NotMatch => !matches(left, right, scope),
            })
        }
    }
}

fn matches(left: Value, right: &Tree, scope: Scope<'_>) -> bool {
    let text = left.into_text();
    if let Tree::Pattern(pattern) = right {
        return pattern.is_match(&text, scope.effort);
    }
    match evaluate(right, scope) {
        Value::Null => false,
        right => {
            let right = right.into_text();
            match Pattern::parse(&right) {
                Some(Ok(pattern)) => {
                    scope.effort.take_building(pattern.size());
                    pattern.is_match(&text, scope.effort)
                }
                // GitLab gives up on the statement, which `rules:if` takes for false.
                Some(Err(_)) => false,
                None => right.contains(&text),
            }
        }
    }
}
