//! `extends`: jobs and hidden jobs take over the keys of others. Mappings merge deeply, everything else replaces, `null`
//! removes. A list of parents merges from left to right, the job itself last.

use std::{collections::HashMap, sync::Arc};

use super::{Context, keyword::nearest};
use crate::{
    diagnostic::Span,
    yaml::{Entry, Mapping, Node},
};

/// GitLab's bound on parents of parents.
const LEVELS: usize = 11;

pub(super) fn resolve(context: &mut Context<'_>, root: &Node) -> Option<Node> {
    let mapping = root.as_mapping()?;
    let mut resolver = Resolver {
        root: mapping,
        done: HashMap::new(),
    };
    let mut resolved = Mapping::default();
    for entry in mapping.iter() {
        let value = resolver.job(context, &entry.key, &mut Vec::new());
        resolved.set(Entry {
            value: value.unwrap_or_else(|| entry.value.clone()),
            ..entry.clone()
        });
        if context.reports.is_full() {
            break;
        }
    }
    (!context.reports.has_errors()).then(|| Node::mapping(root.span, resolved))
}

struct Resolver<'a> {
    root: &'a Mapping,
    done: HashMap<Arc<str>, Node>,
}

impl Resolver<'_> {
    /// The job with its parents merged in; `None` after an error.
    fn job(&mut self, context: &mut Context<'_>, name: &str, open: &mut Vec<Arc<str>>) -> Option<Node> {
        if let Some(done) = self.done.get(name) {
            return Some(done.clone());
        }
        let entry = self.root.entry(name)?.clone();
        let Some(own) = entry.value.as_mapping() else {
            return Some(entry.value);
        };
        let Some(extends) = own.entry("extends") else {
            return Some(entry.value);
        };
        let (key_span, parents) = (extends.key_span, extends.value.clone());

        open.push(Arc::clone(&entry.key));
        let merged = self.merged(context, own, &parents, key_span, open);
        open.pop();

        let node = Node::mapping(entry.value.span, merged?);
        self.done.insert(entry.key, node.clone());
        Some(node)
    }

    fn merged(
        &mut self,
        context: &mut Context<'_>,
        own: &Mapping,
        parents: &Node,
        key_span: Span,
        open: &mut Vec<Arc<str>>,
    ) -> Option<Mapping> {
        let mut merged = Mapping::default();
        for (span, parent) in names(context, parents)? {
            if open.iter().any(|name| **name == *parent) {
                context.reports.error(
                    span,
                    format!("`extends` goes in a circle: `{parent}` extends itself"),
                );
                return None;
            }
            if open.len() >= LEVELS {
                context.reports.error(
                    key_span,
                    format!("`extends` is nested more than {LEVELS} levels deep"),
                );
                return None;
            }
            let Some(known) = self.root.entry(&parent) else {
                let message = format!("`extends` names `{parent}`, which does not exist");
                let near = nearest(&parent, self.root.iter().map(|entry| &*entry.key));
                match near {
                    Some(near) => {
                        context
                            .reports
                            .error_with_help(span, message, format!("did you mean `{near}`?"));
                    }
                    None => context.reports.error(span, message),
                }
                return None;
            };
            if known.value.as_mapping().is_none() {
                context
                    .reports
                    .error(span, format!("`{parent}` is no job, it cannot be extended"));
                return None;
            }
            let base = self.job(context, &parent, open)?;
            if let Some(base) = base.as_mapping() {
                merged = merge(context, &merged, base, span)?;
            }
        }
        merged = merge(context, &merged, own, key_span)?;
        merged.retain(|entry| &*entry.key != "extends");
        Some(merged)
    }
}

fn names(context: &mut Context<'_>, node: &Node) -> Option<Vec<(Span, String)>> {
    if let Some(text) = node.as_text() {
        return Some(vec![(node.span, text.to_owned())]);
    }
    let Some(items) = node.as_sequence() else {
        context.expected(node, "extends", "the name of a job or a list of names");
        return None;
    };
    let mut names = Vec::new();
    for item in items {
        match item.as_text() {
            Some(text) => names.push((item.span, text.to_owned())),
            None => {
                context.expected(item, "extends", "a list of names");
                return None;
            }
        }
    }
    Some(names)
}

/// `over` on top of `base`; also how included files come together.
pub(super) fn merge(
    context: &mut Context<'_>,
    base: &Mapping,
    over: &Mapping,
    span: Span,
) -> Option<Mapping> {
    if !context.budget.take(base.len() + over.len()) {
        context.too_large(span);
        return None;
    }
    let mut merged = base.clone();
    let mut removed = false;
    for entry in over.iter() {
        let below = merged
            .get(&entry.key)
            .and_then(Node::as_mapping)
            .zip(entry.value.as_mapping());
        let value = match below {
            Some((below, above)) => {
                let inner = merge(context, below, above, span)?;
                Node::mapping(entry.value.span, inner)
            }
            None => entry.value.clone(),
        };
        removed |= value.is_null();
        merged.set(Entry {
            value,
            ..entry.clone()
        });
    }
    if removed && !base.is_empty() {
        merged.retain(|entry| !entry.value.is_null() || base.get(&entry.key).is_none());
    }
    Some(merged)
}
