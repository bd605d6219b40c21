//! `only` and `except`, the way before `rules`: refs, conditions, changed files. The keys of `only` must all hold, of
//! `except` none.

use std::collections::HashMap;

use super::{
    Context,
    keyword::{self, Place},
    read::given,
    rules::condition,
};
use crate::{
    expression::Pattern,
    situation::Situation,
    variables::{Variable, expand_existing},
    yaml::{Node, Value},
};

/// Whether `only` lets the job in.
pub(super) fn only(
    context: &mut Context<'_>,
    node: &Node,
    values: &HashMap<String, String>,
    all: &[Variable],
) -> bool {
    keys(context, node, "only", values, all)
        .into_iter()
        .all(|holds| holds)
}

/// `only: [branches, tags]`, which a job has that says nothing else: it is no part of merge requests.
pub(super) fn by_default(situation: &Situation) -> bool {
    situation.is_for_branch() || situation.is_for_tag()
}

/// Whether `except` keeps it out.
pub(super) fn except(
    context: &mut Context<'_>,
    node: &Node,
    values: &HashMap<String, String>,
    all: &[Variable],
) -> bool {
    keys(context, node, "except", values, all)
        .into_iter()
        .any(|holds| holds)
}

fn keys(
    context: &mut Context<'_>,
    node: &Node,
    what: &str,
    values: &HashMap<String, String>,
    all: &[Variable],
) -> Vec<bool> {
    let Value::Mapping(mapping) = &node.value else {
        return vec![refs(context, node, what)];
    };
    keyword::check(context, Place::OnlyExcept, mapping);
    let mut holds = Vec::new();
    if let Some(node) = given(mapping, "refs") {
        holds.push(refs(context, node, what));
    } else if what == "only" {
        holds.push(by_default(context.situation));
    }
    if let Some(node) = given(mapping, "variables")
        && let Some(items) = context.list(node, "variables")
    {
        // Every expression is parsed, so that every error is found.
        let any = items
            .iter()
            .fold(false, |any, item| condition(context, item, values) | any);
        holds.push(any);
    }
    if let Some(node) = given(mapping, "changes")
        && let Some(paths) = context.texts(node, "changes")
    {
        // Without a diff `only:changes` holds and `except:changes` does not: GitLab asks for pipelines of branches and
        // merge requests only.
        let comparable = !context.situation.is_for_tag();
        let paths: Vec<String> = paths.iter().map(|path| expand_existing(path, all)).collect();
        holds.push(match (what, comparable) {
            ("only", false) => true,
            (_, false) => false,
            (_, true) => context.changed(node.span, &paths, None),
        });
    }
    holds
}

fn refs(context: &mut Context<'_>, node: &Node, what: &str) -> bool {
    let Some(patterns) = context.texts(node, what) else {
        return false;
    };
    patterns
        .iter()
        .fold(false, |any, pattern| one_ref(context, node, what, pattern) | any)
}

fn one_ref(context: &mut Context<'_>, node: &Node, what: &str, pattern: &str) -> bool {
    let situation = context.situation;
    let (pattern, project) = match pattern.split_once('@') {
        Some((pattern, project)) if !pattern.starts_with('/') || pattern.ends_with('/') => {
            (pattern, Some(project))
        }
        _ => (pattern, None),
    };
    // A merge request's pipeline has no ref that could be named: only the word for its source lets it in.
    let has_ref = situation.merge_request.is_none();
    let here = project.is_none_or(|project| project == situation.project.path);
    let matches = match pattern {
        "branches" => situation.is_for_branch(),
        "tags" => situation.is_for_tag(),
        _ if is_source(pattern, situation) => true,
        _ if context.is_spent(node.span) => false,
        _ => match Pattern::parse(pattern) {
            Some(Ok(regex)) => {
                context.effort.take_building(regex.size());
                has_ref && regex.is_match(&situation.ref_name, &context.effort)
            }
            Some(Err(error)) => {
                let message = format!(
                    "`{what}`: the pattern `{}` is not valid: {error}",
                    keyword::shorten(pattern)
                );
                context.reports.error(node.span, message);
                false
            }
            None => has_ref && pattern == situation.ref_name,
        },
    };
    here && matches
}

/// The words that stand for where a pipeline comes from: its source, or the plural of that.
fn is_source(pattern: &str, situation: &Situation) -> bool {
    let source = situation.source.as_str();
    let source = source.strip_suffix("_event").unwrap_or(source);
    let plural = if source.ends_with("sh") { "es" } else { "s" };
    pattern
        .strip_prefix(source)
        .is_some_and(|rest| rest.is_empty() || rest == plural)
}
