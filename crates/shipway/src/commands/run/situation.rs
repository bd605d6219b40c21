//! What the pipeline is made for: the work tree as it stands, or as if a tag had been pushed, a merge request opened, a
//! schedule come due or the button been pressed.
//!
//! Apart from `git`, which tells what is: here is what the user says is to be. Nothing in the repository changes; what
//! contradicts it (a tag of another commit, a merge request of a branch into itself) is an error of use.

use std::path::PathBuf;

use clap::Args;
use shipway_oci::RegistryName;
use shipway_pipeline::{
    CommitFacts, MergeRequestFacts, PipelineFacts, PipelineSource, ProjectFacts, RefKind, ServerFacts,
    Situation,
};

use super::git::{WorkTreeFacts, git};
use super::{now, variables};
use crate::failure::{Failure, FailureKind};

/// Which event the pipeline answers, and with which variables.
#[derive(Debug, Default, Args)]
pub(super) struct SituationArguments {
    /// Run the pipeline of a tag; one that does not exist yet is taken for a tag of the commit that is checked out
    #[arg(long, value_name = "TAG", conflicts_with = "merge_request")]
    tag: Option<String>,
    /// Run the pipeline of a merge request into a branch [default: the default branch]
    #[arg(
        long,
        value_name = "TARGET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["schedule", "web"]
    )]
    merge_request: Option<String>,
    /// Run the pipeline of a schedule
    #[arg(
        long,
        value_name = "DESCRIPTION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "web"
    )]
    schedule: Option<String>,
    /// Run the pipeline that somebody starts on the web page
    #[arg(long)]
    web: bool,
    /// Set a variable for this pipeline; it overrides every other
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// Read variables of the project, one NAME=VALUE in a line
    #[arg(long, value_name = "FILE")]
    variable_file: Vec<PathBuf>,
}

/// What the pipeline answers.
enum Event<'a> {
    Push,
    MergeRequest {
        /// Empty for the default branch.
        target: &'a str,
    },
    Schedule {
        description: &'a str,
    },
    Web,
}

impl SituationArguments {
    /// The situation of pipeline `number`.
    pub(super) fn situation(
        &self,
        facts: &WorkTreeFacts,
        number: u64,
        registry: &RegistryName,
    ) -> Result<Situation, Failure> {
        let mut situation = pushed(facts, number, registry);
        for path in &self.variable_file {
            situation.variables.extend(variables::read_file(path)?);
        }
        for text in &self.variable {
            situation.pipeline_variables.push(variables::parse(text)?);
        }
        if let Some(tag) = &self.tag {
            tagged(&mut situation, facts, tag)?;
        }
        match self.event() {
            Event::Push => return Ok(situation),
            Event::MergeRequest { target } => requested(&mut situation, facts, target)?,
            Event::Schedule { description } => {
                situation.source = PipelineSource::Schedule;
                description.clone_into(&mut situation.schedule_description);
            }
            Event::Web => situation.source = PipelineSource::Web,
        }
        // Only a push has a before.
        situation.commit.before_sha.clear();
        Ok(situation)
    }

    /// The one event that the pipeline answers: the flags for the others exclude each other.
    fn event(&self) -> Event<'_> {
        match (&self.merge_request, &self.schedule, self.web) {
            (Some(target), _, _) => Event::MergeRequest { target },
            (None, Some(description), _) => Event::Schedule { description },
            (None, None, true) => Event::Web,
            (None, None, false) => Event::Push,
        }
    }
}

/// The work tree as it stands, pushed.
fn pushed(facts: &WorkTreeFacts, number: u64, registry: &RegistryName) -> Situation {
    Situation {
        project: ProjectFacts {
            id: 1,
            path: facts.project_path.clone(),
            default_branch: facts.default_branch.clone(),
            ..ProjectFacts::default()
        },
        commit: facts.commit.clone(),
        ref_name: facts.ref_name.clone(),
        ref_kind: facts.ref_kind,
        ref_protected: facts.ref_kind == RefKind::Branch && is_protected(facts, &facts.ref_name),
        tag_message: facts.tag_message.clone(),
        source: PipelineSource::Push,
        pipeline: PipelineFacts {
            id: number,
            iid: number,
            created_at: now(),
        },
        user: facts.user.clone(),
        server: ServerFacts {
            url: facts.server_url.clone(),
            ..ServerFacts::default()
        },
        registry: Some(registry.to_string()),
        ..Situation::default()
    }
}

fn is_protected(facts: &WorkTreeFacts, branch: &str) -> bool {
    facts.protected_branch.as_deref() == Some(branch)
}

fn tagged(situation: &mut Situation, facts: &WorkTreeFacts, tag: &str) -> Result<(), Failure> {
    let reference = format!("refs/tags/{tag}");
    if git(&facts.root, &["check-ref-format", "--normalize", &reference]).as_deref() != Some(&reference) {
        return Err(Failure::new(
            FailureKind::Use,
            format!("`{tag}` is no name for a tag"),
        ));
    }
    let commit = git(
        &facts.root,
        &[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("{reference}^{{commit}}"),
        ],
    );
    if let Some(commit) = commit
        && commit != facts.commit.sha
    {
        let message = format!("the tag `{tag}` is of commit {commit}, which is not checked out");
        let hint = format!("`git checkout {tag}` first, or name a tag that does not exist yet");
        return Err(Failure::new(FailureKind::Use, message).hint(hint));
    }
    situation.tag_message =
        git(&facts.root, &["for-each-ref", "--format=%(contents)", &reference]).unwrap_or_default();
    tag.clone_into(&mut situation.ref_name);
    situation.ref_kind = RefKind::Tag;
    situation.ref_protected = false;
    situation.commit.before_sha.clear();
    Ok(())
}

fn requested(situation: &mut Situation, facts: &WorkTreeFacts, target: &str) -> Result<(), Failure> {
    let target = if target.is_empty() {
        &facts.default_branch
    } else {
        target
    };
    if facts.ref_kind == RefKind::Tag {
        let message = format!(
            "a merge request is of a branch, and the tag `{}` is checked out",
            facts.ref_name
        );
        return Err(Failure::new(FailureKind::Use, message).hint("`git switch` to the branch"));
    }
    if facts.ref_name == target {
        let message = format!("the branch `{target}` cannot be merged into itself");
        return Err(Failure::new(FailureKind::Use, message)
            .hint("check out the branch to be merged, or name another one: --merge-request=BRANCH"));
    }
    let base = parting(facts, target).ok_or_else(|| {
        Failure::new(
            FailureKind::Use,
            format!("there is no branch `{target}` with commits in common"),
        )
        .hint("`git fetch origin` it, or name another one: --merge-request=BRANCH")
    })?;
    let (title, description) = words(&facts.commit);
    situation.source = PipelineSource::MergeRequestEvent;
    situation.merge_request = Some(MergeRequestFacts {
        id: 1,
        iid: 1,
        title,
        description,
        target_protected: is_protected(facts, target),
        target_branch: target.to_owned(),
        diff_base_sha: base,
    });
    Ok(())
}

/// Where the branch and its target parted.
fn parting(facts: &WorkTreeFacts, target: &str) -> Option<String> {
    ["refs/heads", "refs/remotes/origin"]
        .iter()
        .find_map(|place| git(&facts.root, &["merge-base", &format!("{place}/{target}"), "HEAD"]))
}

/// Title and description that a merge request of one commit has at first.
fn words(commit: &CommitFacts) -> (String, String) {
    let (title, rest) = commit
        .message
        .split_once('\n')
        .unwrap_or((commit.message.as_str(), ""));
    (title.trim().to_owned(), rest.trim().to_owned())
}

#[cfg(test)]
mod tests;
