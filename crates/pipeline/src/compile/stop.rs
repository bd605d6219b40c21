//! `environment:on_stop`: the job that is named must be one of the configuration, for the same environment, and stop it.
//!
//! Apart from the jobs because it looks from one at another. As GitLab does, names of environments are compared as they
//! are written, and jobs count that their rules keep out of this pipeline.

use super::{
    Context,
    job::{Declared, Drafts},
    keyword,
    root::Root,
};

/// Says of every job what is wrong with the job that it names.
pub(super) fn check(context: &mut Context<'_>, root: &Root, drafts: &Drafts) {
    for entry in &root.jobs {
        let Some(declared) = drafts.declared.get(&*entry.key) else {
            continue;
        };
        let Some(named) = declared
            .environment
            .as_ref()
            .and_then(|environment| environment.on_stop.as_deref())
        else {
            continue;
        };
        let Some((problem, help)) = problem(drafts, declared, named) else {
            continue;
        };
        let message = format!(
            "{} job: on_stop job {} {problem}",
            keyword::shorten(&entry.key),
            keyword::shorten(named)
        );
        let span = declared.on_stop.unwrap_or(entry.key_span);
        context.reports.error_with_help(span, message, help);
    }
}

fn problem(drafts: &Drafts, starts: &Declared, named: &str) -> Option<(&'static str, String)> {
    let name = starts.environment.as_ref().map_or("", |own| own.name.as_str());
    let Some(stops) = drafts
        .copies
        .get(named)
        .and_then(|group| drafts.declared.get(group))
    else {
        let mut names: Vec<&str> = drafts.copies.keys().map(String::as_str).collect();
        names.sort_unstable();
        let help = match keyword::nearest(named, names.into_iter()) {
            _ if named.starts_with('.') => "hidden jobs are not part of a pipeline".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None if drafts.declared.contains_key(named) => {
                "name one of its copies: the job itself has `parallel`".to_owned()
            }
            None => "name a job of this configuration".to_owned(),
        };
        return Some(("is not defined", help));
    };
    let shown = keyword::shorten(name);
    match &stops.environment {
        None => Some((
            "does not have environment defined",
            format!("give it `environment: {{name: {shown}, action: stop}}`"),
        )),
        Some(environment) if environment.name != name => Some((
            "have different environment name",
            format!("both must name the same environment in the same words: `{shown}`"),
        )),
        Some(environment) if environment.action.as_deref() != Some("stop") => Some((
            "needs to have action stop defined",
            "write `action: stop` into its `environment`".to_owned(),
        )),
        Some(_) => None,
    }
}
