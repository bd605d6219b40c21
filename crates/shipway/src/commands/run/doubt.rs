//! What the user should know of a default branch that git only guesses: it does not count as protected.
//!
//! Apart because it is said only where it decides something: which jobs there are, which cache they find, what a kept volume
//! holds, or what a script makes of `CI_COMMIT_REF_PROTECTED`.

use shipway_pipeline::{Job, Pipeline};
use shipway_runner::configuration::{RunnerSettings, VolumeSetting};

use super::git::{WorkTreeFacts, git};

/// What tells a script.
const VARIABLE: &str = "CI_COMMIT_REF_PROTECTED";

/// One line where there is a doubt that matters to these jobs; `protected` is the pipeline if the branch were protected.
pub(super) fn doubt(
    facts: &WorkTreeFacts,
    settings: &RunnerSettings,
    pipeline: &Pipeline,
    protected: impl FnOnce(&WorkTreeFacts) -> Option<Pipeline>,
) -> Option<String> {
    if !facts.has_doubt() {
        return None;
    }
    let kept = |volume: &VolumeSetting| matches!(volume, VolumeSetting::Shared { kept: true, .. });
    let matters = settings.docker.volumes.iter().any(kept)
        || pipeline.jobs.iter().any(asks)
        || protected(&facts.if_protected()).is_some_and(|other| other.jobs != pipeline.jobs);
    matters.then(|| {
        format!(
            "`{}` does not count as protected, which matters to this pipeline: git does not know which branch of the remote \
             is the default one; {}",
            facts.ref_name,
            cures(facts)
        )
    })
}

/// Whether a job does something else where its branch is protected.
fn asks(job: &Job) -> bool {
    let mut lines = job
        .before_script
        .iter()
        .chain(&job.script)
        .chain(&job.after_script);
    job.cache.iter().any(|cache| !cache.unprotect)
        || lines.any(|line| line.contains(VARIABLE))
        || job
            .variables
            .iter()
            .any(|variable| variable.value.contains(VARIABLE))
}

/// What lets git know: first what needs no network.
pub(super) fn cures(facts: &WorkTreeFacts) -> String {
    let branch = &facts.ref_name;
    let known = format!("refs/remotes/origin/{branch}");
    if git(&facts.root, &["rev-parse", "--verify", "--quiet", &known]).is_some() {
        format!(
            "`git remote set-head origin {branch}` says that it is this one, `git remote set-head origin --auto` asks the remote"
        )
    } else {
        format!("`git symbolic-ref refs/remotes/origin/HEAD {known}` says that it is this one")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::commands::run::PlanArguments;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: PlanArguments,
    }

    #[test]
    fn a_doubt_is_said_where_it_decides_something() {
        let directory = tempfile::tempdir().unwrap();
        let told = |arguments: &[&str]| git(directory.path(), arguments);
        told(&["init", "--initial-branch=main"]);
        told(&["config", "user.name", "n"]);
        told(&["config", "user.email", "e@example.com"]);
        told(&["commit", "--allow-empty", "--message=first"]);
        told(&["remote", "add", "origin", "https://gitlab.example.com/a/b.git"]);
        let facts = WorkTreeFacts::read(directory.path()).unwrap();
        let plan = Line::parse_from(["run"]).plan;
        let compile = |facts: &WorkTreeFacts| {
            let compiled = plan.compile(facts, 1, &"registry.example.com".parse().unwrap());
            compiled.unwrap().unwrap().pipeline
        };
        let said = |facts: &WorkTreeFacts, settings: &RunnerSettings, file: &str| {
            fs::write(directory.path().join(".gitlab-ci.yml"), file).unwrap();
            doubt(facts, settings, &compile(facts), |facts| Some(compile(facts)))
        };
        let usual = RunnerSettings::default();
        let mut keeping = RunnerSettings::default();
        keeping.docker.volumes.push(VolumeSetting::Shared {
            target: "/cache".into(),
            kept: true,
        });
        let plain = "a: {script: make}";
        assert_eq!(said(&facts, &usual, plain), None);
        assert_eq!(
            said(&facts.if_protected(), &keeping, plain),
            None,
            "there is no doubt"
        );
        let shared = "a: {script: make, cache: {paths: [x], unprotect: true}}";
        assert_eq!(said(&facts, &usual, shared), None);
        for (settings, file) in [
            (&keeping, plain),
            (&usual, "a: {script: make, cache: {paths: [x]}}"),
            (&usual, "a: {script: 'echo $CI_COMMIT_REF_PROTECTED'}"),
            (
                &usual,
                "a: {script: make}\nb: {script: make, rules: [{if: '$CI_COMMIT_REF_PROTECTED == \"true\"'}]}",
            ),
        ] {
            let said = said(&facts, settings, file).unwrap();
            assert!(
                said.starts_with("`main` does not count as protected"),
                "{file}: {said}"
            );
        }
    }
}
