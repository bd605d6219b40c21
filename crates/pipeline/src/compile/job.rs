//! One job of the file → the jobs of the pipeline: defaults, keywords, copies, rules.
//!
//! A job that its rules exclude is checked all the same: an error in it is an error on every branch.

use std::collections::{HashMap, HashSet};

use super::{
    Context, deploy, image, keep,
    keyword::{self, Place, Support},
    matrix::{self, Copy},
    needs::{self, RawNeed},
    only,
    read::{entry, given},
    root::Root,
    rules::{self, Rule, Verdict, start_in},
    variables::{self as yaml_variables, Level, overlay},
};
use crate::{
    diagnostic::Span,
    left_out::{Exclusion, LeftOut},
    name::{JobName, StageName},
    pipeline::{AllowFailure, Environment, Job, Retry, When},
    variables::{self, Variable, expand, predefined},
    yaml::{Entry, Mapping, Node},
};

/// Jobs of one pipeline; GitLab leaves the bound to the administrator.
const JOBS: usize = 10_000;

/// Jobs that the files may describe, copies and what rules leave out included: each is looked at.
const DESCRIBED: usize = 2 * JOBS;

/// GitLab's bound on tags.
const TAGS: usize = 50;

/// A job before it is known which others there are.
pub(super) struct Draft {
    pub(super) job: Job,
    pub(super) span: Span,
    pub(super) needs: Option<Vec<RawNeed>>,
    pub(super) dependencies: Option<Vec<(Span, String)>>,
}

/// All jobs that run, and what was declared.
pub(super) struct Drafts {
    pub(super) jobs: Vec<Draft>,
    /// Jobs of the file.
    pub(super) declared: HashMap<String, Declared>,
    /// The name of every copy, with the job of the file that it is a copy of.
    pub(super) copies: HashMap<String, String>,
    /// Jobs that do not run, [`JOBS`] at most.
    pub(super) left_out: Vec<LeftOut>,
}

pub(super) struct Declared {
    pub(super) stage: usize,
    /// As it is written.
    pub(super) environment: Option<Environment>,
    /// Where its `on_stop` stands.
    pub(super) on_stop: Option<Span>,
}

pub(super) fn compile(context: &mut Context<'_>, root: &Root) -> Drafts {
    let mut drafts = Drafts {
        jobs: Vec::new(),
        declared: HashMap::new(),
        copies: HashMap::new(),
        left_out: Vec::new(),
    };
    for entry in &root.jobs {
        job(context, root, entry, &mut drafts);
        if context.reports.is_full() {
            break;
        }
    }
    drafts
}

fn job(context: &mut Context<'_>, root: &Root, entry: &Entry, drafts: &mut Drafts) {
    let Some(own) = entry.value.as_mapping() else {
        return;
    };
    keyword::check(context, Place::Job, own);
    if let Err(error) = entry.key.parse::<JobName>() {
        context
            .reports
            .error(entry.key_span, format!("this is no name for a job: {error}"));
        return;
    }
    let mapping = inherited(context, root, own);
    let Some((template, span)) = template(context, root, entry, &mapping) else {
        return;
    };
    let copies: Vec<Option<Copy>> = match given(&mapping, "parallel") {
        Some(node) => matrix::copies(context, node).into_iter().map(Some).collect(),
        None => vec![None],
    };
    let raw_needs = given(&mapping, "needs").map(|node| needs::needs(context, node).unwrap_or_default());
    let dependencies = given(&mapping, "dependencies").and_then(|node| needs::dependencies(context, node));
    let stage = root
        .stages
        .iter()
        .position(|stage| *stage == template.stage.as_str())
        .unwrap_or(0);
    let weight = weight(&template);

    for copy in copies {
        if !context.budget.take(weight) {
            context.too_large(span);
            return;
        }
        if drafts.copies.len() >= DESCRIBED {
            context.reports.error(
                entry.key_span,
                format!("the configuration describes more than {DESCRIBED} jobs"),
            );
            return;
        }
        let name = format!(
            "{}{}",
            template.group,
            copy.as_ref().map_or("", |copy| copy.suffix.as_str())
        );
        let name = match name.parse::<JobName>() {
            Ok(name) => name,
            Err(error) => {
                let message = format!("a copy of this job cannot be named: {error}");
                context.reports.error(span, message);
                return;
            }
        };
        if drafts
            .copies
            .insert(name.to_string(), template.group.clone())
            .is_some()
        {
            let message = format!(
                "two jobs of the pipeline are called `{}`",
                keyword::shorten(name.as_str())
            );
            context.reports.error(entry.key_span, message);
            return;
        }
        let mut job = Job {
            name,
            node: copy.as_ref().map(|copy| copy.position),
            ..template.clone()
        };
        if let Some(copy) = copy {
            overlay(&mut job.variables, copy.variables);
        }
        let mut draft = Draft {
            job,
            span: entry.key_span,
            needs: raw_needs.clone(),
            dependencies: dependencies.clone(),
        };
        let excluded = selected(context, root, &mapping, &mut draft);
        if context.reports.is_full() {
            return;
        }
        let included = excluded.is_none();
        if let Some((by, span)) = excluded
            && drafts.left_out.len() < JOBS
        {
            let span = span.unwrap_or(entry.key_span);
            drafts.left_out.push(LeftOut {
                name: draft.job.name.clone(),
                group: draft.job.group.clone(),
                by,
                file: context.reports.file_name(span).to_owned(),
                line: span.line,
            });
        }
        if included && drafts.jobs.len() >= JOBS {
            context
                .reports
                .error(entry.key_span, format!("the pipeline has more than {JOBS} jobs"));
            return;
        }
        if included && !is_elsewhere(&mapping) {
            expand_server_side(root, context, &mut draft.job);
            drafts.jobs.push(draft);
        }
    }
    let on_stop = given(&mapping, "environment")
        .and_then(Node::as_mapping)
        .and_then(|environment| given(environment, "on_stop"))
        .map(|node| node.span);
    drafts.declared.insert(
        template.group,
        Declared {
            stage,
            environment: template.environment,
            on_stop,
        },
    );
}

/// What a copy of a job takes of the budget: its variables, its lines, and its text.
fn weight(job: &Job) -> usize {
    const BYTES: usize = 64;
    let lines = [&job.before_script, &job.script, &job.after_script];
    let lines = lines.into_iter().flatten().map(|line| 1 + line.len() / BYTES);
    let variables = job.variables.iter().map(|one| 1 + one.value.len() / BYTES);
    1 + lines.chain(variables).sum::<usize>()
}

/// The job's keys with the defaults it inherits.
fn inherited(context: &mut Context<'_>, root: &Root, own: &Mapping) -> Mapping {
    let inherit = given(own, "inherit").and_then(|node| context.mapping(node, "inherit"));
    if let Some(inherit) = inherit {
        keyword::check(context, Place::Inherit, inherit);
    }
    let default = inherit.and_then(|inherit| given(inherit, "default"));
    let allowed = allowed_names(context, default, "inherit:default");
    let mut mapping = own.clone();
    mapping.retain(|entry| !entry.value.is_null());
    for entry in root.default.iter() {
        let handed_down = keyword::support(Place::Default, &entry.key) == Some(Support::Full);
        let free = mapping.get(&entry.key).is_none() && !entry.value.is_null();
        if handed_down && free && allowed.permits(&entry.key) {
            mapping.set(entry.clone());
        }
    }
    mapping
}

enum Allowed {
    All,
    None,
    Only(HashSet<String>),
}

impl Allowed {
    fn permits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.contains(name),
        }
    }
}

fn allowed_names(context: &mut Context<'_>, node: Option<&Node>, what: &str) -> Allowed {
    let Some(node) = node else { return Allowed::All };
    match node.as_bool() {
        Some(true) => Allowed::All,
        Some(false) => Allowed::None,
        None if node.as_sequence().is_some() => Allowed::Only(
            context
                .texts(node, what)
                .unwrap_or_default()
                .into_iter()
                .collect(),
        ),
        None => {
            context.expected(node, what, "`true`, `false` or a list of names");
            Allowed::All
        }
    }
}

/// Whether a job works without a script, by keywords that are not supported: the keyword check has named them, and there is
/// nothing left to run.
fn is_elsewhere(mapping: &Mapping) -> bool {
    given(mapping, "script").is_none() && ["trigger", "run"].iter().any(|key| given(mapping, key).is_some())
}

/// Everything that does not depend on rules and copies.
fn template(context: &mut Context<'_>, root: &Root, entry: &Entry, mapping: &Mapping) -> Option<(Job, Span)> {
    let script = given(mapping, "script").and_then(|node| context.script(node, "script"));
    if given(mapping, "script").is_none() && !is_elsewhere(mapping) {
        let message = format!(
            "jobs:{} config should implement the script:, run:, or trigger: keyword",
            keyword::shorten(&entry.key)
        );
        let help = "give it a `script`, or hide it with a dot before its name";
        context.reports.error_with_help(entry.key_span, message, help);
    }
    let stage = stage(context, root, mapping, entry.key_span);
    let when = when(context, mapping);
    let has_rules = given(mapping, "rules").is_some();
    let delay = if has_rules {
        None
    } else {
        start_in(context, mapping, when)
    };
    let allow_failure = match given(mapping, "allow_failure") {
        Some(node) => deploy::allow_failure(context, node),
        None if when == Some(When::Manual) => Some(AllowFailure::Yes),
        None => Some(AllowFailure::No),
    };
    let mut lines = |key: &str| {
        given(mapping, key)
            .and_then(|node| context.script(node, key))
            .unwrap_or_default()
    };
    let (before_script, after_script) = (lines("before_script"), lines("after_script"));
    let variables = yaml_layers(context, root, mapping);
    let job = Job {
        name: entry.key.parse().ok()?,
        group: entry.key.to_string(),
        // What is missing here has been named: the job goes on for the sake of further errors, the pipeline does not.
        stage: stage.or_else(|| "test".parse().ok())?,
        before_script,
        script: script.unwrap_or_default(),
        after_script,
        pre_get_sources_script: hooks(context, mapping),
        image: given(mapping, "image").and_then(|node| image::image(context, node)),
        services: given(mapping, "services")
            .map(|node| image::services(context, node))
            .unwrap_or_default(),
        variables,
        when: when.unwrap_or_default(),
        start_in: delay,
        allow_failure: allow_failure.unwrap_or(AllowFailure::No),
        needs: None,
        dependencies: None,
        artifacts: given(mapping, "artifacts").and_then(|node| keep::artifacts(context, node)),
        cache: given(mapping, "cache")
            .map(|node| keep::caches(context, node))
            .unwrap_or_default(),
        environment: given(mapping, "environment").and_then(|node| deploy::environment(context, node)),
        tags: tags(context, mapping),
        timeout: given(mapping, "timeout").and_then(|node| context.duration(node, "timeout")),
        retry: given(mapping, "retry").map_or_else(Retry::default, |node| deploy::retry(context, node)),
        interruptible: given(mapping, "interruptible")
            .and_then(|node| context.boolean(node, "interruptible"))
            .unwrap_or(false),
        coverage: given(mapping, "coverage").and_then(|node| deploy::coverage(context, node)),
        resource_group: given(mapping, "resource_group")
            .and_then(|node| context.text(node, "resource_group")),
        node: None,
    };
    Some((job, entry.key_span))
}

fn stage(context: &mut Context<'_>, root: &Root, mapping: &Mapping, span: Span) -> Option<StageName> {
    let (name, span) = match given(mapping, "stage") {
        Some(node) => (context.text(node, "stage")?, node.span),
        None => ("test".to_owned(), span),
    };
    if !root.stages.contains(&name) {
        let shown = keyword::shorten(&name);
        let message = format!("chosen stage `{shown}` does not exist");
        let known: Vec<&str> = root.stages.iter().take(20).map(String::as_str).collect();
        let near = keyword::nearest(&name, root.stages.iter().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("available stages are {}", known.join(", ")),
        };
        context.reports.error_with_help(span, message, help);
        return None;
    }
    match name.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("this is no name for a stage: {error}");
            context.reports.error(span, message);
            None
        }
    }
}

fn when(context: &mut Context<'_>, mapping: &Mapping) -> Option<When> {
    const WHEN: &[(&str, When)] = &[
        ("on_success", When::OnSuccess),
        ("on_failure", When::OnFailure),
        ("always", When::Always),
        ("manual", When::Manual),
        ("delayed", When::Delayed),
    ];
    let node = given(mapping, "when")?;
    if node.as_text() == Some("never") {
        let help = "a job that never runs is hidden: begin its name with a dot";
        context
            .reports
            .error_with_help(node.span, "`when: never` is only for `rules`", help);
        return None;
    }
    context.word(node, "when", WHEN)
}

fn tags(context: &mut Context<'_>, mapping: &Mapping) -> Vec<String> {
    let Some(node) = given(mapping, "tags") else {
        return Vec::new();
    };
    let tags = context
        .flat(node, "tags")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| context.text(item, "tags"))
        .collect::<Vec<_>>();
    if tags.len() >= TAGS {
        context
            .reports
            .error(node.span, format!("`tags` must be fewer than {TAGS}"));
    }
    tags
}

fn hooks(context: &mut Context<'_>, mapping: &Mapping) -> Vec<String> {
    let Some(hooks) = given(mapping, "hooks").and_then(|node| context.mapping(node, "hooks")) else {
        return Vec::new();
    };
    keyword::check(context, Place::Hooks, hooks);
    given(hooks, "pre_get_sources_script")
        .and_then(|node| context.script(node, "pre_get_sources_script"))
        .unwrap_or_default()
}

/// Variables of the pipeline that the job inherits, of the workflow's rule and of the job.
fn yaml_layers(context: &mut Context<'_>, root: &Root, mapping: &Mapping) -> Vec<Variable> {
    let inherit = given(mapping, "inherit")
        .and_then(Node::as_mapping)
        .and_then(|inherit| given(inherit, "variables"));
    let allowed = allowed_names(context, inherit, "inherit:variables");
    let mut layers: Vec<Variable> = root
        .variables
        .iter()
        .filter(|variable| allowed.permits(&variable.key))
        .cloned()
        .collect();
    overlay(
        &mut layers,
        root.workflow_variables
            .iter()
            .filter(|variable| allowed.permits(&variable.key))
            .cloned(),
    );
    if let Some(node) = given(mapping, "variables") {
        overlay(&mut layers, yaml_variables::read(context, node, Level::Job));
    }
    if !context.budget.take(layers.len()) {
        context.too_large(root.span);
    }
    layers
}

/// What the job's conditions see.
fn visible(context: &Context<'_>, root: &Root, job: &Job) -> Vec<Variable> {
    let mut all = root.predefined.clone();
    all.extend(predefined::job(&predefined::JobFacts {
        name: job.name.as_str(),
        group: &job.group,
        stage: job.stage.as_str(),
        node: job.node.map(|node| (node.index, node.total)),
        manual: job.when == When::Manual,
    }));
    let weakest = all.len();
    all.extend(job.variables.iter().cloned());
    all.extend(context.situation.variables.iter().cloned());
    all.extend(context.situation.pipeline_variables.iter().cloned());
    if let Some(environment) = &job.environment {
        let name = expand(&environment.name, &in_one_another(&all));
        all.splice(weakest..weakest, predefined::environment(environment, &name));
    }
    all
}

/// What keeps the job out of the pipeline, and where that stands, if anything does; otherwise applies the rule that holds.
fn selected(
    context: &mut Context<'_>,
    root: &Root,
    mapping: &Mapping,
    draft: &mut Draft,
) -> Option<(Exclusion, Option<Span>)> {
    let all = visible(context, root, &draft.job);
    let values = variables::values(&all);
    if let Some(found) = entry(mapping, "rules") {
        for key in ["only", "except", "start_in"] {
            if let Some(other) = entry(mapping, key) {
                context.conflict(other.key_span, key, "rules");
            }
        }
        return match rules::evaluate(context, &found.value, Place::Rule, &values, &all) {
            Verdict::Matched(rule) if rule.never => Some((Exclusion::Never, rule.span)),
            Verdict::Matched(rule) => {
                apply(context, draft, *rule);
                None
            }
            Verdict::Empty => None,
            Verdict::NoMatch => Some((Exclusion::NoRule, Some(found.key_span))),
        };
    }
    let only = entry(mapping, "only");
    let let_in = match only {
        Some(found) => only::only(context, &found.value, &values, &all),
        // With `workflow:rules` it is they who decide.
        None => root.has_workflow_rules || only::by_default(context.situation),
    };
    // Looked at in any case, so that every error is found.
    let except = entry(mapping, "except");
    let kept_out = except.is_some_and(|found| only::except(context, &found.value, &values, &all));
    match (let_in, only) {
        (false, Some(found)) => Some((Exclusion::Only, Some(found.key_span))),
        (false, None) => Some((Exclusion::Unasked, None)),
        (true, _) if kept_out => Some((Exclusion::Except, except.map(|found| found.key_span))),
        (true, _) => None,
    }
}

fn apply(context: &mut Context<'_>, draft: &mut Draft, rule: Rule) {
    if let Some(when) = rule.when {
        draft.job.when = when;
        draft.job.start_in = rule.start_in;
    }
    if let Some(allow_failure) = rule.allow_failure {
        draft.job.allow_failure = allow_failure;
    }
    if let Some(interruptible) = rule.interruptible {
        draft.job.interruptible = interruptible;
    }
    overlay(&mut draft.job.variables, rule.variables);
    if let Some(node) = rule.needs {
        draft.needs = needs::needs(context, &node);
    }
}

/// The variables, expanded in one another; as they are where that is not possible, which the payload will say.
fn in_one_another(variables: &[Variable]) -> Vec<Variable> {
    variables::sort_and_expand_all(variables).unwrap_or_else(|_| variables.to_vec())
}

/// Keywords that GitLab expands before the runner sees the job, each in its own way: tags and addresses keep what does not
/// exist, names of groups and environments see the variables expanded in one another.
fn expand_server_side(root: &Root, context: &Context<'_>, job: &mut Job) {
    if job.tags.is_empty() && job.resource_group.is_none() && job.environment.is_none() {
        return;
    }
    let all = visible(context, root, job);
    let expanded = in_one_another(&all);
    for tag in &mut job.tags {
        *tag = variables::expand_existing(tag, &all);
    }
    if let Some(group) = &mut job.resource_group {
        *group = expand(group, &expanded);
    }
    if let Some(environment) = &mut job.environment {
        environment.name = expand(&environment.name, &expanded);
        for text in [&mut environment.url, &mut environment.deployment_tier]
            .into_iter()
            .flatten()
        {
            *text = variables::expand_existing(text, &all);
        }
    }
}
