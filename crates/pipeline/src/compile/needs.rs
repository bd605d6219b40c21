//! `needs` and `dependencies` as written; which jobs they mean is settled in [`super::finish`], when it is known which jobs
//! there are.

use super::{
    Context,
    keyword::{self, Place, Support},
    matrix,
    read::given,
};
use crate::{
    diagnostic::Span,
    yaml::{Node, Value},
};

/// GitLab's bound.
const NEEDS: usize = 50;

/// A need as written.
#[derive(Clone, Debug)]
pub(super) struct RawNeed {
    pub(super) span: Span,
    pub(super) name: String,
    pub(super) artifacts: bool,
    pub(super) optional: bool,
    /// The copies that are meant; empty means all.
    pub(super) copies: Vec<String>,
}

pub(super) fn needs(context: &mut Context<'_>, node: &Node) -> Option<Vec<RawNeed>> {
    let items = match &node.value {
        Value::Sequence(_) => context.flat(node, "needs")?,
        // A single need without a list is what `needs: {pipeline: …}` looks like.
        Value::Mapping(_) => vec![node],
        _ => {
            context.expected(node, "needs", "a list");
            return None;
        }
    };
    if items.len() > NEEDS {
        context
            .reports
            .error(node.span, format!("`needs` has more than {NEEDS} entries"));
        return None;
    }
    Some(items.into_iter().filter_map(|item| need(context, item)).collect())
}

fn need(context: &mut Context<'_>, node: &Node) -> Option<RawNeed> {
    let Value::Mapping(mapping) = &node.value else {
        let name = context.text(node, "needs")?;
        return Some(RawNeed {
            span: node.span,
            name,
            artifacts: true,
            optional: false,
            copies: Vec::new(),
        });
    };
    keyword::check(context, Place::Need, mapping);
    if mapping.iter().any(|entry| {
        matches!(
            keyword::support(Place::Need, &entry.key),
            Some(Support::Missing(_))
        )
    }) {
        return None;
    }
    let Some(job) = given(mapping, "job") else {
        context
            .reports
            .error(node.span, "an entry of `needs` must name a `job`");
        return None;
    };
    Some(RawNeed {
        span: node.span,
        name: context.text(job, "job")?,
        artifacts: given(mapping, "artifacts")
            .and_then(|node| context.boolean(node, "artifacts"))
            .unwrap_or(true),
        optional: given(mapping, "optional")
            .and_then(|node| context.boolean(node, "optional"))
            .unwrap_or(false),
        copies: given(mapping, "parallel")
            .map(|node| matrix::suffixes(context, node))
            .unwrap_or_default(),
    })
}

/// Names in `dependencies`, each with its place.
pub(super) fn dependencies(context: &mut Context<'_>, node: &Node) -> Option<Vec<(Span, String)>> {
    let items = context.flat(node, "dependencies")?;
    Some(
        items
            .into_iter()
            .filter_map(|item| context.text(item, "dependencies").map(|name| (item.span, name)))
            .collect(),
    )
}
