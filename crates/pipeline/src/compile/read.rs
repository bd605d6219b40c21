//! Typed reading of nodes. Each function says what it expected, at the place where it found something else, and gives
//! `None`; the caller just goes on without the value.

use super::Context;
use crate::{
    diagnostic::Span,
    yaml::{Entry, Mapping, Node, Value},
};

/// GitLab's bound on nested `script` and `rules`.
const NESTING: usize = 10;

impl Context<'_> {
    pub(crate) fn expected(&mut self, node: &Node, what: &str, expected: &str) {
        self.reports.error(
            node.span,
            format!("`{what}` must be {expected}, not {}", node.kind()),
        );
    }

    /// A string; numbers count as their text where GitLab lets them.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match node.as_text() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            Some(_) => {
                self.reports
                    .error(node.span, format!("`{what}` must not be empty"));
                None
            }
            None => {
                self.expected(node, what, "a string");
                None
            }
        }
    }

    /// A string that may be empty.
    pub(crate) fn any_text(&mut self, node: &Node, what: &str) -> Option<String> {
        if node.as_text().is_none() {
            self.expected(node, what, "a string");
        }
        node.as_text().map(str::to_owned)
    }

    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if node.as_bool().is_none() {
            self.expected(node, what, "`true` or `false`");
        }
        node.as_bool()
    }

    pub(crate) fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Mapping> {
        if node.as_mapping().is_none() {
            self.expected(node, what, "a mapping");
        }
        node.as_mapping()
    }

    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if node.as_sequence().is_none() {
            self.expected(node, what, "a list");
        }
        node.as_sequence()
    }

    /// A list of strings.
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        let items = self.list(node, what)?;
        Some(
            items
                .iter()
                .filter_map(|item| self.text_item(item, what))
                .collect(),
        )
    }

    fn text_item(&mut self, item: &Node, what: &str) -> Option<String> {
        if item.as_text().is_none() {
            let message = format!(
                "every entry of `{what}` must be a string, this is {}",
                item.kind()
            );
            self.reports.error(item.span, message);
        }
        item.as_text().map(str::to_owned)
    }

    /// A string or a list of strings.
    pub(crate) fn text_or_texts(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        match &node.value {
            Value::Sequence(_) => self.texts(node, what),
            _ if node.as_text().is_some() => self.text(node, what).map(|text| vec![text]),
            _ => {
                self.expected(node, what, "a string or a list of strings");
                None
            }
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let found = node
            .as_text()
            .and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let message = match node.as_text() {
                Some(text) => format!("`{what}` cannot be `{}`", super::keyword::shorten(text)),
                None => format!("`{what}` must be a word, not {}", node.kind()),
            };
            self.reports
                .error_with_help(node.span, message, format!("it is one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Lines of a script: a string, or lists of strings in one another.
    pub(crate) fn script(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        if let Some(text) = node.as_text() {
            return Some(vec![text.to_owned()]);
        }
        let Some(items) = node.as_sequence() else {
            self.expected(node, what, "a string or a list of strings");
            return None;
        };
        let mut lines = Vec::new();
        self.script_items(items, what, 0, &mut lines).then_some(lines)
    }

    fn script_items(&mut self, items: &[Node], what: &str, level: usize, lines: &mut Vec<String>) -> bool {
        let mut fine = true;
        for item in items {
            match &item.value {
                Value::Sequence(inner) if level < NESTING => {
                    fine &= self.script_items(inner, what, level + 1, lines);
                }
                Value::Sequence(_) => {
                    let message = format!("`{what}` is nested more than {NESTING} levels deep");
                    self.reports.error(item.span, message);
                    return false;
                }
                _ => match item.as_text() {
                    Some(line) if self.budget.take(1) => lines.push(line.to_owned()),
                    Some(_) => {
                        self.too_large(item.span);
                        return false;
                    }
                    None => {
                        fine = false;
                        let message =
                            format!("every line of `{what}` must be a string, this is {}", item.kind());
                        if item.as_mapping().is_some() {
                            let help =
                                "a line that contains `: ` must be quoted as a whole: - 'echo \"a: b\"'";
                            self.reports.error_with_help(item.span, message, help);
                        } else {
                            self.reports.error(item.span, message);
                        }
                    }
                },
            }
            if self.reports.is_full() {
                return false;
            }
        }
        fine
    }

    /// A list whose nested lists (from `!reference`) are opened up.
    pub(crate) fn flat<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<&'n Node>> {
        let items = self.list(node, what)?;
        let mut flat = Vec::new();
        self.flatten(items, what, 0, &mut flat).then_some(flat)
    }

    fn flatten<'n>(&mut self, items: &'n [Node], what: &str, level: usize, flat: &mut Vec<&'n Node>) -> bool {
        items.iter().all(|item| match &item.value {
            Value::Sequence(inner) if level < NESTING => self.flatten(inner, what, level + 1, flat),
            Value::Sequence(_) => {
                let message = format!("`{what}` is nested more than {NESTING} levels deep");
                self.reports.error(item.span, message);
                false
            }
            _ if self.budget.take(1) => {
                flat.push(item);
                true
            }
            _ => {
                self.too_large(item.span);
                false
            }
        })
    }

    /// A duration as GitLab writes them.
    pub(crate) fn duration(&mut self, node: &Node, what: &str) -> Option<std::time::Duration> {
        let text = match node.as_scalar() {
            Some(scalar) if !node.is_null() && node.as_bool().is_none() => scalar.text(),
            _ => {
                self.expected(node, what, "a duration");
                return None;
            }
        };
        match super::duration::parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let help = "write it as `1 hour 30 minutes`, `2h20min` or `3 days`";
                self.reports
                    .error_with_help(node.span, format!("`{what}`: {error}"), help);
                None
            }
        }
    }

    /// Says that two keywords exclude each other.
    pub(crate) fn conflict(&mut self, span: Span, one: &str, other: &str) {
        self.reports
            .error(span, format!("`{one}` and `{other}` cannot be used together"));
    }
}

/// The value of a key, unless it is null: GitLab takes a keyword without a value for one that is not there.
pub(crate) fn given<'n>(mapping: &'n Mapping, key: &str) -> Option<&'n Node> {
    entry(mapping, key).map(|entry| &entry.value)
}

/// As [`given`], with the key's own place.
pub(crate) fn entry<'n>(mapping: &'n Mapping, key: &str) -> Option<&'n Entry> {
    mapping.entry(key).filter(|entry| !entry.value.is_null())
}
