//! `environment`, `retry`, `allow_failure`, `coverage`: keywords of a few words that concern what happens around a job.

use super::{
    Context,
    keyword::{self, Place},
    read::given,
};
use crate::{
    expression::Pattern,
    pipeline::{AllowFailure, Environment, Retry},
    yaml::{Node, Value},
};

/// GitLab's bound on the name and the address of an environment, in characters.
const LONGEST: usize = 255;

/// GitLab's bound on tries.
const RETRIES: i64 = 2;

const FAILURES: &[(&str, &str)] = &[
    ("always", "always"),
    ("unknown_failure", "unknown_failure"),
    ("script_failure", "script_failure"),
    ("api_failure", "api_failure"),
    ("stuck_or_timeout_failure", "stuck_or_timeout_failure"),
    ("runner_system_failure", "runner_system_failure"),
    ("runner_unsupported", "runner_unsupported"),
    ("runner_provisioning_timeout", "runner_provisioning_timeout"),
    ("stale_schedule", "stale_schedule"),
    ("job_execution_timeout", "job_execution_timeout"),
    ("archived_failure", "archived_failure"),
    ("unmet_prerequisites", "unmet_prerequisites"),
    ("scheduler_failure", "scheduler_failure"),
    ("data_integrity_failure", "data_integrity_failure"),
];

pub(super) fn environment(context: &mut Context<'_>, node: &Node) -> Option<Environment> {
    const ACTIONS: &[(&str, &str)] = &[
        ("start", "start"),
        ("prepare", "prepare"),
        ("stop", "stop"),
        ("verify", "verify"),
        ("access", "access"),
    ];
    const TIERS: &[(&str, &str)] = &[
        ("production", "production"),
        ("staging", "staging"),
        ("testing", "testing"),
        ("development", "development"),
        ("other", "other"),
    ];
    let Value::Mapping(mapping) = &node.value else {
        return environment_name(context, node).map(|name| Environment {
            name,
            ..Environment::default()
        });
    };
    keyword::check(context, Place::Environment, mapping);
    let Some(name) = given(mapping, "name") else {
        context.reports.error(node.span, "`environment` needs a `name`");
        return None;
    };
    Some(Environment {
        name: environment_name(context, name)?,
        url: given(mapping, "url").and_then(|node| {
            let url = context.text(node, "url")?;
            bounded(context, node, "url", &url);
            Some(url)
        }),
        action: given(mapping, "action")
            .and_then(|node| context.word(node, "action", ACTIONS))
            .map(str::to_owned),
        on_stop: given(mapping, "on_stop").and_then(|node| context.text(node, "on_stop")),
        auto_stop_in: given(mapping, "auto_stop_in").and_then(|node| context.text(node, "auto_stop_in")),
        deployment_tier: match given(mapping, "deployment_tier") {
            Some(node) if node.as_text().is_some_and(|text| text.contains('$')) => {
                node.as_text().map(str::to_owned)
            }
            Some(node) => context.word(node, "deployment_tier", TIERS).map(str::to_owned),
            None => None,
        },
    })
}

fn environment_name(context: &mut Context<'_>, node: &Node) -> Option<String> {
    let name = context.text(node, "environment:name")?;
    bounded(context, node, "name", &name);
    let known = |character: char| character.is_ascii_alphanumeric() || "-_/${}. ".contains(character);
    if !name.chars().all(known) || name.starts_with('/') || name.ends_with('/') {
        let message = "environment name can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces, \
                       but it cannot start or end with '/'";
        context.reports.error(node.span, message);
    }
    Some(name)
}

fn bounded(context: &mut Context<'_>, node: &Node, what: &str, text: &str) {
    if text.chars().count() > LONGEST {
        let message = format!("environment {what} is too long (maximum is {LONGEST} characters)");
        context.reports.error(node.span, message);
    }
}

pub(super) fn retry(context: &mut Context<'_>, node: &Node) -> Retry {
    let Value::Mapping(mapping) = &node.value else {
        return Retry {
            max: tries(context, node),
            ..Retry::default()
        };
    };
    keyword::check(context, Place::Retry, mapping);
    let mut retry = Retry {
        max: given(mapping, "max").map_or(0, |node| tries(context, node)),
        ..Retry::default()
    };
    if let Some(node) = given(mapping, "when") {
        retry.when = one_or_many(node)
            .iter()
            .filter_map(|item| context.word(item, "when", FAILURES))
            .map(str::to_owned)
            .collect();
    }
    if let Some(node) = given(mapping, "exit_codes") {
        retry.exit_codes = exit_codes(context, node);
    }
    retry
}

fn tries(context: &mut Context<'_>, node: &Node) -> u8 {
    match node.as_integer().filter(|number| (0..=RETRIES).contains(number)) {
        Some(number) => u8::try_from(number).unwrap_or(0),
        None => {
            context
                .reports
                .error(node.span, format!("`retry` must be a number from 0 to {RETRIES}"));
            0
        }
    }
}

fn one_or_many(node: &Node) -> Vec<Node> {
    node.as_sequence()
        .map_or_else(|| vec![node.clone()], <[Node]>::to_vec)
}

fn exit_codes(context: &mut Context<'_>, node: &Node) -> Vec<i32> {
    let mut codes = Vec::new();
    for item in one_or_many(node) {
        match item.as_integer().and_then(|number| i32::try_from(number).ok()) {
            Some(code) => codes.push(code),
            None => context.expected(&item, "exit_codes", "a number or a list of numbers"),
        }
    }
    codes
}

pub(super) fn allow_failure(context: &mut Context<'_>, node: &Node) -> Option<AllowFailure> {
    if let Some(yes) = node.as_bool() {
        return Some(if yes { AllowFailure::Yes } else { AllowFailure::No });
    }
    let Some(mapping) = node.as_mapping() else {
        context.expected(
            node,
            "allow_failure",
            "`true`, `false` or a mapping with `exit_codes`",
        );
        return None;
    };
    keyword::check(context, Place::AllowFailure, mapping);
    match given(mapping, "exit_codes") {
        Some(node) => Some(AllowFailure::ExitCodes(exit_codes(context, node))),
        None => {
            context
                .reports
                .error(node.span, "`allow_failure` needs `exit_codes`");
            None
        }
    }
}

pub(super) fn coverage(context: &mut Context<'_>, node: &Node) -> Option<String> {
    let text = context.text(node, "coverage")?;
    match Pattern::parse(&text) {
        Some(Ok(_)) => Some(text),
        Some(Err(error)) => {
            context
                .reports
                .error(node.span, format!("`coverage` is no valid pattern: {error}"));
            None
        }
        None => {
            context
                .reports
                .error(node.span, "`coverage` must be a pattern between two slashes");
            None
        }
    }
}
