//! One job as GitLab's runner API hands it out: the one shape that the local scheduler, our server and GitLab share, and the
//! one a runner reads.
//!
//! Reading is lenient (`null` and missing fields are defaults, unknown fields are ignored), because GitLab adds fields with
//! every release; writing gives what gitlab-runner expects.

mod build;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use build::{PayloadError, PayloadFacts, RunnerFacts};

use crate::variables::Variable;

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(deserialize_with = "null_is_default")] pub $field: $type,)*
        }
    };
}

wire! {
    /// A job, ready to run.
    JobPayload {
        /// Its number.
        id: u64,
        /// Its token: for the API, the registry and git.
        token: String,
        /// Whether an existing clone may be brought up to date.
        allow_git_fetch: bool,
        /// Where it stands.
        job_info: JobInfo,
        /// What to check out.
        git_info: GitInfo,
        /// Limits.
        runner_info: RunnerInfo,
        /// Variables; every name once, those of the server already expanded in one another.
        variables: Vec<Variable>,
        /// Scripts.
        steps: Vec<Step>,
        /// Where it runs; an empty name leaves the choice to the runner.
        image: JobImage,
        /// What runs beside it.
        services: Vec<JobService>,
        /// What it leaves behind.
        artifacts: Vec<JobArtifact>,
        /// What it keeps for others.
        cache: Vec<JobCache>,
        /// Registry logins.
        credentials: Vec<Credential>,
        /// Artifacts to fetch.
        dependencies: Vec<Dependency>,
        /// What the server understands.
        features: Features,
        /// Scripts of the runner's own stages.
        hooks: Vec<Hook>,
    }
}

wire! {
    /// Where a job stands.
    JobInfo {
        /// Its number.
        id: u64,
        /// Its name.
        name: String,
        /// Its stage.
        stage: String,
        /// Number of the pipeline.
        pipeline_id: u64,
        /// Number of the project.
        project_id: u64,
        /// Last part of the project's path.
        project_name: String,
        /// Full path of the project.
        project_full_path: String,
    }
}

wire! {
    /// What to check out.
    GitInfo {
        /// With the job token in it.
        repo_url: String,
        /// `sha1` or `sha256`.
        repo_object_format: String,
        /// Branch or tag name.
        #[serde(rename = "ref")]
        reference: String,
        /// The commit.
        sha: String,
        /// The commit before the push.
        before_sha: String,
        /// `branch` or `tag`.
        ref_type: String,
        /// What to fetch.
        refspecs: Vec<String>,
        /// How much history; 0 is all of it.
        depth: u64,
        /// Whether the reference is protected.
        protected: Option<bool>,
    }
}

wire! {
    /// Limits.
    RunnerInfo {
        /// Seconds.
        timeout: u64,
    }
}

wire! {
    /// A script: `script`, `after_script`, `release`.
    Step {
        /// Which.
        name: String,
        /// Its lines.
        script: Vec<String>,
        /// Seconds.
        timeout: u64,
        /// `on_success` or `always`.
        when: String,
        /// Whether its failure is the job's.
        allow_failure: bool,
    }
}

wire! {
    /// An image.
    JobImage {
        /// Reference, with variables.
        name: String,
        /// Replaces the image's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        entrypoint: Option<Vec<String>>,
        /// In the order to try.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pull_policy: Vec<String>,
        /// Options of one executor.
        #[serde(skip_serializing_if = "ExecutorOptions::is_empty")]
        executor_opts: ExecutorOptions,
    }
}

wire! {
    /// Options that only one executor understands.
    ExecutorOptions {
        /// The docker executor's.
        #[serde(skip_serializing_if = "DockerOptions::is_empty")]
        docker: DockerOptions,
    }
}

impl ExecutorOptions {
    fn is_empty(&self) -> bool {
        self.docker.is_empty()
    }
}

wire! {
    /// `image:docker`.
    DockerOptions {
        /// `linux/arm64`.
        #[serde(skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        /// User or `user:group`.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    }
}

impl DockerOptions {
    fn is_empty(&self) -> bool {
        self.platform.is_none() && self.user.is_none()
    }
}

wire! {
    /// A container beside the job.
    JobService {
        /// Reference, with variables.
        name: String,
        /// Host names, separated by spaces or commas.
        #[serde(skip_serializing_if = "String::is_empty")]
        alias: String,
        /// Replaces the image's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        entrypoint: Option<Vec<String>>,
        /// Replaces the image's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<Vec<String>>,
        /// Variables of this container only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        variables: Vec<Variable>,
        /// In the order to try.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pull_policy: Vec<String>,
        /// Options of one executor.
        #[serde(skip_serializing_if = "ExecutorOptions::is_empty")]
        executor_opts: ExecutorOptions,
    }
}

impl JobService {
    /// The alias list, divided.
    pub fn aliases(&self) -> Vec<&str> {
        self.alias
            .split([' ', ','])
            .filter(|alias| !alias.is_empty())
            .collect()
    }
}

wire! {
    /// Files to send.
    JobArtifact {
        /// Name of the archive, with variables.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Whether files unknown to git are sent.
        untracked: bool,
        /// Globs.
        paths: Vec<String>,
        /// Globs to leave out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
        /// `on_success`, `on_failure`, `always`.
        when: String,
        /// `archive`, `dotenv`, `junit`, …
        artifact_type: String,
        /// `zip`, `gzip`, `raw`.
        artifact_format: String,
        /// How long they are kept.
        #[serde(skip_serializing_if = "String::is_empty")]
        expire_in: String,
    }
}

wire! {
    /// Files to keep for other jobs.
    JobCache {
        /// Its name, with variables.
        key: String,
        /// Whether files unknown to git are kept.
        untracked: bool,
        /// `pull-push`, `pull`, `push`, or a variable.
        policy: String,
        /// Globs.
        paths: Vec<String>,
        /// `on_success`, `on_failure`, `always`.
        when: String,
        /// Names to try instead.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fallback_keys: Vec<String>,
    }
}

wire! {
    /// A login.
    Credential {
        /// `registry`.
        #[serde(rename = "type")]
        kind: String,
        /// Its name, with port.
        url: String,
        /// User.
        username: String,
        /// Password.
        password: String,
    }
}

wire! {
    /// A job whose artifacts are fetched.
    Dependency {
        /// Its number.
        id: u64,
        /// Its token.
        token: String,
        /// Its name.
        name: String,
        /// Its archive; none when it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        artifacts_file: Option<ArtifactsFile>,
    }
}

wire! {
    /// An archive.
    ArtifactsFile {
        /// Its name.
        filename: String,
        /// Bytes.
        size: u64,
    }
}

wire! {
    /// What the server understands.
    Features {
        /// Section markers in traces.
        trace_sections: bool,
        /// Prefixes of tokens to hide.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        token_mask_prefixes: Vec<String>,
        /// Failure reasons it knows.
        failure_reasons: Vec<String>,
    }
}

wire! {
    /// A script of one of the runner's own stages.
    Hook {
        /// `pre_get_sources_script`.
        name: String,
        /// Its lines.
        script: Vec<String>,
    }
}

/// In which format the files of a report type are sent.
pub(crate) fn report_format(kind: &str) -> &'static str {
    // GitLab's Enums::Ci::JobArtifact: the reports that it reads itself are compressed.
    const RAW: &[&str] = &[
        "accessibility",
        "browser_performance",
        "codequality",
        "container_scanning",
        "coverage_fuzzing",
        "dast",
        "dependency_scanning",
        "license_scanning",
        "load_performance",
        "performance",
        "repository_xray",
        "requirements",
        "requirements_v2",
        "sast",
        "secret_detection",
        "terraform",
        "cluster_image_scanning",
        "api_fuzzing",
    ];
    if RAW.contains(&kind) { "raw" } else { "gzip" }
}

/// What the features of our own payloads say.
pub(crate) fn own_features() -> Features {
    Features {
        trace_sections: true,
        token_mask_prefixes: vec!["glpat-".to_owned()],
        failure_reasons: [
            "unknown_failure",
            "script_failure",
            "runner_system_failure",
            "job_execution_timeout",
            "image_pull_failure",
            "runner_configuration_error",
            "runner_external_dependency_failure",
            "runner_interrupted",
        ]
        .map(str::to_owned)
        .to_vec(),
    }
}

/// Facts about files that only the caller can know: the digest of a list of files, for cache keys.
pub type FileDigests = BTreeMap<Vec<String>, String>;

#[cfg(test)]
mod tests;
