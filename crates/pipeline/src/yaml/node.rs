//! The tree: nodes with places, cheap to clone because `extends`, anchors and `!reference` copy whole branches.

use std::{collections::HashMap, sync::Arc};

use super::scalar::Resolved;
use crate::diagnostic::Span;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    weight: u32,
    depth: u16,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Arc<[Node]>),
    Mapping(Arc<Mapping>),
    /// `!reference [job, key, …]`, resolved after `extends`.
    Reference(Arc<[String]>),
}

/// A scalar: what Psych makes of it, and what was written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) raw: Arc<str>,
    pub(crate) resolved: Resolved,
}

impl Scalar {
    /// The text that Ruby's `to_s` gives: `1.10` becomes `1.1`, `0x10` becomes `16`.
    pub(crate) fn text(&self) -> String {
        match &self.resolved {
            Resolved::Null => String::new(),
            Resolved::Bool(value) => value.to_string(),
            Resolved::Integer(digits) => digits.clone(),
            Resolved::Float(value) => super::scalar::ruby_float(*value),
            Resolved::Text => self.raw.to_string(),
        }
    }
}

impl Node {
    pub(crate) fn scalar(span: Span, raw: &str, resolved: Resolved) -> Self {
        Self {
            value: Value::Scalar(Scalar {
                raw: raw.into(),
                resolved,
            }),
            span,
            weight: 1,
            depth: 1,
        }
    }

    pub(crate) fn text_node(span: Span, text: &str) -> Self {
        Self::scalar(span, text, Resolved::Text)
    }

    pub(crate) fn sequence(span: Span, items: Vec<Self>) -> Self {
        let weight = items
            .iter()
            .fold(1u32, |sum, item| sum.saturating_add(item.weight));
        let depth = items
            .iter()
            .map(|item| item.depth)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        Self {
            value: Value::Sequence(items.into()),
            span,
            weight,
            depth,
        }
    }

    pub(crate) fn mapping(span: Span, mapping: Mapping) -> Self {
        let weight = mapping
            .entries
            .iter()
            .fold(1u32, |sum, entry| sum.saturating_add(entry.value.weight));
        let depth = mapping
            .entries
            .iter()
            .map(|entry| entry.value.depth)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        Self {
            value: Value::Mapping(Arc::new(mapping)),
            span,
            weight,
            depth,
        }
    }

    pub(crate) fn reference(span: Span, path: Vec<String>) -> Self {
        Self {
            value: Value::Reference(path.into()),
            span,
            weight: 1,
            depth: 1,
        }
    }

    /// Nodes below and including this one, with everything shared counted as often as it appears.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// Levels below and including this one.
    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(
            &self.value,
            Value::Scalar(Scalar {
                resolved: Resolved::Null,
                ..
            })
        )
    }

    pub(crate) fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub(crate) fn as_sequence(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a scalar that Psych reads as a string.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar {
                raw,
                resolved: Resolved::Text,
            }) => Some(raw),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar(Scalar {
                resolved: Resolved::Bool(value),
                ..
            }) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_integer(&self) -> Option<i64> {
        match &self.value {
            Value::Scalar(Scalar {
                resolved: Resolved::Integer(digits),
                ..
            }) => digits.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping().and_then(|mapping| mapping.get(key))
    }

    /// What kind of thing this is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) => match scalar.resolved {
                Resolved::Null => "nothing",
                Resolved::Bool(_) => "a boolean",
                Resolved::Integer(_) | Resolved::Float(_) => "a number",
                Resolved::Text => "a string",
            },
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Reference(_) => "a `!reference`",
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
    /// Came in through a merge key: writing it again is no duplicate.
    pub(crate) merged: bool,
}

/// An ordered mapping. As in a Ruby hash, setting a key again keeps its first position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    entries: Vec<Entry>,
    index: HashMap<Arc<str>, usize>,
}

impl Mapping {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.index
            .get(key)
            .and_then(|position| self.entries.get(*position))
    }

    /// Sets a key; gives back the entry that it replaced.
    pub(crate) fn set(&mut self, entry: Entry) -> Option<Entry> {
        if let Some(old) = self
            .index
            .get(&entry.key)
            .and_then(|position| self.entries.get_mut(*position))
        {
            return Some(std::mem::replace(old, entry));
        }
        self.index.insert(Arc::clone(&entry.key), self.entries.len());
        self.entries.push(entry);
        None
    }

    /// Removes every entry for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
        self.index = self
            .entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (Arc::clone(&entry.key), position))
            .collect();
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl FromIterator<Entry> for Mapping {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        let mut mapping = Self::default();
        for entry in entries {
            mapping.set(entry);
        }
        mapping
    }
}
