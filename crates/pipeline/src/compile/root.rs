//! The top of the configuration: stages, defaults, variables, workflow, and which keys are jobs.

use std::sync::Arc;

use super::{
    Context,
    keyword::{self, Place, Support},
    read::{entry, given},
    rules::{self, Verdict},
    variables::{self as yaml_variables, Level, overlay},
};
use crate::{
    diagnostic::Span,
    pipeline::OnJobFailure,
    variables::{self, Variable, expand, predefined},
    yaml::{Entry, Mapping, Node},
};

const DEFAULT_STAGES: [&str; 3] = ["build", "test", "deploy"];

/// Keys of `default` that also stand at the top, in the old way.
const TOP_LEVEL_DEFAULTS: [&str; 5] = ["image", "services", "cache", "before_script", "after_script"];

/// The configuration around the jobs.
pub(super) struct Root {
    pub(super) span: Span,
    pub(super) stages: Vec<String>,
    pub(super) default: Mapping,
    /// Variables of the whole pipeline.
    pub(super) variables: Vec<Variable>,
    /// Those of the workflow rule that holds.
    pub(super) workflow_variables: Vec<Variable>,
    /// Whether `workflow:rules` is given, without which jobs are for branches and tags only.
    pub(super) has_workflow_rules: bool,
    pub(super) predefined: Vec<Variable>,
    pub(super) name: Option<String>,
    pub(super) on_job_failure: OnJobFailure,
    pub(super) jobs: Vec<Entry>,
    /// Names of hidden and excluded things, for hints.
    pub(super) all_names: Vec<Arc<str>>,
}

pub(super) fn read(context: &mut Context<'_>, node: &Node, config_path: &str) -> Option<Root> {
    let mapping = node.as_mapping()?;
    let mut root = Root {
        span: node.span,
        stages: stages(context, mapping),
        default: default(context, mapping),
        variables: given(mapping, "variables")
            .map(|node| yaml_variables::read(context, node, Level::Root))
            .unwrap_or_default(),
        workflow_variables: Vec::new(),
        has_workflow_rules: false,
        predefined: predefined::pipeline(context.situation, config_path),
        name: None,
        on_job_failure: OnJobFailure::None,
        jobs: Vec::new(),
        all_names: mapping.iter().map(|entry| Arc::clone(&entry.key)).collect(),
    };
    for entry in mapping.iter() {
        classify(context, &mut root, entry);
        if context.reports.is_full() {
            return None;
        }
    }
    let runs = workflow(context, mapping, &mut root);
    if root.jobs.is_empty() {
        context.reports.error_with_help(
            Span::whole(node.span.file),
            "jobs config should contain at least one visible job",
            "a job is a mapping with a `script`; names that begin with a dot are hidden",
        );
        return None;
    }
    // Errors so far do not keep the jobs from being looked at: all is said at once.
    runs.then_some(root)
}

/// A key at the top is a keyword, a hidden thing or a job.
fn classify(context: &mut Context<'_>, root: &mut Root, entry: &Entry) {
    let name = &*entry.key;
    match keyword::support(Place::Root, name) {
        Some(Support::Missing(why)) => {
            context.unsupported(entry.key_span, &format!("`{name}` is not supported: {why}"));
            return;
        }
        Some(_) => return,
        None if name.starts_with('.') => return,
        None => {}
    }
    if entry.value.as_mapping().is_some() {
        root.jobs.push(entry.clone());
        return;
    }
    let shown = keyword::shorten(name);
    if keyword::support(Place::Job, name).is_some() {
        let help = "indent it below the name of a job";
        context.reports.error_with_help(
            entry.key_span,
            format!("`{shown}` stands outside of any job"),
            help,
        );
    } else {
        let message = format!(
            "`{shown}` must be a job, a mapping with a `script`; it is {}",
            entry.value.kind()
        );
        match keyword::nearest(
            name,
            TOP_LEVEL_DEFAULTS
                .into_iter()
                .chain(["stages", "variables", "include", "workflow"]),
        ) {
            Some(near) => {
                context
                    .reports
                    .error_with_help(entry.key_span, message, format!("did you mean `{near}`?"));
            }
            None => context.reports.error(entry.key_span, message),
        }
    }
}

fn stages(context: &mut Context<'_>, mapping: &Mapping) -> Vec<String> {
    let written: Option<Vec<String>> = given(mapping, "stages").and_then(|node| {
        let items = context.flat(node, "stages")?;
        Some(
            items
                .into_iter()
                .filter_map(|item| context.text(item, "stages"))
                .collect(),
        )
    });
    let written = written.unwrap_or_else(|| DEFAULT_STAGES.map(str::to_owned).to_vec());
    let mut stages = vec![".pre".to_owned()];
    for stage in written {
        if stage != ".post" && !stages.contains(&stage) {
            stages.push(stage);
        }
        if stages.len() > 1000 {
            break;
        }
    }
    stages.push(".post".to_owned());
    stages
}

fn default(context: &mut Context<'_>, mapping: &Mapping) -> Mapping {
    let mut default = Mapping::default();
    if let Some(node) = given(mapping, "default")
        && let Some(given) = context.mapping(node, "default")
    {
        keyword::check(context, Place::Default, given);
        default = given.clone();
    }
    for key in TOP_LEVEL_DEFAULTS {
        if let Some(found) = entry(mapping, key) {
            if entry(&default, key).is_some() {
                let message = format!("`{key}` is given at the top and in `default`");
                context
                    .reports
                    .error_with_help(found.key_span, message, "keep the one in `default`");
            }
            default.set(found.clone());
        }
    }
    default
}

/// Whether there is a pipeline at all.
fn workflow(context: &mut Context<'_>, mapping: &Mapping, root: &mut Root) -> bool {
    let Some(node) = given(mapping, "workflow") else {
        return true;
    };
    let Some(workflow) = context.mapping(node, "workflow") else {
        return false;
    };
    keyword::check(context, Place::Workflow, workflow);
    if let Some(node) = given(workflow, "auto_cancel") {
        root.on_job_failure = auto_cancel(context, node, Place::AutoCancel);
    }
    let mut all = root.predefined.clone();
    all.extend(root.variables.iter().cloned());
    all.extend(context.situation.variables.iter().cloned());
    all.extend(context.situation.pipeline_variables.iter().cloned());
    if let Some(node) = given(workflow, "rules") {
        root.has_workflow_rules = true;
        let values = variables::values(&all);
        match rules::evaluate(context, node, Place::WorkflowRule, &values, &all) {
            Verdict::Matched(rule) if !rule.never => {
                if let Some(node) = &rule.auto_cancel {
                    root.on_job_failure = auto_cancel(context, node, Place::RuleAutoCancel);
                }
                root.workflow_variables = rule.variables;
                overlay(&mut all, root.workflow_variables.iter().cloned());
            }
            Verdict::Empty => {}
            Verdict::Matched(_) | Verdict::NoMatch => {
                if !context.reports.has_errors() {
                    context.reports.error_with_help(
                        node.span,
                        "pipeline filtered out by workflow rules",
                        "no rule of `workflow` lets a pipeline run for this ref and source",
                    );
                }
                return false;
            }
        }
    }
    if let Some(node) = given(workflow, "name") {
        root.name = context.text(node, "name").map(|name| expand(&name, &all));
    }
    true
}

fn auto_cancel(context: &mut Context<'_>, node: &Node, place: Place) -> OnJobFailure {
    const ON_JOB_FAILURE: &[(&str, OnJobFailure)] =
        &[("none", OnJobFailure::None), ("all", OnJobFailure::All)];
    const ON_NEW_COMMIT: &[(&str, ())] = &[("conservative", ()), ("interruptible", ()), ("none", ())];
    let Some(mapping) = context.mapping(node, "auto_cancel") else {
        return OnJobFailure::None;
    };
    keyword::check(context, place, mapping);
    if let Some(node) = given(mapping, "on_new_commit") {
        context.word(node, "on_new_commit", ON_NEW_COMMIT);
    }
    given(mapping, "on_job_failure")
        .and_then(|node| context.word(node, "on_job_failure", ON_JOB_FAILURE))
        .unwrap_or_default()
}
