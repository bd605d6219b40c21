//! The outcome of a compilation: jobs with everything decided that can be decided before one of them runs.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    name::{JobName, StageName},
    situation::Situation,
    variables::Variable,
};

/// What happens to the other jobs when one fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnJobFailure {
    /// They go on.
    #[default]
    None,
    /// They are cancelled.
    All,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name, by `workflow:name`.
    pub name: Option<String>,
    /// Stages that have jobs, in order.
    pub stages: Vec<StageName>,
    /// Jobs, by stage and then in the order of the file.
    pub jobs: Vec<Job>,
    /// `workflow:auto_cancel:on_job_failure`.
    pub on_job_failure: OnJobFailure,
    /// Predefined variables of the pipeline.
    pub predefined: Vec<Variable>,
    /// What it was compiled for.
    pub situation: Situation,
}

impl Pipeline {
    /// The job of that name.
    pub fn job(&self, name: &JobName) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name == *name)
    }
}

/// When a job runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// If what comes before succeeded.
    #[default]
    OnSuccess,
    /// If something before failed.
    OnFailure,
    /// In any case.
    Always,
    /// When somebody starts it.
    Manual,
    /// Some time after it could.
    Delayed,
}

/// Whether a failure of the job counts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowFailure {
    /// Every failure counts.
    No,
    /// None does.
    Yes,
    /// Those with other exit codes do.
    ExitCodes(Vec<i32>),
}

impl AllowFailure {
    /// Whether a job that failed with this exit code counts as passed.
    pub fn allows(&self, exit_code: Option<i32>) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// Another job that this one waits for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Which.
    pub job: JobName,
    /// Whether its artifacts are fetched.
    pub artifacts: bool,
    /// Whether it may be missing.
    pub optional: bool,
}

/// An image to run in.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Reference, with variables as written.
    pub name: String,
    /// Replaces the image's entrypoint; `[""]` removes it.
    pub entrypoint: Option<Vec<String>>,
    /// In the order to try.
    pub pull_policy: Vec<String>,
    /// `docker:platform`.
    pub platform: Option<String>,
    /// `docker:user`.
    pub user: Option<String>,
}

/// A container beside the job.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its image.
    pub image: Image,
    /// Host names, besides those made from the image name.
    pub aliases: Vec<String>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Variables of this container only.
    pub variables: Vec<Variable>,
}

/// When artifacts or caches are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepWhen {
    /// If the job passed.
    #[default]
    OnSuccess,
    /// If it failed.
    OnFailure,
    /// In any case.
    Always,
}

/// What a job leaves behind.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Name of the archive.
    pub name: Option<String>,
    /// Globs to keep.
    pub paths: Vec<String>,
    /// Globs to leave out.
    pub exclude: Vec<String>,
    /// Whether files unknown to git are kept.
    pub untracked: bool,
    /// When.
    pub when: KeepWhen,
    /// How long, as written.
    pub expire_in: Option<String>,
    /// Report type to paths.
    pub reports: BTreeMap<String, Vec<String>>,
}

/// What names a cache.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheKey {
    /// Text with variables.
    Text(String),
    /// The contents of files.
    Files {
        /// At most two.
        files: Vec<String>,
        /// Put before the digest.
        prefix: Option<String>,
        /// Whether the last commits that touched the files count instead of their contents.
        by_commit: bool,
    },
}

/// Files kept between jobs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// Its name.
    pub key: CacheKey,
    /// Names to try instead.
    pub fallback_keys: Vec<String>,
    /// Globs to keep.
    pub paths: Vec<String>,
    /// Whether files unknown to git are kept.
    pub untracked: bool,
    /// Whether protected and other branches share it.
    pub unprotect: bool,
    /// `pull-push`, `pull`, `push`, or a variable.
    pub policy: String,
    /// When it is written.
    pub when: KeepWhen,
}

/// Where a job deploys to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Name, with variables as written.
    pub name: String,
    /// Address.
    pub url: Option<String>,
    /// `start`, `prepare`, `stop`, `verify`, `access`.
    pub action: Option<String>,
    /// The job that takes it down.
    pub on_stop: Option<String>,
    /// How long it stays.
    pub auto_stop_in: Option<String>,
    /// `production`, `staging`, `testing`, `development`, `other`.
    pub deployment_tier: Option<String>,
}

/// How often a failed job is tried again.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// 0 to 2.
    pub max: u8,
    /// Failure reasons that count; empty means all, unless exit codes are given.
    pub when: Vec<String>,
    /// Exit codes that count.
    pub exit_codes: Vec<i32>,
}

/// The position of a job among its copies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// From 1.
    pub index: u32,
    /// How many there are.
    pub total: u32,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// The name in the file, which its copies share.
    pub group: String,
    /// Its stage.
    pub stage: StageName,
    /// Lines before the script, in the same shell.
    pub before_script: Vec<String>,
    /// Lines.
    pub script: Vec<String>,
    /// Lines afterwards, in a shell of their own.
    pub after_script: Vec<String>,
    /// Lines before the sources are fetched.
    pub pre_get_sources_script: Vec<String>,
    /// Where it runs; none leaves the choice to the runner.
    pub image: Option<Image>,
    /// What runs beside it.
    pub services: Vec<Service>,
    /// Variables of the configuration: global, of the workflow rule, of the job, of its rule; the last counts.
    pub variables: Vec<Variable>,
    /// When it runs.
    pub when: When,
    /// How long a delayed job waits.
    pub start_in: Option<Duration>,
    /// Whether failing is allowed.
    pub allow_failure: AllowFailure,
    /// Jobs to wait for instead of the stages before; `Some` (even empty) takes it out of stage order.
    pub needs: Option<Vec<Need>>,
    /// Jobs whose artifacts are fetched; none means all of earlier stages (or of `needs`).
    pub dependencies: Option<Vec<JobName>>,
    /// What it leaves behind.
    pub artifacts: Option<Artifacts>,
    /// What it keeps for others.
    pub cache: Vec<Cache>,
    /// Where it deploys to.
    pub environment: Option<Environment>,
    /// Runners with all of these may take it.
    pub tags: Vec<String>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retry: Retry,
    /// Whether a newer pipeline may cancel it.
    pub interruptible: bool,
    /// Pattern that finds the coverage in the trace.
    pub coverage: Option<String>,
    /// Jobs of one group run one at a time.
    pub resource_group: Option<String>,
    /// Its position, with `parallel`.
    pub node: Option<Node>,
}
