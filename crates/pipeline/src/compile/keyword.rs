//! Every keyword of GitLab's language, where it may stand, and what becomes of it here. One table, so that "do we know
//! this?" has one answer: what is not in it is a typing error and gets a suggestion; what changes a pipeline and is not
//! supported yet stops it (unless the caller allows it), never passes in silence.

use super::Context;
use crate::yaml::{Entry, Mapping};

/// Where a keyword stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Root,
    Default,
    Job,
    Workflow,
    WorkflowRule,
    AutoCancel,
    Rule,
    RuleAutoCancel,
    Changes,
    Exists,
    OnlyExcept,
    Variable,
    Image,
    Docker,
    Service,
    Artifacts,
    Reports,
    Cache,
    CacheKey,
    Need,
    NeedParallel,
    Parallel,
    Environment,
    Retry,
    AllowFailure,
    Inherit,
    Hooks,
    Include,
    Spec,
    Input,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Support {
    /// It works.
    Full,
    /// It has no effect here and needs none for the jobs to do their work; the text says why, an empty one that nothing need be said.
    Harmless(&'static str),
    /// Leaving it out would change what runs; the text says what is missing.
    Missing(&'static str),
    /// It only says more about the keyword that is named here, and stands or falls with it.
    Refines(&'static str),
}

use Place::{
    AllowFailure, Artifacts, AutoCancel, Cache, CacheKey, Changes, Default, Docker, Environment, Exists,
    Hooks, Image, Include, Inherit, Input, Job, Need, NeedParallel, OnlyExcept, Parallel, Reports, Retry,
    Root, Rule, RuleAutoCancel, Service, Spec, Variable, Workflow, WorkflowRule,
};
use Support::{Full, Harmless, Missing, Refines};

const NO_NEWER: &str = "pipelines are not cancelled by newer ones here";
const OTHER_PROJECT: &str = "files and artifacts of other projects cannot be fetched";
const NO_IDENTITY: &str = "identity tokens are not issued";
const NO_KUBERNETES: &str = "jobs do not run on Kubernetes";

const TABLE: &[(Place, &[&str], Support)] = &[
    (
        Root,
        &["default", "stages", "variables", "workflow", "include"],
        Full,
    ),
    (
        Root,
        &["image", "services", "cache", "before_script", "after_script"],
        Full,
    ),
    (
        Root,
        &["spec"],
        Missing("it stands in a document of its own, above a line `---`"),
    ),
    (
        Root,
        &["types"],
        Missing("GitLab 15 removed it; it is called `stages` now"),
    ),
    (
        Default,
        &[
            "after_script",
            "artifacts",
            "before_script",
            "cache",
            "hooks",
            "image",
            "interruptible",
        ],
        Full,
    ),
    (Default, &["retry", "services", "tags"], Full),
    (
        Default,
        &["timeout"],
        Harmless("GitLab does not hand it down to the jobs"),
    ),
    (Default, &["id_tokens", "identity"], Missing(NO_IDENTITY)),
    (
        Job,
        &[
            "after_script",
            "allow_failure",
            "artifacts",
            "before_script",
            "cache",
            "coverage",
        ],
        Full,
    ),
    (
        Job,
        &[
            "dependencies",
            "environment",
            "except",
            "extends",
            "hooks",
            "image",
            "inherit",
            "interruptible",
        ],
        Full,
    ),
    (
        Job,
        &[
            "needs",
            "only",
            "parallel",
            "resource_group",
            "retry",
            "rules",
            "script",
            "services",
            "stage",
        ],
        Full,
    ),
    (Job, &["start_in", "tags", "timeout", "variables", "when"], Full),
    (
        Job,
        &["dast_configuration"],
        Harmless("GitLab's scanner profiles do not exist here"),
    ),
    (
        Job,
        &["manual_confirmation"],
        Harmless("starting the job asks nothing"),
    ),
    (
        Job,
        &["pages", "publish"],
        Harmless("pages are not published; the artifacts are kept"),
    ),
    (Job, &["inputs"], Missing("job inputs are not supported")),
    (Job, &["id_tokens", "identity"], Missing(NO_IDENTITY)),
    (Job, &["release"], Missing("releases are not created")),
    (Job, &["run"], Missing("steps are not supported, only `script`")),
    (Job, &["secrets"], Missing("secrets are not fetched from vaults")),
    (Job, &["trigger"], Missing("other pipelines are not started")),
    (
        Job,
        &["type"],
        Missing("GitLab 15 removed it; it is called `stage` now"),
    ),
    (Workflow, &["name", "rules", "auto_cancel"], Full),
    (AutoCancel, &["on_job_failure"], Full),
    (AutoCancel, &["on_new_commit"], Harmless(NO_NEWER)),
    (
        WorkflowRule,
        &["if", "changes", "exists", "when", "variables", "auto_cancel"],
        Full,
    ),
    (RuleAutoCancel, &["on_job_failure"], Full),
    (RuleAutoCancel, &["on_new_commit"], Harmless(NO_NEWER)),
    (
        Rule,
        &[
            "if",
            "changes",
            "exists",
            "when",
            "variables",
            "allow_failure",
            "start_in",
            "needs",
        ],
        Full,
    ),
    (Rule, &["interruptible"], Full),
    (Changes, &["paths", "compare_to"], Full),
    (Exists, &["paths"], Full),
    (Exists, &["project"], Missing(OTHER_PROJECT)),
    (Exists, &["ref"], Refines("project")),
    (OnlyExcept, &["refs", "variables", "changes"], Full),
    (OnlyExcept, &["kubernetes"], Missing(NO_KUBERNETES)),
    (Variable, &["value", "expand"], Full),
    (Variable, &["description", "options"], Harmless("")),
    (Image, &["name", "entrypoint", "pull_policy", "docker"], Full),
    (Image, &["kubernetes"], Harmless(NO_KUBERNETES)),
    (Docker, &["platform", "user"], Full),
    (
        Service,
        &[
            "name",
            "alias",
            "entrypoint",
            "command",
            "variables",
            "pull_policy",
            "docker",
        ],
        Full,
    ),
    (Service, &["kubernetes"], Harmless(NO_KUBERNETES)),
    (
        Artifacts,
        &[
            "paths",
            "exclude",
            "name",
            "untracked",
            "when",
            "expire_in",
            "reports",
        ],
        Full,
    ),
    (
        Artifacts,
        &["expose_as", "public", "access"],
        Harmless("who may see artifacts is decided by the project"),
    ),
    (Reports, &["dotenv"], Full),
    (
        Reports,
        &[
            "accessibility",
            "annotations",
            "api_fuzzing",
            "browser_performance",
            "cluster_image_scanning",
            "codequality",
            "container_scanning",
            "coverage_fuzzing",
            "coverage_report",
            "cyclonedx",
            "dast",
            "dependency_scanning",
            "junit",
            "license_scanning",
            "load_performance",
            "lsif",
            "metrics",
            "performance",
            "repository_xray",
            "requirements",
            "requirements_v2",
            "sast",
            "secret_detection",
            "terraform",
        ],
        Full,
    ),
    (
        Cache,
        &[
            "key",
            "paths",
            "untracked",
            "unprotect",
            "policy",
            "when",
            "fallback_keys",
        ],
        Full,
    ),
    (CacheKey, &["files", "files_commits", "prefix"], Full),
    (Need, &["job", "artifacts", "optional", "parallel"], Full),
    (Need, &["project", "pipeline"], Missing(OTHER_PROJECT)),
    (Need, &["ref"], Refines("project")),
    (NeedParallel, &["matrix"], Full),
    (Parallel, &["matrix"], Full),
    (Environment, &["name", "url", "action", "deployment_tier"], Full),
    (
        Environment,
        &["on_stop", "auto_stop_in"],
        Harmless("environments are not stopped"),
    ),
    (Environment, &["kubernetes"], Harmless(NO_KUBERNETES)),
    (Retry, &["max", "when", "exit_codes"], Full),
    (AllowFailure, &["exit_codes"], Full),
    (Inherit, &["default", "variables"], Full),
    (Hooks, &["pre_get_sources_script"], Full),
    (Include, &["local", "rules", "template"], Full),
    (Include, &["project"], Missing(OTHER_PROJECT)),
    (Include, &["file", "ref"], Refines("project")),
    (
        Include,
        &["remote", "integrity"],
        Missing("files of other servers cannot be included"),
    ),
    (Include, &["component"], Missing("components cannot be included")),
    (Include, &["inputs"], Full),
    (Spec, &["inputs", "description"], Full),
    (Spec, &["component"], Missing("components cannot be included")),
    (
        Spec,
        &["include"],
        Missing("inputs cannot be declared in other files"),
    ),
    (Input, &["type", "default", "options", "regex"], Full),
    (Input, &["description"], Harmless("")),
    (Input, &["rules"], Missing("inputs do not depend on one another")),
];

/// What is known of a keyword at a place.
pub(crate) fn support(place: Place, keyword: &str) -> Option<Support> {
    TABLE
        .iter()
        .find(|(at, words, _)| *at == place && words.contains(&keyword))
        .map(|(_, _, support)| *support)
}

fn known(place: Place) -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .filter(move |(at, ..)| *at == place)
        .flat_map(|(_, words, _)| words.iter().copied())
}

/// Checks the keys of a mapping; what remains for the caller are the supported ones.
pub(crate) fn check(context: &mut Context<'_>, place: Place, mapping: &Mapping) {
    for entry in mapping.iter() {
        if context.reports.is_full() {
            return;
        }
        check_one(context, place, mapping, entry);
    }
}

fn check_one(context: &mut Context<'_>, place: Place, mapping: &Mapping, entry: &Entry) {
    let keyword = &*entry.key;
    match support(place, keyword) {
        Some(Full | Harmless("")) => {}
        Some(Harmless(why)) => {
            context
                .reports
                .warn(entry.key_span, format!("`{keyword}` has no effect: {why}"), None);
        }
        Some(Missing(why)) => {
            context.unsupported(entry.key_span, &format!("`{keyword}` is not supported: {why}"));
        }
        Some(Refines(other)) => {
            if mapping.iter().all(|entry| &*entry.key != other) {
                let message = format!("`{keyword}` needs `{other}` beside it");
                context.reports.error(entry.key_span, message);
            }
        }
        None => {
            let message = format!("unknown keyword `{}`", shorten(keyword));
            match nearest(keyword, known(place)) {
                Some(word) => {
                    let help = format!("did you mean `{word}`?");
                    context.reports.error_with_help(entry.key_span, message, help);
                }
                None => {
                    let words: Vec<String> = known(place).take(12).map(|word| format!("`{word}`")).collect();
                    let more = if known(place).count() > words.len() {
                        ", …"
                    } else {
                        ""
                    };
                    let help = format!("known here: {}{more}", words.join(", "));
                    context.reports.error_with_help(entry.key_span, message, help);
                }
            }
        }
    }
}

/// A name as it fits into a message.
pub(crate) fn shorten(name: &str) -> String {
    if name.chars().count() <= 80 {
        return name.to_owned();
    }
    let start: String = name.chars().take(77).collect();
    format!("{start}...")
}

/// Words compared at most: a file may name any number of jobs.
const CANDIDATES: usize = 1000;

/// The word that was probably meant: the nearest by edit distance, if it is near enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let bound = word.chars().count().div_ceil(3).min(3);
    candidates
        .filter(|candidate| candidate.len() <= 64)
        .take(CANDIDATES)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two short words, a swap of neighbours counting as one.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&row, j) + usize::from(a != b))
                .min(at(&row, j + 1) + 1)
                .min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probable_word_is_found() {
        for (word, expected) in [
            ("scripts", Some("script")),
            ("srcipt", Some("script")),
            ("afterscript", Some("after_script")),
            ("enviroment", Some("environment")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(word, known(Job)), expected, "{word}");
        }
    }

    #[test]
    fn no_keyword_stands_twice_at_a_place() {
        let mut seen = std::collections::HashSet::new();
        for (place, words, _) in TABLE {
            for word in *words {
                assert!(seen.insert((format!("{place:?}"), *word)), "{place:?} {word}");
            }
        }
    }
}
