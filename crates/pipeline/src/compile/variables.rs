//! `variables` of the configuration: scalars, or mappings with `value`, `expand` and, at the top, `description`.

use super::{
    Context,
    keyword::{self, Place},
    read::given,
};
use crate::{
    variables::Variable,
    yaml::{Entry, Node, Value},
};

/// Whose variables they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    /// The pipeline's: they may carry a description.
    Root,
    /// A job's, a rule's or a service's.
    Job,
}

pub(super) fn read(context: &mut Context<'_>, node: &Node, level: Level) -> Vec<Variable> {
    let Some(mapping) = context.mapping(node, "variables") else {
        return Vec::new();
    };
    mapping
        .iter()
        .filter_map(|entry| variable(context, entry, level))
        .collect()
}

fn variable(context: &mut Context<'_>, entry: &Entry, level: Level) -> Option<Variable> {
    let node = &entry.value;
    let name = keyword::shorten(&entry.key);
    match &node.value {
        Value::Mapping(mapping) => {
            keyword::check(context, Place::Variable, mapping);
            for key in ["description", "options"] {
                if level == Level::Job
                    && let Some(found) = mapping.entry(key)
                {
                    let message = format!("`{key}` is only for variables of the whole pipeline");
                    context.reports.error(found.key_span, message);
                }
            }
            let value = given(mapping, "value").map(|value| scalar(context, value, &name));
            let expand = given(mapping, "expand")
                .and_then(|node| context.boolean(node, "expand"))
                .unwrap_or(true);
            if value.is_none() && given(mapping, "description").is_none() {
                context
                    .reports
                    .error(entry.key_span, format!("the variable `{name}` has no `value`"));
                return None;
            }
            if let (Some(options), Some(Some(value))) = (given(mapping, "options"), &value) {
                let options = context.texts(options, "options").unwrap_or_default();
                if !options.contains(value) {
                    let message = format!("the value of `{name}` is not one of its `options`");
                    context.reports.error(entry.key_span, message);
                }
            }
            let value = value.unwrap_or_else(|| Some(String::new()))?;
            Some(Variable {
                raw: !expand,
                ..Variable::public(&*entry.key, value)
            })
        }
        _ => Some(Variable::public(&*entry.key, scalar(context, node, &name)?)),
    }
}

fn scalar(context: &mut Context<'_>, node: &Node, name: &str) -> Option<String> {
    match node.as_scalar() {
        Some(scalar) if !node.is_null() => {
            let text = scalar.text();
            if text != *scalar.raw && node.as_text().is_none() {
                let message = format!(
                    "the value of `{name}` is `{text}`, since `{}` is {}",
                    scalar.raw,
                    node.kind()
                );
                context.reports.warn(
                    node.span,
                    message,
                    Some(format!("quote it to keep it: \"{}\"", scalar.raw)),
                );
            }
            Some(text)
        }
        _ => {
            let message = format!(
                "the variable `{name}` must be a string or a number, not {}",
                node.kind()
            );
            if node.is_null() {
                context
                    .reports
                    .error_with_help(node.span, message, "an empty value is written \"\"");
            } else {
                context.reports.error(node.span, message);
            }
            None
        }
    }
}

/// Later variables override earlier ones and keep their place.
pub(super) fn overlay(base: &mut Vec<Variable>, over: impl IntoIterator<Item = Variable>) {
    let mut places: std::collections::HashMap<String, usize> = base
        .iter()
        .enumerate()
        .map(|(place, variable)| (variable.key.clone(), place))
        .collect();
    for variable in over {
        match places.get(&variable.key).and_then(|place| base.get_mut(*place)) {
            Some(old) => *old = variable,
            None => {
                places.insert(variable.key.clone(), base.len());
                base.push(variable);
            }
        }
    }
}
