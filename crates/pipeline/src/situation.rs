//! What a pipeline is made for: the commit, the reference, who asked, and where. Plain data from the caller, times and ids
//! included, because this crate has neither clock nor disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::variables::Variable;

/// Whether a branch or a tag is built.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefKind {
    /// A branch.
    #[default]
    Branch,
    /// A tag.
    Tag,
}

/// Why there is a pipeline: the values of `CI_PIPELINE_SOURCE`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineSource {
    /// Through the API.
    Api,
    /// A chat command.
    Chat,
    /// An external service.
    External,
    /// A merge request was opened or pushed to.
    MergeRequestEvent,
    /// A parent pipeline.
    ParentPipeline,
    /// Another project's pipeline.
    Pipeline,
    /// Commits or a tag were pushed.
    #[default]
    Push,
    /// A schedule.
    Schedule,
    /// A trigger token.
    Trigger,
    /// Somebody pressed the button.
    Web,
    /// The web editor.
    #[serde(rename = "webide")]
    WebIde,
}

impl PipelineSource {
    /// The value of `CI_PIPELINE_SOURCE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Chat => "chat",
            Self::External => "external",
            Self::MergeRequestEvent => "merge_request_event",
            Self::ParentPipeline => "parent_pipeline",
            Self::Pipeline => "pipeline",
            Self::Push => "push",
            Self::Schedule => "schedule",
            Self::Trigger => "trigger",
            Self::Web => "web",
            Self::WebIde => "webide",
        }
    }
}

/// The project.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectFacts {
    /// Its number.
    pub id: u64,
    /// Its full path, `group/project`.
    pub path: String,
    /// Its name for people; the last part of the path when empty.
    pub title: String,
    /// Its description.
    pub description: String,
    /// The number of the group.
    pub namespace_id: u64,
    /// `private`, `internal` or `public`; `private` when empty.
    pub visibility: String,
    /// The branch that counts.
    pub default_branch: String,
}

/// The commit.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommitFacts {
    /// Its id.
    pub sha: String,
    /// What the branch was at before; zeros (or nothing) when there is no such thing, and then `rules:changes` holds.
    pub before_sha: String,
    /// The whole message.
    pub message: String,
    /// `Name <address>`.
    pub author: String,
    /// ISO 8601.
    pub timestamp: String,
}

/// Who asked for the pipeline.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserFacts {
    /// Number.
    pub id: u64,
    /// Login.
    pub login: String,
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// The installation.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerFacts {
    /// Without a slash at the end: `https://ci.example.com`.
    pub url: String,
    /// What `CI_SERVER_NAME` says; `GitLab` when empty, for scripts that test it.
    pub name: String,
    /// `17.0.0`.
    pub version: String,
}

/// The pipeline itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineFacts {
    /// Number within the installation.
    pub id: u64,
    /// Number within the project.
    pub iid: u64,
    /// ISO 8601.
    pub created_at: String,
}

/// The merge request that a pipeline is for. Source and target are branches of the same project.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeRequestFacts {
    /// Number within the installation.
    pub id: u64,
    /// Number within the project.
    pub iid: u64,
    /// What it is called.
    pub title: String,
    /// What it says.
    pub description: String,
    /// The branch to merge into.
    pub target_branch: String,
    /// Whether that is a protected one.
    pub target_protected: bool,
    /// Where the branches parted.
    pub diff_base_sha: String,
}

/// Everything a compilation may know.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Situation {
    /// The project.
    pub project: ProjectFacts,
    /// The commit.
    pub commit: CommitFacts,
    /// Name of the branch or tag.
    pub ref_name: String,
    /// Which of them it is.
    pub ref_kind: RefKind,
    /// Whether it is a protected one.
    pub ref_protected: bool,
    /// The message of an annotated tag.
    pub tag_message: String,
    /// Why there is a pipeline.
    pub source: PipelineSource,
    /// The merge request that it is for; `ref_name` is then the source branch, and `source` is
    /// [`PipelineSource::MergeRequestEvent`].
    pub merge_request: Option<MergeRequestFacts>,
    /// What the schedule is called that started it.
    pub schedule_description: String,
    /// The pipeline itself.
    pub pipeline: PipelineFacts,
    /// Who asked.
    pub user: UserFacts,
    /// Where.
    pub server: ServerFacts,
    /// Name of the registry as jobs see it; none when there is no registry.
    pub registry: Option<String>,
    /// What stands before image names that go through the group's dependency proxy: `host/group/dependency_proxy/containers`.
    /// Without a proxy the images come from where it would get them.
    pub dependency_proxy: Option<String>,
    /// Variables of the project and its groups, weakest first.
    pub variables: Vec<Variable>,
    /// Variables given for this pipeline; they override everything.
    pub pipeline_variables: Vec<Variable>,
    /// Pipeline inputs.
    pub inputs: BTreeMap<String, String>,
}

impl Situation {
    /// Whether the pipeline is a branch's: neither a tag's nor a merge request's.
    pub fn is_for_branch(&self) -> bool {
        self.ref_kind == RefKind::Branch && self.merge_request.is_none()
    }

    /// Whether the pipeline is a tag's.
    pub fn is_for_tag(&self) -> bool {
        self.ref_kind == RefKind::Tag
    }
}
