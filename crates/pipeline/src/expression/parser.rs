//! Tokens to a tree: `!` binds tightest, then comparisons (left to right), then `&&`, then `||`.
//!
//! Recursion is bounded by the lexer's token limit.

use super::{
    ExpressionError,
    lexer::{Lexeme, Token},
    pattern::Pattern,
};

#[derive(Clone, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Text(String),
    Pattern(Pattern),
    Variable(String),
    Input(String),
    Not(Box<Tree>),
    Compare(Comparison, Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Match,
    NotMatch,
}

pub(super) fn parse(tokens: &[Token], length: usize) -> Result<Tree, ExpressionError> {
    let mut cursor = Cursor {
        tokens,
        position: 0,
        length,
    };
    let tree = cursor.or()?;
    match cursor.peek() {
        None => Ok(tree),
        Some(token) => Err(cursor.error(
            if matches!(token.lexeme, Lexeme::Close) {
                "this parenthesis closes nothing"
            } else {
                "an operator is missing before this"
            },
            token.offset,
        )),
    }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    position: usize,
    length: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn error(&self, message: &str, offset: usize) -> ExpressionError {
        ExpressionError {
            message: message.to_owned(),
            offset,
            help: None,
        }
    }

    fn or(&mut self) -> Result<Tree, ExpressionError> {
        let mut left = self.and()?;
        while matches!(self.peek().map(|token| &token.lexeme), Some(Lexeme::Or)) {
            self.position += 1;
            left = Tree::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Tree, ExpressionError> {
        let mut left = self.comparison()?;
        while matches!(self.peek().map(|token| &token.lexeme), Some(Lexeme::And)) {
            self.position += 1;
            left = Tree::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Tree, ExpressionError> {
        let mut left = self.unary()?;
        loop {
            let comparison = match self.peek().map(|token| &token.lexeme) {
                Some(Lexeme::Equal) => Comparison::Equal,
                Some(Lexeme::NotEqual) => Comparison::NotEqual,
                Some(Lexeme::Match) => Comparison::Match,
                Some(Lexeme::NotMatch) => Comparison::NotMatch,
                _ => return Ok(left),
            };
            self.position += 1;
            left = Tree::Compare(comparison, Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Tree, ExpressionError> {
        if matches!(self.peek().map(|token| &token.lexeme), Some(Lexeme::Not)) {
            self.position += 1;
            return Ok(Tree::Not(Box::new(self.unary()?)));
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Tree, ExpressionError> {
        let Some(token) = self.tokens.get(self.position) else {
            return Err(self.error("the expression ends where a value is expected", self.length));
        };
        self.position += 1;
        Ok(match &token.lexeme {
            Lexeme::Null => Tree::Null,
            Lexeme::Bool(value) => Tree::Bool(*value),
            Lexeme::Text(text) => Tree::Text(text.clone()),
            Lexeme::Pattern(pattern) => Tree::Pattern(pattern.clone()),
            Lexeme::Variable(name) => Tree::Variable(name.clone()),
            Lexeme::Input(name) => Tree::Input(name.clone()),
            Lexeme::Open => {
                let tree = self.or()?;
                match self.peek().map(|token| &token.lexeme) {
                    Some(Lexeme::Close) => self.position += 1,
                    _ => return Err(self.error("this parenthesis is not closed", token.offset)),
                }
                tree
            }
            _ => return Err(self.error("a value is expected here", token.offset)),
        })
    }
}
