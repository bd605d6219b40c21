//! `!reference [job, key, …]`: takes a value from elsewhere in the configuration, after `extends`. What it takes may hold
//! references itself, ten levels deep.

use super::Context;
use crate::yaml::{Entry, Mapping, Node, Value};

/// GitLab's bound.
const LEVELS: usize = 10;

pub(super) fn resolve(context: &mut Context<'_>, root: &Node) -> Option<Node> {
    let resolved = node(context, root, root, 0)?;
    (!context.reports.has_errors()).then_some(resolved)
}

fn node(context: &mut Context<'_>, root: &Node, current: &Node, level: usize) -> Option<Node> {
    if !context.budget.take(1) {
        context.too_large(current.span);
        return None;
    }
    match &current.value {
        Value::Scalar(_) => Some(current.clone()),
        Value::Sequence(items) => {
            let items: Option<Vec<Node>> = items
                .iter()
                .map(|item| node(context, root, item, level))
                .collect();
            Some(Node::sequence(current.span, items?))
        }
        Value::Mapping(mapping) => {
            let mut resolved = Mapping::default();
            for entry in mapping.iter() {
                let value = node(context, root, &entry.value, level)?;
                resolved.set(Entry {
                    value,
                    ..entry.clone()
                });
            }
            Some(Node::mapping(current.span, resolved))
        }
        Value::Reference(path) => {
            if level >= LEVELS {
                let message =
                    format!("`!reference` is nested more than {LEVELS} levels deep, or in a circle");
                context.reports.error(current.span, message);
                return None;
            }
            let mut target = root;
            for key in path.iter() {
                match target.get(key) {
                    Some(next) => target = next,
                    None => {
                        let message = format!(
                            "`!reference [{}]` leads nowhere: there is no `{}`",
                            super::keyword::shorten(&path.join(", ")),
                            super::keyword::shorten(key)
                        );
                        let near = target.as_mapping().and_then(|mapping| {
                            super::keyword::nearest(key, mapping.iter().map(|entry| &*entry.key))
                                .map(str::to_owned)
                        });
                        match near {
                            Some(near) => {
                                let help = format!("did you mean `{near}`?");
                                context.reports.error_with_help(current.span, message, help);
                            }
                            None => context.reports.error(current.span, message),
                        }
                        return None;
                    }
                }
            }
            node(context, root, target, level + 1)
        }
    }
}
