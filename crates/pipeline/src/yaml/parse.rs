//! Events to tree: anchors, merge keys, duplicate keys, tags and limits.
//!
//! An alias shares its anchor's branch, so memory stays bounded by the text; the *expanded* size is bounded as well, since
//! everything after this stage walks the tree as if it were written out.
//!
//! A merge key acts where it stands, as in Psych: a key written *before* `<<` loses to the merged one. Other YAML libraries
//! let written keys always win, so this case earns a warning.

use std::{collections::HashMap, sync::Arc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    node::{Entry, Mapping, Node, Value},
    scalar::{Refused, Resolved, resolve},
};
use crate::diagnostic::{FileId, Span};

/// Size of one file, as in GitLab.
const BYTES: usize = 1024 * 1024;
/// Levels of nesting, as in GitLab.
const DEPTH: u16 = 100;
/// Nodes of one file with every alias written out.
const WEIGHT: u32 = 500_000;

/// A file that is no YAML, or more of it than is read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct YamlError {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// What one file holds.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) documents: Vec<Node>,
    /// Things that are legal and rarely meant.
    pub(crate) warnings: Vec<(Span, String)>,
}

/// Parses a file.
pub(crate) fn parse(file: FileId, text: &str) -> Result<Documents, YamlError> {
    if text.len() > BYTES {
        return Err(YamlError {
            span: Span::whole(file),
            message: format!("the file is {} bytes long, the limit is {BYTES}", text.len()),
            help: Some("split it and use `include`".to_owned()),
        });
    }
    // The parser would take a byte order mark for content.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file,
        frames: Vec::new(),
        anchors: HashMap::new(),
        documents: Vec::new(),
        warnings: Vec::new(),
        merged: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.event(event, span.start)?,
            Err(error) => {
                return Err(YamlError {
                    span: builder.span(*error.marker()),
                    message: format!("this is not valid YAML: {}", error.info()),
                    help: help_for(error.info()),
                });
            }
        }
    }
    Ok(Documents {
        documents: builder.documents,
        warnings: builder.warnings,
    })
}

fn help_for(info: &str) -> Option<String> {
    let help = if info.contains("mapping values are not allowed") {
        "a value that contains `: ` must be quoted"
    } else if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("unknown anchor") {
        "an anchor is defined with `&name` above its use, in the same file"
    } else if info.contains("cannot start any token") {
        "a value that begins with this character must be quoted"
    } else {
        return None;
    };
    Some(help.to_owned())
}

enum Frame {
    Sequence {
        span: Span,
        anchor: usize,
        reference: bool,
        items: Vec<Node>,
    },
    Mapping {
        span: Span,
        anchor: usize,
        mapping: Mapping,
        key: Option<Key>,
    },
}

struct Key {
    text: Arc<str>,
    span: Span,
    merge: bool,
}

impl Key {
    fn entry(&self, value: Node) -> Entry {
        Entry {
            key: Arc::clone(&self.text),
            key_span: self.span,
            value,
            merged: false,
        }
    }
}

struct Builder {
    file: FileId,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    documents: Vec<Node>,
    warnings: Vec<(Span, String)>,
    /// Entries copied by merge keys: the one thing that costs memory beyond the text.
    merged: u32,
}

impl Builder {
    fn span(&self, marker: Marker) -> Span {
        Span {
            file: self.file,
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn event(&mut self, event: Event<'_>, marker: Marker) -> Result<(), YamlError> {
        let span = self.span(marker);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain_merge = style == ScalarStyle::Plain && &*text == "<<" && tag.is_none();
                let node = scalar(span, &text, style, tag.as_deref())?;
                self.complete(node, anchor, plain_merge)
            }
            Event::SequenceStart(anchor, tag) => {
                let reference = tag.is_some_and(|tag| tag.handle == "!" && tag.suffix == "reference");
                self.open(
                    span,
                    Frame::Sequence {
                        span,
                        anchor,
                        reference,
                        items: Vec::new(),
                    },
                )
            }
            Event::MappingStart(anchor, _) => self.open(
                span,
                Frame::Mapping {
                    span,
                    anchor,
                    mapping: Mapping::default(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    node.span = span;
                    self.complete(node, 0, false)
                }
                None => Err(self.fail(span, "this alias stands inside the anchor that it names")),
            },
            Event::DocumentEnd => {
                // Anchors do not outlive their document.
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn fail(&self, span: Span, message: impl Into<String>) -> YamlError {
        YamlError {
            span,
            message: message.into(),
            help: None,
        }
    }

    fn open(&mut self, span: Span, frame: Frame) -> Result<(), YamlError> {
        if self.frames.len() >= usize::from(DEPTH) {
            return Err(self.fail(span, format!("the nesting is deeper than {DEPTH} levels")));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), YamlError> {
        match self.frames.pop() {
            Some(Frame::Sequence {
                span,
                anchor,
                reference: false,
                items,
            }) => self.complete(Node::sequence(span, items), anchor, false),
            Some(Frame::Sequence {
                span,
                anchor,
                reference: true,
                items,
            }) => {
                let node = self.reference(span, &items)?;
                self.complete(node, anchor, false)
            }
            Some(Frame::Mapping {
                span,
                anchor,
                mapping,
                ..
            }) => self.complete(Node::mapping(span, mapping), anchor, false),
            None => Ok(()),
        }
    }

    fn reference(&self, span: Span, items: &[Node]) -> Result<Node, YamlError> {
        let path: Option<Vec<String>> = items
            .iter()
            .map(|item| item.as_scalar().map(super::node::Scalar::text))
            .collect();
        match path {
            Some(path) if !path.is_empty() => Ok(Node::reference(span, path)),
            _ => Err(YamlError {
                span,
                message: "`!reference` takes a list of names".to_owned(),
                help: Some("write it as `!reference [.job, script]`".to_owned()),
            }),
        }
    }

    /// Hands a finished node to the frame it belongs to.
    fn complete(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), YamlError> {
        let span = node.span;
        if node.depth() > DEPTH {
            return Err(self.fail(span, format!("the nesting is deeper than {DEPTH} levels")));
        }
        if node.weight() > WEIGHT || self.merged > WEIGHT {
            return Err(self.fail(
                span,
                format!("the file has more than {WEIGHT} values with its aliases written out"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.frames.last_mut() {
            None => self.documents.push(node),
            Some(Frame::Sequence { items, .. }) => items.push(node),
            Some(Frame::Mapping { mapping, key, .. }) => match key.take() {
                None => {
                    let text = key_text(&node).map(Arc::from);
                    match text {
                        Some(text) => *key = Some(Key { text, span, merge }),
                        None => {
                            return Err(self.fail(
                                span,
                                "a mapping key must be a plain word, not a list or a mapping",
                            ));
                        }
                    }
                    if let Some(warning) = key_warning(&node) {
                        self.warnings.push((span, warning));
                    }
                }
                Some(name) => {
                    if name.merge {
                        self.merged =
                            self.merged
                                .saturating_add(merge_into(mapping, &node, &name, &mut self.warnings));
                    } else if let Some(old) = mapping.set(name.entry(node))
                        && !old.merged
                    {
                        self.duplicate(&old, &name);
                    }
                }
            },
        }
        Ok(())
    }

    fn duplicate(&mut self, old: &Entry, name: &Key) {
        self.warnings.push((
            name.span,
            format!(
                "`{}` is given twice (first on line {}); the last one counts",
                name.text, old.key_span.line
            ),
        ));
    }
}

/// The merge key; gives the number of entries copied. What is no mapping becomes an ordinary key, which the keyword check
/// then names.
fn merge_into(mapping: &mut Mapping, value: &Node, key: &Key, warnings: &mut Vec<(Span, String)>) -> u32 {
    let parents: Vec<&Mapping> = match &value.value {
        Value::Mapping(parent) => vec![parent],
        // The first of a list wins, hence the reverse order.
        Value::Sequence(items) if items.iter().all(|item| item.as_mapping().is_some()) => {
            items.iter().rev().filter_map(Node::as_mapping).collect()
        }
        _ => {
            mapping.set(key.entry(value.clone()));
            return 1;
        }
    };
    let mut copied = 0u32;
    for parent in parents {
        for entry in parent.iter() {
            copied = copied.saturating_add(1);
            if let Some(old) = mapping.set(Entry {
                merged: true,
                ..entry.clone()
            }) && !old.merged
            {
                warnings.push((
                    key.span,
                    format!(
                        "`<<` replaces `{}` written above it; put `<<` first to keep the written one",
                        old.key
                    ),
                ));
            }
        }
    }
    copied
}

fn key_text(node: &Node) -> Option<String> {
    node.as_scalar().map(|scalar| match scalar.resolved {
        Resolved::Bool(_) | Resolved::Null => scalar.raw.to_string(),
        _ => scalar.text(),
    })
}

fn key_warning(node: &Node) -> Option<String> {
    let scalar = node.as_scalar()?;
    matches!(scalar.resolved, Resolved::Bool(_)).then(|| {
        format!(
            "GitLab reads the key `{0}` as a boolean, not as the word; write it as \"{0}\"",
            scalar.raw
        )
    })
}

fn scalar(span: Span, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Node, YamlError> {
    let core = tag
        .filter(|tag| tag.is_yaml_core_schema())
        .map(|tag| tag.suffix.as_str());
    let text_by_tag =
        core == Some("str") || tag.is_some_and(|tag| tag.handle.is_empty() && tag.suffix == "!");
    if let Some(tag) = tag
        && tag.handle == "!"
        && tag.suffix == "reference"
    {
        return Err(YamlError {
            span,
            message: "`!reference` takes a list of names".to_owned(),
            help: Some("write it as `!reference [.job, script]`".to_owned()),
        });
    }
    if text_by_tag || (style != ScalarStyle::Plain && core.is_none()) {
        return Ok(Node::text_node(span, text));
    }
    match resolve(text) {
        Ok(resolved) => Ok(match (core, resolved) {
            (Some("float"), Resolved::Integer(digits)) => {
                Node::scalar(span, text, digits.parse().map_or(Resolved::Text, Resolved::Float))
            }
            // Psych turns `:word` into a symbol, and GitLab symbols into their words.
            (_, Resolved::Text) if style == ScalarStyle::Plain && text.len() > 1 && text.starts_with(':') => {
                Node::text_node(span, text.get(1..).unwrap_or(text))
            }
            (_, resolved) => Node::scalar(span, text, resolved),
        }),
        Err(refused) => Err(YamlError {
            span,
            message: format!(
                "GitLab does not load the {} `{text}`",
                match refused {
                    Refused::Date => "date",
                    Refused::Time => "time",
                }
            ),
            help: Some(format!("quote it: \"{text}\"")),
        }),
    }
}

#[cfg(test)]
mod tests;
