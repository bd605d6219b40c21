//! `spec:inputs` in the header of a file and `$[[ inputs.name ]]` in its body: replaced in the tree, before anything merges.
//!
//! A block that is a whole scalar keeps the input's type; inside of text it becomes text. Values come with the `include`
//! that asks for the file, for the first file from the situation. Functions: `expand_vars`, `truncate(offset,length)`,
//! `posix_escape`.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

use super::{
    Context,
    keyword::{self, Place, shorten},
    read::given,
};
use crate::{
    diagnostic::Span,
    expression::Pattern,
    variables::{Variable, expand_existing},
    yaml::{Entry, Mapping, Node, Resolved, Value, resolve},
};

/// GitLab's bound on functions in a row.
const FUNCTIONS: usize = 3;

/// The inputs of a file, each with its value.
pub(super) type Inputs = BTreeMap<String, Node>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Array,
}

/// Reads the header and settles the values. `given` is the mapping below `include:inputs`, or nothing for the first file.
pub(super) fn settle(
    context: &mut Context<'_>,
    header: &Mapping,
    given: Option<&Node>,
    asked: Option<Span>,
) -> Inputs {
    let mut settled = Inputs::new();
    let Some(spec) = super::read::given(header, "spec") else {
        return settled;
    };
    let Some(spec_mapping) = context.mapping(spec, "spec") else {
        return settled;
    };
    keyword::check(context, Place::Spec, spec_mapping);
    let empty = Mapping::default();
    let declared = match super::read::given(spec_mapping, "inputs") {
        Some(node) => context.mapping(node, "inputs").unwrap_or(&empty),
        None => &empty,
    };
    let values = match given {
        Some(node) => context.mapping(node, "inputs").cloned().unwrap_or_default(),
        None => from_situation(context, spec.span),
    };
    for entry in values.iter() {
        if declared.get(&entry.key).is_none() {
            let message = format!("the file has no input `{}`", shorten(&entry.key));
            match keyword::nearest(&entry.key, declared.iter().map(|entry| &*entry.key)) {
                Some(near) => {
                    context.reports.error_with_help(
                        entry.key_span,
                        message,
                        format!("did you mean `{near}`?"),
                    );
                }
                None => context.reports.error(entry.key_span, message),
            }
        }
    }
    for entry in declared.iter() {
        if let Some(value) = one(context, entry, values.get(&entry.key), asked) {
            settled.insert(entry.key.to_string(), value);
        }
    }
    settled
}

fn from_situation(context: &Context<'_>, span: Span) -> Mapping {
    context
        .situation
        .inputs
        .iter()
        .map(|(name, value)| Entry {
            key: name.as_str().into(),
            key_span: span,
            value: Node::scalar(span, value, resolve(value).unwrap_or(Resolved::Text)),
            merged: false,
        })
        .collect()
}

fn one(context: &mut Context<'_>, entry: &Entry, value: Option<&Node>, asked: Option<Span>) -> Option<Node> {
    const KINDS: &[(&str, Kind)] = &[
        ("string", Kind::Text),
        ("number", Kind::Number),
        ("boolean", Kind::Boolean),
        ("array", Kind::Array),
    ];
    let name = shorten(&entry.key);
    let empty = Mapping::default();
    let declaration = match &entry.value.value {
        _ if entry.value.is_null() => &empty,
        _ => context.mapping(&entry.value, "inputs")?,
    };
    keyword::check(context, Place::Input, declaration);
    let kind = match given(declaration, "type") {
        Some(node) => context.word(node, "type", KINDS)?,
        None => Kind::Text,
    };
    let (value, from_caller) = match (value, declaration.get("default")) {
        (Some(value), _) => (value, true),
        (None, Some(default)) => (default, false),
        (None, None) => {
            let span = asked.unwrap_or(entry.key_span);
            context.reports.error(
                span,
                format!("`{name}` input: required value has not been provided"),
            );
            return None;
        }
    };
    let first_file = asked.is_none() && from_caller;
    let value = typed(value, kind, first_file);
    let Some(value) = value else {
        let expected = match kind {
            Kind::Text => "a string",
            Kind::Number => "a number",
            Kind::Boolean => "a boolean",
            Kind::Array => "a list",
        };
        context.reports.error(
            asked.unwrap_or(entry.key_span),
            format!("`{name}` input: the value is not {expected}"),
        );
        return None;
    };
    let text = value.as_scalar().map(crate::yaml::Scalar::text);
    if let Some(options) = given(declaration, "options").and_then(|node| context.list(node, "options")) {
        let listed = options
            .iter()
            .any(|option| option.as_scalar().map(crate::yaml::Scalar::text) == text);
        if !listed {
            let message = format!(
                "`{name}` input: `{}` is not one of its options",
                shorten(&text.unwrap_or_default())
            );
            context.reports.error(asked.unwrap_or(entry.key_span), message);
            return None;
        }
    }
    if let Some(node) = given(declaration, "regex") {
        let pattern = context.text(node, "regex")?;
        let fits = match Pattern::bare(&pattern) {
            Ok(pattern) => value
                .as_text()
                .is_some_and(|text| pattern.is_match(text, &context.effort)),
            Err(error) => {
                context
                    .reports
                    .error(node.span, format!("`regex` is no valid pattern: {error}"));
                return None;
            }
        };
        if !fits {
            let message = format!("`{name}` input: the value does not match `{}`", shorten(&pattern));
            context.reports.error(asked.unwrap_or(entry.key_span), message);
            return None;
        }
    }
    Some(value)
}

/// The value as its type has it. What comes with the request is text first, so a number is a string where one is asked for.
fn typed(value: &Node, kind: Kind, from_request: bool) -> Option<Node> {
    let fits = match kind {
        Kind::Text if from_request => {
            return value
                .as_scalar()
                .map(|scalar| Node::text_node(value.span, &scalar.raw));
        }
        Kind::Text => value.as_text().is_some(),
        Kind::Number => value
            .as_scalar()
            .is_some_and(|scalar| matches!(scalar.resolved, Resolved::Integer(_) | Resolved::Float(_))),
        Kind::Boolean => value.as_bool().is_some(),
        Kind::Array => value.as_sequence().is_some(),
    };
    fits.then(|| value.clone())
}

static BLOCK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\$\[\[\s*(.{1,1024}?)\s*\]\]").ok());

/// Replaces the blocks of a file's body.
pub(super) fn interpolate(
    context: &mut Context<'_>,
    body: &Node,
    inputs: &Inputs,
    variables: &[Variable],
) -> Option<Node> {
    if !context.budget.take(1) {
        context.too_large(body.span);
        return None;
    }
    match &body.value {
        Value::Scalar(_) => match body.as_text() {
            Some(text) if text.contains("$[[") => scalar(context, body.span, text, inputs, variables),
            _ => Some(body.clone()),
        },
        Value::Reference(path) => {
            let path: Option<Vec<String>> = path
                .iter()
                .map(|part| text(context, body.span, part, inputs, variables))
                .collect();
            Some(Node::reference(body.span, path?))
        }
        Value::Sequence(items) => {
            let items: Option<Vec<Node>> = items
                .iter()
                .map(|item| interpolate(context, item, inputs, variables))
                .collect();
            Some(Node::sequence(body.span, items?))
        }
        Value::Mapping(mapping) => {
            let mut interpolated = Mapping::default();
            for entry in mapping.iter() {
                let value = interpolate(context, &entry.value, inputs, variables)?;
                let key = if entry.key.contains("$[[") {
                    text(context, entry.key_span, &entry.key, inputs, variables)?.into()
                } else {
                    entry.key.clone()
                };
                interpolated.set(Entry {
                    key,
                    value,
                    ..entry.clone()
                });
            }
            Some(Node::mapping(body.span, interpolated))
        }
    }
}

fn scalar(
    context: &mut Context<'_>,
    span: Span,
    raw: &str,
    inputs: &Inputs,
    variables: &[Variable],
) -> Option<Node> {
    let whole = BLOCK
        .as_ref()
        .and_then(|block| block.captures(raw))
        .filter(|found| found[0].len() == raw.len());
    if let Some(found) = whole {
        let mut node = value(context, span, &found[1], inputs, variables)?;
        node.span = span;
        return Some(node);
    }
    text(context, span, raw, inputs, variables).map(|text| Node::text_node(span, &text))
}

fn text(
    context: &mut Context<'_>,
    span: Span,
    raw: &str,
    inputs: &Inputs,
    variables: &[Variable],
) -> Option<String> {
    let Some(block) = BLOCK.as_ref() else {
        return Some(raw.to_owned());
    };
    let mut output = String::new();
    let mut last = 0;
    for found in block.captures_iter(raw) {
        let Some(whole) = found.get(0) else { continue };
        output.push_str(raw.get(last..whole.start()).unwrap_or(""));
        let node = value(context, span, &found[1], inputs, variables)?;
        let Some(scalar) = node.as_scalar() else {
            context.reports.error(
                span,
                format!("`{}` is a list, it cannot be part of a text", shorten(&found[1])),
            );
            return None;
        };
        output.push_str(&scalar.text());
        // Text is budgeted as well: a long value may be inserted many times.
        if !context.budget.take(output.len() / 16) {
            context.too_large(span);
            return None;
        }
        last = whole.end();
    }
    output.push_str(raw.get(last..).unwrap_or(""));
    Some(output)
}

/// What a block stands for.
fn value(
    context: &mut Context<'_>,
    span: Span,
    block: &str,
    inputs: &Inputs,
    variables: &[Variable],
) -> Option<Node> {
    let mut parts = block.split('|').map(str::trim);
    let name = parts.next().unwrap_or("");
    let found = name.strip_prefix("inputs.").and_then(|name| inputs.get(name));
    let Some(mut node) = found.cloned() else {
        let message = format!("unknown interpolation key: `{}`", shorten(name));
        let near = name
            .strip_prefix("inputs.")
            .and_then(|name| keyword::nearest(name, inputs.keys().map(String::as_str)));
        match near {
            Some(near) => {
                context
                    .reports
                    .error_with_help(span, message, format!("did you mean `inputs.{near}`?"));
            }
            None => context.reports.error(span, message),
        }
        return None;
    };
    for (count, function) in parts.enumerate() {
        let applied = match node.as_text() {
            Some(text) if count < FUNCTIONS => apply(function, text, variables),
            _ => None,
        };
        let Some(text) = applied else {
            let message = format!("`{}` cannot be applied here", shorten(function));
            let help =
                "the functions are `expand_vars`, `truncate(offset,length)` and `posix_escape`, on strings";
            context.reports.error_with_help(span, message, help);
            return None;
        };
        node = Node::text_node(span, &text);
    }
    Some(node)
}

fn apply(function: &str, text: &str, variables: &[Variable]) -> Option<String> {
    if function == "expand_vars" {
        return Some(expand_existing(text, variables));
    }
    if function == "posix_escape" {
        return Some(posix_escape(text));
    }
    let (offset, length) = function
        .strip_prefix("truncate(")?
        .strip_suffix(')')?
        .split_once(',')?;
    let (offset, length): (usize, usize) = (offset.trim().parse().ok()?, length.trim().parse().ok()?);
    Some(text.chars().skip(offset).take(length).collect())
}

/// Ruby's `Shellwords.escape`.
fn posix_escape(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("'\n'"),
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' | '.' | ',' | ':' | '+' | '/' | '@' => {
                escaped.push(character);
            }
            other => {
                escaped.push('\\');
                escaped.push(other);
            }
        }
    }
    escaped
}
