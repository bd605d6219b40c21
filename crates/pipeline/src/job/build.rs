//! From a compiled job to its payload: adds what exists only now that the job starts (its number, token, directories) and
//! expands variables in one another.
//!
//! The order of the variable sources is GitLab's, weakest first: predefined, configuration, dotenv reports, project, pipeline.

use std::time::Duration;

use super::{
    Credential, Dependency, DockerOptions, ExecutorOptions, FileDigests, GitInfo, Hook, JobArtifact,
    JobCache, JobImage, JobInfo, JobPayload, JobService, RunnerInfo, Step, own_features, report_format,
};
use crate::{
    name::JobName,
    pipeline::{Artifacts, Cache, CacheKey, Image, Job, KeepWhen, Pipeline, Service},
    situation::RefKind,
    variables::{
        ExpandError, Variable,
        predefined::{self, List},
        sort_and_expand_all,
    },
};

/// Seconds that a job without `timeout` may run: GitLab's default for a project.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Why there is no payload.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PayloadError {
    /// The pipeline has no such job.
    #[error("the pipeline has no job `{name}`")]
    UnknownJob {
        /// Its name.
        name: JobName,
    },
    /// Its variables cannot be expanded.
    #[error("the variables of job `{name}` cannot be expanded")]
    Variables {
        /// Its name.
        name: JobName,
        /// Why.
        #[source]
        source: ExpandError,
    },
}

/// The runner that takes the job.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RunnerFacts {
    /// Its number.
    pub id: u64,
    /// What it is called.
    pub description: String,
    /// What it offers.
    pub tags: Vec<String>,
    /// Its version.
    pub version: String,
}

/// What exists only once a job starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PayloadFacts {
    /// Number of the job.
    pub job_id: u64,
    /// Its token, also the password of the registry.
    pub token: String,
    /// Where to clone from, with the token in it; empty where the sources come another way.
    pub repository_url: String,
    /// How much history; 0 is all of it.
    pub depth: u64,
    /// Where jobs have their sources; `/builds` when empty.
    pub builds_directory: String,
    /// ISO 8601.
    pub started_at: String,
    /// For jobs that do not say; an hour when none.
    pub timeout: Option<Duration>,
    /// Who takes it.
    pub runner: RunnerFacts,
    /// Jobs whose artifacts are fetched: those of [`Pipeline::artifact_sources`] that have some.
    pub dependencies: Vec<Dependency>,
    /// Variables of their dotenv reports.
    pub dotenv: Vec<Variable>,
    /// Logins besides the registry's own.
    pub credentials: Vec<Credential>,
    /// PEM of the authority that signed the server and the registry.
    pub server_ca: Option<String>,
    /// Variables given when a manual job was started.
    pub variables: Vec<Variable>,
    /// Digests for cache keys made of files.
    pub file_digests: FileDigests,
}

impl Pipeline {
    /// The jobs whose artifacts a job fetches, by `dependencies`, `needs` or stage order.
    pub fn artifact_sources(&self, name: &JobName) -> Vec<&JobName> {
        let Some(job) = self.job(name) else {
            return Vec::new();
        };
        let stage = self.stages.iter().position(|stage| *stage == job.stage);
        self.jobs
            .iter()
            .filter(|other| {
                let needed = job
                    .needs
                    .as_ref()
                    .map(|needs| needs.iter().any(|need| need.job == other.name && need.artifacts));
                let earlier = self.stages.iter().position(|stage| *stage == other.stage) < stage;
                let listed = job.dependencies.as_ref().map(|names| names.contains(&other.name));
                needed.unwrap_or(earlier) && listed.unwrap_or(true)
            })
            .map(|other| &other.name)
            .collect()
    }

    /// The payload of a job.
    pub fn payload(&self, name: &JobName, facts: &PayloadFacts) -> Result<JobPayload, PayloadError> {
        let job = self
            .job(name)
            .ok_or_else(|| PayloadError::UnknownJob { name: name.clone() })?;
        let timeout = job.timeout.or(facts.timeout).unwrap_or(TIMEOUT).as_secs();
        let variables = sort_and_expand_all(&self.job_variables(job, facts, timeout)).map_err(|source| {
            PayloadError::Variables {
                name: name.clone(),
                source,
            }
        })?;
        let situation = &self.situation;
        let mut credentials = facts.credentials.clone();
        if let Some(registry) = &situation.registry {
            credentials.push(Credential {
                kind: "registry".to_owned(),
                url: registry.clone(),
                username: "gitlab-ci-token".to_owned(),
                password: facts.token.clone(),
            });
        }
        Ok(JobPayload {
            id: facts.job_id,
            token: facts.token.clone(),
            allow_git_fetch: true,
            job_info: JobInfo {
                id: facts.job_id,
                name: job.name.to_string(),
                stage: job.stage.to_string(),
                pipeline_id: situation.pipeline.id,
                project_id: situation.project.id,
                project_name: situation.project.path.rsplit('/').next().unwrap_or("").to_owned(),
                project_full_path: situation.project.path.clone(),
            },
            git_info: self.git_info(facts),
            runner_info: RunnerInfo { timeout },
            variables,
            steps: steps(job, timeout),
            image: job.image.as_ref().map(image).unwrap_or_default(),
            services: job.services.iter().map(service).collect(),
            artifacts: job.artifacts.as_ref().map(artifacts).unwrap_or_default(),
            cache: caches(&job.cache, situation.ref_protected, &facts.file_digests),
            credentials,
            dependencies: facts.dependencies.clone(),
            features: own_features(),
            hooks: hooks(job),
        })
    }

    fn git_info(&self, facts: &PayloadFacts) -> GitInfo {
        let situation = &self.situation;
        let name = &situation.ref_name;
        let (ref_type, refspec) = match (situation.ref_kind, &situation.merge_request) {
            (RefKind::Branch, Some(request)) => {
                let path = format!("refs/merge-requests/{}/head", request.iid);
                ("branch", format!("+{path}:{path}"))
            }
            (RefKind::Branch, None) => ("branch", format!("+refs/heads/{name}:refs/remotes/origin/{name}")),
            (RefKind::Tag, _) => ("tag", format!("+refs/tags/{name}:refs/tags/{name}")),
        };
        let before = &situation.commit.before_sha;
        GitInfo {
            repo_url: facts.repository_url.clone(),
            repo_object_format: if situation.commit.sha.len() == 64 {
                "sha256"
            } else {
                "sha1"
            }
            .to_owned(),
            reference: name.clone(),
            sha: situation.commit.sha.clone(),
            before_sha: if before.is_empty() {
                "0".repeat(40)
            } else {
                before.clone()
            },
            ref_type: ref_type.to_owned(),
            refspecs: vec![refspec],
            depth: facts.depth,
            protected: Some(situation.ref_protected),
        }
    }

    fn job_variables(&self, job: &Job, facts: &PayloadFacts, timeout: u64) -> Vec<Variable> {
        let situation = &self.situation;
        let mut all = self.predefined.clone();
        if let Some(name) = &self.name {
            all.push(Variable {
                raw: true,
                ..Variable::public("CI_PIPELINE_NAME", name)
            });
        }
        all.extend(predefined::job(&predefined::JobFacts {
            name: job.name.as_str(),
            group: &job.group,
            stage: job.stage.as_str(),
            node: job.node.map(|node| (node.index, node.total)),
            manual: job.when == crate::pipeline::When::Manual,
        }));
        all.extend(self.job_only(job, facts, timeout));
        all.extend(job.variables.iter().cloned());
        all.extend(facts.dotenv.iter().cloned());
        all.extend(situation.variables.iter().cloned());
        all.extend(situation.pipeline_variables.iter().cloned());
        all.extend(facts.variables.iter().cloned());
        all
    }

    fn job_only(&self, job: &Job, facts: &PayloadFacts, timeout: u64) -> Vec<Variable> {
        let situation = &self.situation;
        let url = predefined::project_url(situation);
        let builds = if facts.builds_directory.is_empty() {
            "/builds"
        } else {
            &facts.builds_directory
        };
        let mut list = List::default();
        for key in ["CI_JOB_ID", "CI_BUILD_ID"] {
            list.add(key, facts.job_id.to_string());
        }
        for key in ["CI_JOB_TOKEN", "CI_BUILD_TOKEN"] {
            list.0.push(Variable::secret(key, &facts.token));
        }
        list.add("CI_JOB_URL", format!("{url}/-/jobs/{}", facts.job_id));
        list.add("CI_JOB_STARTED_AT", &facts.started_at);
        list.add("CI_JOB_TIMEOUT", timeout.to_string());
        list.add("CI_PIPELINE_ID", situation.pipeline.id.to_string());
        list.add(
            "CI_PIPELINE_URL",
            format!("{url}/-/pipelines/{}", situation.pipeline.id),
        );
        if let Some(image) = &job.image {
            list.add("CI_JOB_IMAGE", &image.name);
        }
        if let Some(registry) = &situation.registry {
            list.add("CI_REGISTRY", registry);
            list.add("CI_REGISTRY_USER", "gitlab-ci-token");
            list.0
                .push(Variable::secret("CI_REGISTRY_PASSWORD", &facts.token));
        }
        if !facts.repository_url.is_empty() {
            // Not masked as a whole: the token inside is masked by itself.
            for key in ["CI_REPOSITORY_URL", "CI_BUILD_REPO"] {
                list.0.push(Variable {
                    public: false,
                    raw: true,
                    ..Variable::public(key, &facts.repository_url)
                });
            }
        }
        list.add("CI_BUILDS_DIR", builds);
        list.add("CI_PROJECT_DIR", format!("{builds}/{}", situation.project.path));
        list.add("CI_CONCURRENT_ID", "0");
        list.add("CI_CONCURRENT_PROJECT_ID", "0");
        list.add("CI_SERVER", "yes");
        list.add("CI_RUNNER_ID", facts.runner.id.to_string());
        list.add_raw("CI_RUNNER_DESCRIPTION", &facts.runner.description);
        list.add_raw("CI_RUNNER_TAGS", serde_json::json!(facts.runner.tags).to_string());
        list.add("CI_RUNNER_VERSION", &facts.runner.version);
        if let Some(authority) = &facts.server_ca {
            list.0.push(Variable {
                file: true,
                raw: true,
                ..Variable::public("CI_SERVER_TLS_CA_FILE", authority)
            });
        }
        if let Some(environment) = &job.environment {
            list.0
                .extend(predefined::environment(environment, &environment.name));
            if let Some(address) = &environment.url {
                list.add("CI_ENVIRONMENT_URL", address);
            }
        }
        list.0
    }
}

fn steps(job: &Job, timeout: u64) -> Vec<Step> {
    let mut steps = vec![Step {
        name: "script".to_owned(),
        script: job.before_script.iter().chain(&job.script).cloned().collect(),
        timeout,
        when: "on_success".to_owned(),
        allow_failure: false,
    }];
    if !job.after_script.is_empty() {
        steps.push(Step {
            name: "after_script".to_owned(),
            script: job.after_script.clone(),
            timeout,
            when: "always".to_owned(),
            allow_failure: true,
        });
    }
    steps
}

fn hooks(job: &Job) -> Vec<Hook> {
    if job.pre_get_sources_script.is_empty() {
        return Vec::new();
    }
    vec![Hook {
        name: "pre_get_sources_script".to_owned(),
        script: job.pre_get_sources_script.clone(),
    }]
}

fn executor_options(image: &Image) -> ExecutorOptions {
    ExecutorOptions {
        docker: DockerOptions {
            platform: image.platform.clone(),
            user: image.user.clone(),
        },
    }
}

fn image(image: &Image) -> JobImage {
    JobImage {
        name: image.name.clone(),
        entrypoint: image.entrypoint.clone(),
        pull_policy: image.pull_policy.clone(),
        executor_opts: executor_options(image),
    }
}

fn service(service: &Service) -> JobService {
    JobService {
        name: service.image.name.clone(),
        alias: service.aliases.join(" "),
        entrypoint: service.image.entrypoint.clone(),
        command: service.command.clone(),
        variables: service.variables.clone(),
        pull_policy: service.image.pull_policy.clone(),
        executor_opts: executor_options(&service.image),
    }
}

fn keep(when: KeepWhen) -> String {
    match when {
        KeepWhen::OnSuccess => "on_success",
        KeepWhen::OnFailure => "on_failure",
        KeepWhen::Always => "always",
    }
    .to_owned()
}

fn artifacts(artifacts: &Artifacts) -> Vec<JobArtifact> {
    let mut sent = Vec::new();
    let expire_in = artifacts.expire_in.clone().unwrap_or_default();
    if !artifacts.paths.is_empty() || artifacts.untracked {
        sent.push(JobArtifact {
            name: artifacts.name.clone().unwrap_or_default(),
            untracked: artifacts.untracked,
            paths: artifacts.paths.clone(),
            exclude: artifacts.exclude.clone(),
            when: keep(artifacts.when),
            artifact_type: "archive".to_owned(),
            artifact_format: "zip".to_owned(),
            expire_in: expire_in.clone(),
        });
    }
    for (kind, paths) in &artifacts.reports {
        sent.push(JobArtifact {
            name: format!("{kind}.report"),
            untracked: false,
            paths: paths.clone(),
            exclude: Vec::new(),
            // Reports are sent whatever became of the job.
            when: "always".to_owned(),
            artifact_type: kind.clone(),
            artifact_format: report_format(kind).to_owned(),
            expire_in: expire_in.clone(),
        });
    }
    sent
}

fn caches(caches: &[Cache], protected: bool, digests: &FileDigests) -> Vec<JobCache> {
    caches
        .iter()
        .enumerate()
        .map(|(position, cache)| {
            let suffix = match (cache.unprotect, protected) {
                (true, _) => "",
                (false, true) => "-protected",
                (false, false) => "-non_protected",
            };
            let key = match &cache.key {
                CacheKey::Text(text) => text.clone(),
                CacheKey::Files { files, prefix, .. } => {
                    let digest = digests.get(files).map_or("default", String::as_str);
                    match prefix {
                        Some(prefix) => format!("{prefix}-{digest}"),
                        None if caches.len() > 1 => format!("{position}_{digest}"),
                        None => digest.to_owned(),
                    }
                }
            };
            JobCache {
                key: format!("{key}{suffix}"),
                untracked: cache.untracked,
                policy: cache.policy.clone(),
                paths: cache.paths.clone(),
                when: keep(cache.when),
                fallback_keys: cache
                    .fallback_keys
                    .iter()
                    .map(|key| format!("{key}{suffix}"))
                    .collect(),
            }
        })
        .collect()
}
