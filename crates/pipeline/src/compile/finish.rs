//! Which jobs `needs` and `dependencies` mean, whether they come early enough, and the order of it all.

use std::collections::HashMap;

use super::{
    Context,
    job::{Declared, Draft, Drafts},
    keyword::{self, shorten},
    root::Root,
};
use crate::{
    diagnostic::Span,
    left_out::LeftOut,
    name::JobName,
    pipeline::{Job, Need, Pipeline},
    variables::topological,
};

/// Jobs listed at most in one message.
const NAMED: usize = 10;

pub(super) fn finish(
    context: &mut Context<'_>,
    root: Root,
    drafts: Drafts,
    left_out: &[LeftOut],
) -> Option<Pipeline> {
    let edges: &[&str] = &[".pre", ".post"];
    if drafts
        .jobs
        .iter()
        .all(|draft| edges.contains(&draft.job.stage.as_str()))
    {
        let help = match (drafts.jobs.is_empty(), left_out.first()) {
            (true, Some(first)) => format!("`{}` is left out: {first}", shorten(first.name.as_str())),
            _ => "jobs in `.pre` and `.post` alone make no pipeline".to_owned(),
        };
        context.reports.error_with_help(
            Span::whole(root.span.file),
            "pipeline will not run for the selected trigger: \
             the rules configuration prevented any jobs from being added to the pipeline",
            help,
        );
        return None;
    }
    let mut settled = Settled {
        root: &root,
        drafts: &drafts,
        present: HashMap::new(),
        by_name: HashMap::new(),
    };
    for draft in &drafts.jobs {
        settled
            .present
            .entry(draft.job.group.as_str())
            .or_default()
            .push(&draft.job);
        settled.by_name.insert(draft.job.name.as_str(), &draft.job);
    }
    let mut jobs: Vec<(usize, Job)> = Vec::with_capacity(drafts.jobs.len());
    for draft in &drafts.jobs {
        let stage = settled.stage_of(draft.job.stage.as_str());
        let needs = settled.needs(context, draft, stage);
        let dependencies = settled.dependencies(context, draft, stage, needs.as_deref());
        jobs.push((
            stage,
            Job {
                needs,
                dependencies,
                ..draft.job.clone()
            },
        ));
        if context.reports.is_full() {
            return None;
        }
    }
    circles(context, &drafts, &jobs);
    if context.reports.has_errors() {
        return None;
    }
    jobs.sort_by_key(|(stage, _)| *stage);
    let stages = root
        .stages
        .iter()
        .enumerate()
        .filter(|(position, _)| jobs.iter().any(|(stage, _)| stage == position))
        .filter_map(|(_, name)| name.parse().ok())
        .collect();
    Some(Pipeline {
        name: root.name,
        stages,
        jobs: jobs.into_iter().map(|(_, job)| job).collect(),
        on_job_failure: root.on_job_failure,
        predefined: root.predefined,
        situation: context.situation.clone(),
    })
}

struct Settled<'a> {
    root: &'a Root,
    drafts: &'a Drafts,
    /// Jobs of the pipeline by their name in the file.
    present: HashMap<&'a str, Vec<&'a Job>>,
    /// And by their own.
    by_name: HashMap<&'a str, &'a Job>,
}

impl Settled<'_> {
    fn stage_of(&self, name: &str) -> usize {
        self.root
            .stages
            .iter()
            .position(|stage| stage == name)
            .unwrap_or(0)
    }

    /// What a name in `needs` stands for: a job of the file, or one copy by its full name.
    fn declared(&self, name: &str) -> Option<(&Declared, bool)> {
        if let Some(declared) = self.drafts.declared.get(name) {
            return Some((declared, true));
        }
        let group = self.drafts.copies.get(name)?;
        self.drafts.declared.get(group).map(|declared| (declared, false))
    }

    /// Copies of a job that are part of the pipeline.
    fn targets(&self, name: &str) -> Vec<&JobName> {
        match (self.present.get(name), self.by_name.get(name)) {
            (Some(jobs), _) => jobs.iter().map(|job| &job.name).collect(),
            (None, Some(job)) => vec![&job.name],
            (None, None) => Vec::new(),
        }
    }

    fn needs(&self, context: &mut Context<'_>, draft: &Draft, stage: usize) -> Option<Vec<Need>> {
        let raw = draft.needs.as_ref()?;
        let mut needs: Vec<Need> = Vec::new();
        for need in raw {
            let job = keyword::shorten(draft.job.name.as_str());
            let name = keyword::shorten(&need.name);
            let Some((declared, whole)) = self.declared(&need.name) else {
                if !need.optional {
                    self.undefined(
                        context,
                        need.span,
                        &format!("{job} job: undefined need: {name}"),
                        &need.name,
                    );
                }
                continue;
            };
            if declared.stage > stage {
                let message = format!("{job} job: need {name} is not defined in current or prior stages");
                context.reports.error(need.span, message);
                continue;
            }
            let mut targets = self.targets(&need.name);
            if whole && !need.copies.is_empty() {
                let wanted: Vec<String> = need
                    .copies
                    .iter()
                    .map(|copy| format!("{}{copy}", need.name))
                    .collect();
                targets.retain(|target| wanted.iter().any(|wanted| wanted == target.as_str()));
            }
            if targets.is_empty() && !need.optional {
                context.reports.error_with_help(
                    need.span,
                    format!("'{job}' job needs '{name}' job, but '{name}' does not exist in the pipeline"),
                    "this might be because of the only, except, or rules keywords; to need a job that sometimes \
                     does not exist in the pipeline, use needs:optional",
                );
            }
            for target in targets {
                if !needs.iter().any(|old| old.job == *target) {
                    needs.push(Need {
                        job: target.clone(),
                        artifacts: need.artifacts,
                        optional: need.optional,
                    });
                }
            }
        }
        Some(needs)
    }

    fn dependencies(
        &self,
        context: &mut Context<'_>,
        draft: &Draft,
        stage: usize,
        needs: Option<&[Need]>,
    ) -> Option<Vec<JobName>> {
        let raw = draft.dependencies.as_ref()?;
        let mut names = Vec::new();
        for (span, name) in raw {
            let job = keyword::shorten(draft.job.name.as_str());
            let shown = keyword::shorten(name);
            let Some((declared, _)) = self.declared(name) else {
                self.undefined(
                    context,
                    *span,
                    &format!("{job} job: undefined dependency: {shown}"),
                    name,
                );
                continue;
            };
            if needs.is_none() && declared.stage >= stage {
                let message = format!("{job} job: dependency {shown} is not defined in prior stages");
                context.reports.error(*span, message);
                continue;
            }
            let targets = self.targets(name);
            let needed =
                draft.needs.iter().flatten().any(|need| {
                    need.name == *name || targets.iter().any(|target| target.as_str() == need.name)
                });
            if needs.is_some() && !needed {
                let message = format!("{job} job: dependency {shown} should be one of its needs");
                context.reports.error(*span, message);
                continue;
            }
            names.extend(targets.into_iter().cloned());
        }
        Some(names)
    }

    fn undefined(&self, context: &mut Context<'_>, span: Span, message: &str, name: &str) {
        // In the order of the alphabet, so that the same file always gets the same answer.
        let mut names: Vec<&str> = self.drafts.declared.keys().map(String::as_str).collect();
        names.sort_unstable();
        let is_hidden = name.starts_with('.') && self.root.all_names.iter().any(|known| **known == *name);
        let help = if is_hidden {
            "hidden jobs are not part of a pipeline".to_owned()
        } else if let Some(near) = keyword::nearest(name, names.iter().copied()) {
            format!("did you mean `{near}`?")
        } else {
            let some: Vec<String> = names
                .iter()
                .take(NAMED)
                .map(|name| keyword::shorten(name))
                .collect();
            let more = if names.len() > NAMED { ", …" } else { "" };
            format!("the jobs are: {}{more}", some.join(", "))
        };
        context.reports.error_with_help(span, message, help);
    }
}

/// Within a stage, jobs may need one another in a circle.
fn circles(context: &mut Context<'_>, drafts: &Drafts, jobs: &[(usize, Job)]) {
    let places: HashMap<&JobName, usize> = jobs
        .iter()
        .enumerate()
        .map(|(place, (_, job))| (&job.name, place))
        .collect();
    let graph: Vec<Vec<usize>> = jobs
        .iter()
        .map(|(_, job)| {
            job.needs
                .iter()
                .flatten()
                .filter_map(|need| places.get(&need.job).copied())
                .collect()
        })
        .collect();
    if let Err(circle) = topological(&graph) {
        let named = |place: &usize| {
            let (_, job) = jobs.get(*place)?;
            Some(format!("`{}`", keyword::shorten(job.name.as_str())))
        };
        let mut names: Vec<String> = circle.iter().take(NAMED).filter_map(named).collect();
        if circle.len() > NAMED {
            names.push("…".to_owned());
        }
        // Shown closed, so that the last need is seen as well.
        names.extend(circle.first().and_then(named));
        let span = circle
            .first()
            .and_then(|place| drafts.jobs.get(*place))
            .map_or_else(
                || Span::whole(crate::diagnostic::FileId::default()),
                |draft| draft.span,
            );
        context.reports.error(
            span,
            format!("the jobs need one another in a circle: {}", names.join(" → ")),
        );
    }
}
