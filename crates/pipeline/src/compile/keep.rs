//! `artifacts` and `cache`: what is kept of a job's files.

use std::collections::BTreeMap;

use super::{
    Context,
    keyword::{self, Place},
    read::given,
};
use crate::{
    pipeline::{Artifacts, Cache, CacheKey, KeepWhen},
    yaml::{Mapping, Node, Value},
};

/// GitLab's bounds.
const CACHES: usize = 4;
const KEY_FILES: usize = 2;
const FALLBACK_KEYS: usize = 5;

const KEEP_WHEN: &[(&str, KeepWhen)] = &[
    ("on_success", KeepWhen::OnSuccess),
    ("on_failure", KeepWhen::OnFailure),
    ("always", KeepWhen::Always),
];

/// Reports that are one file.
const ONE_FILE: &[&str] = &[
    "annotations",
    "browser_performance",
    "load_performance",
    "metrics",
    "performance",
    "repository_xray",
];

fn flag(context: &mut Context<'_>, mapping: &Mapping, key: &str) -> bool {
    given(mapping, key)
        .and_then(|node| context.boolean(node, key))
        .unwrap_or(false)
}

fn paths(context: &mut Context<'_>, mapping: &Mapping, key: &str) -> Vec<String> {
    given(mapping, key)
        .and_then(|node| context.texts(node, key))
        .unwrap_or_default()
}

fn keep_when(context: &mut Context<'_>, mapping: &Mapping) -> KeepWhen {
    given(mapping, "when")
        .and_then(|node| context.word(node, "when", KEEP_WHEN))
        .unwrap_or_default()
}

pub(super) fn artifacts(context: &mut Context<'_>, node: &Node) -> Option<Artifacts> {
    let mapping = context.mapping(node, "artifacts")?;
    keyword::check(context, Place::Artifacts, mapping);
    let mut artifacts = Artifacts {
        name: given(mapping, "name").and_then(|node| context.any_text(node, "name")),
        paths: paths(context, mapping, "paths"),
        exclude: paths(context, mapping, "exclude"),
        untracked: flag(context, mapping, "untracked"),
        when: keep_when(context, mapping),
        expire_in: None,
        reports: BTreeMap::new(),
    };
    if let Some(node) = given(mapping, "expire_in") {
        let text = node.as_scalar().map(crate::yaml::Scalar::text);
        let valid = text.as_deref() == Some("never") || context.duration(node, "expire_in").is_some();
        artifacts.expire_in = text.filter(|_| valid);
    }
    visibility(context, mapping);
    if let Some(node) = given(mapping, "reports")
        && let Some(reports) = context.mapping(node, "reports")
    {
        keyword::check(context, Place::Reports, reports);
        for entry in reports.iter().filter(|entry| !entry.value.is_null()) {
            if let Some((kind, paths)) = report(context, &entry.key, &entry.value) {
                artifacts.reports.insert(kind, paths);
            }
        }
    }
    Some(artifacts)
}

/// Who may see them: checked, though the project decides.
fn visibility(context: &mut Context<'_>, mapping: &Mapping) {
    const ACCESS: &[(&str, ())] = &[("all", ()), ("developer", ()), ("maintainer", ()), ("none", ())];
    if let Some(node) = given(mapping, "public") {
        context.boolean(node, "public");
        if given(mapping, "access").is_some() {
            context.conflict(node.span, "public", "access");
        }
    }
    if let Some(node) = given(mapping, "access") {
        context.word(node, "access", ACCESS);
    }
    if let Some(node) = given(mapping, "expose_as") {
        context.text(node, "expose_as");
        if given(mapping, "paths").is_none() {
            context.reports.error(node.span, "`expose_as` needs `paths`");
        }
    }
}

fn report(context: &mut Context<'_>, kind: &str, node: &Node) -> Option<(String, Vec<String>)> {
    if kind == "coverage_report" {
        const FORMATS: &[(&str, &str)] = &[("cobertura", "cobertura"), ("jacoco", "jacoco")];
        let mapping = context.mapping(node, kind)?;
        let (Some(format), Some(path)) = (given(mapping, "coverage_format"), given(mapping, "path")) else {
            context
                .reports
                .error(node.span, "`coverage_report` needs `coverage_format` and `path`");
            return None;
        };
        let format = context.word(format, "coverage_format", FORMATS)?;
        return Some((format.to_owned(), vec![context.text(path, "path")?]));
    }
    let paths = if ONE_FILE.contains(&kind) {
        vec![context.text(node, kind)?]
    } else {
        context.text_or_texts(node, kind)?
    };
    Some((kind.to_owned(), paths))
}

pub(super) fn caches(context: &mut Context<'_>, node: &Node) -> Vec<Cache> {
    let items = match &node.value {
        Value::Sequence(_) => context.flat(node, "cache").unwrap_or_default(),
        _ => vec![node],
    };
    if items.len() > CACHES {
        context
            .reports
            .error(node.span, format!("`cache` has more than {CACHES} entries"));
        return Vec::new();
    }
    items
        .into_iter()
        .filter_map(|item| cache(context, item))
        .collect()
}

fn cache(context: &mut Context<'_>, node: &Node) -> Option<Cache> {
    let mapping = context.mapping(node, "cache")?;
    keyword::check(context, Place::Cache, mapping);
    // `cache: {}` turns an inherited cache off.
    if mapping.is_empty() {
        return None;
    }
    let key = given(mapping, "key").and_then(|node| cache_key(context, node));
    let cache = Cache {
        key: key.unwrap_or_else(|| CacheKey::Text("default".to_owned())),
        fallback_keys: paths(context, mapping, "fallback_keys"),
        paths: paths(context, mapping, "paths"),
        untracked: flag(context, mapping, "untracked"),
        unprotect: flag(context, mapping, "unprotect"),
        policy: given(mapping, "policy")
            .and_then(|node| policy(context, node))
            .unwrap_or("pull-push".to_owned()),
        when: keep_when(context, mapping),
    };
    if cache.fallback_keys.len() > FALLBACK_KEYS {
        context.reports.error(
            node.span,
            format!("`fallback_keys` has more than {FALLBACK_KEYS} entries"),
        );
    }
    (!cache.paths.is_empty() || cache.untracked).then_some(cache)
}

fn policy(context: &mut Context<'_>, node: &Node) -> Option<String> {
    const POLICIES: &[(&str, &str)] = &[("pull-push", "pull-push"), ("pull", "pull"), ("push", "push")];
    match node.as_text() {
        Some(text) if text.contains('$') => Some(text.to_owned()),
        _ => context.word(node, "policy", POLICIES).map(str::to_owned),
    }
}

fn cache_key(context: &mut Context<'_>, node: &Node) -> Option<CacheKey> {
    let Value::Mapping(mapping) = &node.value else {
        let text = match node.as_scalar() {
            Some(scalar) if node.as_text().is_some() || node.as_integer().is_some() => scalar.text(),
            _ => {
                context.expected(node, "key", "a string or a mapping with `files`");
                return None;
            }
        };
        return valid_key(context, node, &text).then_some(CacheKey::Text(text));
    };
    keyword::check(context, Place::CacheKey, mapping);
    let prefix = given(mapping, "prefix").and_then(|node| {
        let text = context.any_text(node, "prefix")?;
        valid_key(context, node, &text).then_some(text)
    });
    let (list, by_commit) = match (given(mapping, "files"), given(mapping, "files_commits")) {
        (Some(found), Some(_)) => {
            context.conflict(found.span, "files", "files_commits");
            return None;
        }
        (Some(files), None) => (files, false),
        (None, Some(files)) => (files, true),
        (None, None) => {
            context.reports.error(node.span, "`key` needs `files`");
            return None;
        }
    };
    let files = context.texts(list, "files")?;
    if files.is_empty() || files.len() > KEY_FILES {
        context
            .reports
            .error(list.span, format!("`files` takes one or {KEY_FILES} paths"));
        return None;
    }
    Some(CacheKey::Files {
        files,
        prefix,
        by_commit,
    })
}

/// Keys become directory names.
fn valid_key(context: &mut Context<'_>, node: &Node, text: &str) -> bool {
    let plain = text
        .replace("%2F", "/")
        .replace("%2f", "/")
        .replace("%2E", ".")
        .replace("%2e", ".");
    if plain.contains('/') {
        context.reports.error(node.span, "a cache key cannot contain `/`");
        return false;
    }
    if plain == "." || plain == ".." {
        context
            .reports
            .error(node.span, format!("a cache key cannot be `{plain}`"));
        return false;
    }
    true
}
