//! An error with all that led to it on one line, for logs and for sentences to people.
//!
//! No error of the project has its causes in its own words: they come once, and whoever shows the error decides whether.
//! Here because every crate shows errors, and this one is below all of them.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, outermost first, joined by colons. A cause whose words are there already is not repeated:
/// libraries often have theirs in the error's own words.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            // Writing to a string never fails.
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Layer {
        said: &'static str,
        source: Option<Box<Layer>>,
    }

    fn over(said: &'static str, source: Option<Layer>) -> Layer {
        let source = source.map(Box::new);
        Layer { said, source }
    }

    #[test]
    fn causes_follow_the_sentence_once() {
        let root = over("no such file", None);
        assert_eq!(with_causes(&root), "no such file");
        let error = over("pull a:1", Some(over("open b", Some(root))));
        assert_eq!(with_causes(&error), "pull a:1: open b: no such file");
        let repeating = over("outer: inner", Some(over("inner", Some(over("last", None)))));
        assert_eq!(with_causes(&repeating), "outer: inner: last");
    }
}
