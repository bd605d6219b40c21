//! COPY and ADD of what the ignore file leaves out of the context, which the build would not find.

use super::findings::Here;
use super::rule::Rule;
use crate::dockerfile::Step;
use crate::ignore::IgnoreList;

/// One source from the context, variables expanded.
///
/// A list with exceptions is not judged: a folder that it leaves out may hold what it takes in again.
pub(super) fn check(step: &Step, source: &str, ignore: &IgnoreList, here: &mut Here<'_, '_>) {
    if ignore.has_exceptions() || is_fetched(source) {
        return;
    }
    let path = cleaned(source);
    let is_ignored = if path.is_empty() {
        ignore.leaves_nothing()
    } else {
        ignore.ignores(&path)
    };
    if is_ignored {
        let keyword = step.written.keyword.to_ascii_uppercase();
        let shown = if path.is_empty() { "." } else { &path };
        let detail = format!("{keyword} of `{shown}`, which the ignore file leaves out of the context");
        here.add(Rule::CopyIgnoredFile, &step.location, detail);
    }
}

/// What ADD gets from elsewhere.
fn is_fetched(source: &str) -> bool {
    let has_scheme = source
        .split_once("://")
        .is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "git" | "ssh"));
    has_scheme || source.starts_with("git@")
}

/// Relative to the context, without `.` and `..`; empty for the context itself.
fn cleaned(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
