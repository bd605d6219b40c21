//! `rules` of jobs, of `workflow` and of `include`: all are checked, the first that holds counts.

use std::{collections::HashMap, time::Duration};

use super::{
    Context,
    keyword::{self, Place},
    read::{entry, given},
    variables::{self as yaml_variables, Level},
};
use crate::{
    diagnostic::Span,
    expression::{Expression, Scope},
    pipeline::{AllowFailure, When},
    variables::{Variable, expand_existing},
    yaml::{Mapping, Node, Value},
};

/// GitLab's bound on globs of one `changes` or `exists`.
const GLOBS: usize = 50;

/// What the rule that holds asks for.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) span: Option<Span>,
    pub(super) never: bool,
    pub(super) when: Option<When>,
    pub(super) start_in: Option<Duration>,
    pub(super) allow_failure: Option<AllowFailure>,
    pub(super) interruptible: Option<bool>,
    pub(super) variables: Vec<Variable>,
    pub(super) needs: Option<Node>,
    pub(super) auto_cancel: Option<Node>,
}

/// The outcome of a list of rules.
#[derive(Debug)]
pub(super) enum Verdict {
    Matched(Box<Rule>),
    NoMatch,
    /// The list is empty, which is as if there were none.
    Empty,
}

/// Evaluates a list of rules; `values` is what `if` sees, `all` what globs may refer to.
pub(super) fn evaluate(
    context: &mut Context<'_>,
    node: &Node,
    place: Place,
    values: &HashMap<String, String>,
    all: &[Variable],
) -> Verdict {
    let Some(items) = context.flat(node, "rules") else {
        return Verdict::NoMatch;
    };
    if items.is_empty() {
        return Verdict::Empty;
    }
    let mut verdict = Verdict::NoMatch;
    for item in items {
        let Some(mapping) = context.mapping(item, "rules") else {
            continue;
        };
        keyword::check(
            context,
            if place == Place::Include {
                Place::WorkflowRule
            } else {
                place
            },
            mapping,
        );
        let holds = holds(context, mapping, values, all);
        let rule = Rule {
            span: Some(item.span),
            ..read(context, mapping, place)
        };
        if holds && matches!(verdict, Verdict::NoMatch) {
            verdict = Verdict::Matched(Box::new(rule));
        }
        if context.reports.is_full() {
            break;
        }
    }
    verdict
}

fn holds(
    context: &mut Context<'_>,
    mapping: &Mapping,
    values: &HashMap<String, String>,
    all: &[Variable],
) -> bool {
    let mut holds = true;
    if let Some(node) = mapping.get("if") {
        holds &= condition(context, node, values);
    }
    if let Some(found) = mapping.entry("changes") {
        let paths = globs(context, &found.value, "changes", Place::Changes, all);
        let compare_to = found
            .value
            .get("compare_to")
            .and_then(|node| context.text(node, "compare_to"))
            .map(|text| expand_existing(&text, all));
        if let Some(paths) = paths {
            // Asking the repository costs time: only when it can make a difference.
            holds = holds && context.changed(found.key_span, &paths, compare_to.as_deref());
        }
    }
    if let Some(found) = mapping.entry("exists")
        && let Some(paths) = globs(context, &found.value, "exists", Place::Exists, all)
    {
        holds = holds && context.exists(found.key_span, &paths);
    }
    holds
}

/// The verdict of an `if`; false when it is no expression or one too many, which is an error.
pub(super) fn condition(context: &mut Context<'_>, node: &Node, values: &HashMap<String, String>) -> bool {
    let Some(text) = context.any_text(node, "if") else {
        return false;
    };
    if context.is_spent(node.span) {
        return false;
    }
    match Expression::parse(&text) {
        Ok(expression) => {
            let holds = expression.is_true(Scope {
                variables: values,
                inputs: &context.situation.inputs,
                effort: &context.effort,
            });
            !context.is_spent(node.span) && holds
        }
        Err(error) => {
            let message = format!(
                "invalid expression syntax in `{}`: {error}",
                keyword::shorten(&text)
            );
            let span = inside(node, &text, error.offset);
            match error.help {
                Some(help) => context.reports.error_with_help(span, message, help),
                None => context.reports.error(span, message),
            }
            false
        }
    }
}

/// The place of a character of a scalar, where the scalar stands in its line as it is.
fn inside(node: &Node, text: &str, offset: usize) -> Span {
    let offset = if text.contains('\n') { 0 } else { offset };
    Span {
        column: node
            .span
            .column
            .saturating_add(u32::try_from(offset).unwrap_or(0)),
        ..node.span
    }
}

fn globs(
    context: &mut Context<'_>,
    node: &Node,
    what: &str,
    place: Place,
    all: &[Variable],
) -> Option<Vec<String>> {
    let list = match &node.value {
        Value::Mapping(mapping) => {
            keyword::check(context, place, mapping);
            match given(mapping, "paths") {
                Some(paths) => paths,
                None => {
                    context
                        .reports
                        .error(node.span, format!("`{what}` needs `paths`"));
                    return None;
                }
            }
        }
        _ => node,
    };
    let globs = context.texts(list, what)?;
    if globs.len() > GLOBS {
        context
            .reports
            .error(list.span, format!("`{what}` has more than {GLOBS} entries"));
        return None;
    }
    Some(globs.iter().map(|glob| expand_existing(glob, all)).collect())
}

const JOB_WHEN: &[(&str, Option<When>)] = &[
    ("on_success", Some(When::OnSuccess)),
    ("on_failure", Some(When::OnFailure)),
    ("always", Some(When::Always)),
    ("manual", Some(When::Manual)),
    ("delayed", Some(When::Delayed)),
    ("never", None),
];

const WORKFLOW_WHEN: &[(&str, Option<When>)] = &[("always", Some(When::Always)), ("never", None)];

fn read(context: &mut Context<'_>, mapping: &Mapping, place: Place) -> Rule {
    let mut rule = Rule::default();
    let words = if place == Place::Rule {
        JOB_WHEN
    } else {
        WORKFLOW_WHEN
    };
    if let Some(node) = given(mapping, "when")
        && let Some(when) = context.word(node, "when", words)
    {
        rule.never = when.is_none();
        rule.when = when;
    }
    rule.start_in = start_in(context, mapping, rule.when);
    if let Some(node) = given(mapping, "allow_failure") {
        rule.allow_failure = context
            .boolean(node, "allow_failure")
            .map(|yes| if yes { AllowFailure::Yes } else { AllowFailure::No });
    }
    rule.interruptible =
        given(mapping, "interruptible").and_then(|node| context.boolean(node, "interruptible"));
    if let Some(node) = given(mapping, "variables") {
        rule.variables = yaml_variables::read(context, node, Level::Job);
    }
    rule.needs = given(mapping, "needs").cloned();
    rule.auto_cancel = given(mapping, "auto_cancel").cloned();
    rule
}

/// `start_in` and `when: delayed` need each other.
pub(super) fn start_in(context: &mut Context<'_>, mapping: &Mapping, when: Option<When>) -> Option<Duration> {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    match (entry(mapping, "start_in"), when) {
        (Some(found), Some(When::Delayed)) => {
            let duration = context.duration(&found.value, "start_in")?;
            if duration > WEEK {
                context
                    .reports
                    .error(found.value.span, "`start_in` must not exceed one week");
                return None;
            }
            Some(duration)
        }
        (Some(found), _) => {
            context
                .reports
                .error(found.key_span, "`start_in` is only for `when: delayed`");
            None
        }
        (None, Some(When::Delayed)) => {
            if let Some(when) = entry(mapping, "when") {
                context
                    .reports
                    .error(when.key_span, "`when: delayed` needs `start_in`");
            }
            None
        }
        (None, _) => None,
    }
}
