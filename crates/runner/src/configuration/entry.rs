//! One `[[runners]]` section.

use super::docker::{self, DockerSettings};
use super::document::Section;
use super::finding::{Finding, Severity};
use super::kubernetes;
use shipway_pipeline::variables::Variable;
use std::path::PathBuf;

/// How jobs are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// Each in a container of its own.
    #[default]
    Container,
    /// By the user's own shell on this machine, without any isolation.
    Shell,
}

/// What a runner does with every job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerSettings {
    /// How.
    pub executor: Executor,
    /// The shell executor's directory for projects; one of the installation's without.
    pub builds_directory: Option<PathBuf>,
    /// The shell executor's `bash` or `sh`; the first of them that there is without.
    pub shell: Option<String>,
    /// Variables for every job; a job may override them.
    pub environment: Vec<Variable>,
    /// Put before the first command of every job.
    pub pre_build_script: Option<String>,
    /// Put after the last command of every job's script.
    pub post_build_script: Option<String>,
    /// About containers.
    pub docker: DockerSettings,
}

/// A runner of the file.
#[derive(Clone, Debug)]
pub struct RunnerEntry {
    /// Its name.
    pub name: String,
    /// How many of its jobs run at once; 0 leaves it to `concurrent`.
    pub limit: u64,
    /// What it does with every job.
    pub settings: RunnerSettings,
    /// Why it cannot work here.
    pub(super) refusal: Option<Finding>,
}

/// Reads a section.
pub(super) fn read(mut section: Section<'_>) -> RunnerEntry {
    let (findings, before) = (section.findings, section.findings.count());
    let (asked, mut refusal) = executor(&mut section);
    let executor = match asked {
        Asked::Shell => Executor::Shell,
        Asked::Docker | Asked::Kubernetes => Executor::Container,
    };
    let mut docker = DockerSettings::unsaid();
    let entrypoints = feature_flags(&mut section);
    if asked == Asked::Kubernetes {
        section.know("docker");
        docker.passes_over_entrypoints = !entrypoints;
        if let Some(settings) = section.table("kubernetes") {
            docker = kubernetes::read(settings, entrypoints);
        }
    } else {
        section.know("kubernetes");
        if let Some(settings) = section.table("docker") {
            let (read, refused) = docker::read(settings);
            docker = read;
            refusal = refusal.or(refused);
        }
    }
    section.without_meaning(&WITHOUT_MEANING);
    if let Some(mut cache) = section.table("cache") {
        cache.without_meaning(&CACHE_WITHOUT_MEANING);
        cache.finish();
    }
    for key in REGISTERED {
        section.know(key);
    }
    let name = section.text("name").unwrap_or_default();
    let mut entry = RunnerEntry {
        name,
        limit: section.number("limit").unwrap_or_default(),
        settings: RunnerSettings {
            executor,
            builds_directory: builds_directory(&mut section, executor),
            shell: shell(&mut section, executor),
            environment: environment(&mut section),
            pre_build_script: section.text("pre_build_script"),
            post_build_script: section.text("post_build_script"),
            docker,
        },
        refusal,
    };
    section.finish();
    entry.refusal = entry.refusal.or_else(|| findings.first_error_after(before));
    entry
}

/// Settings of gitlab-runner that change nothing here, and why.
const WITHOUT_MEANING: [(&str, &str); 28] = [
    ("cache_dir", "caches are kept in the data directory"),
    ("request_concurrency", "jobs are asked for one at a time"),
    ("output_limit", "a trace may have 4 MiB"),
    ("tls-cert-file", "no certificate is shown to GitLab"),
    ("tls-key-file", "no certificate is shown to GitLab"),
    ("clone_url", "the sources are those of the work tree"),
    (
        "pre_get_sources_script",
        "the sources are not fetched by a script",
    ),
    (
        "post_get_sources_script",
        "the sources are not fetched by a script",
    ),
    ("pre_clone_script", "the sources are not fetched by a script"),
    ("post_clone_script", "the sources are not fetched by a script"),
    ("debug_trace_disabled", "CI_DEBUG_TRACE is the job's choice"),
    (
        "unhealthy_requests_limit",
        "jobs are not asked for by this section",
    ),
    ("unhealthy_interval", "jobs are not asked for by this section"),
    ("job_status_final_update_retry_limit", "GitLab is not told"),
    ("prepare_timeout", "a job's own timeout counts"),
    ("get_sources_timeout", "a job's own timeout counts"),
    ("strict_check_interval", "jobs are not asked for by this section"),
    ("clean_git_config", "the sources are not fetched by git"),
    ("referees", "nothing is measured"),
    ("custom_build_dir", "projects lie below builds_dir"),
    ("session_server", "there are no interactive web terminals"),
    ("custom", "there is no custom executor"),
    ("ssh", "there is no ssh executor"),
    ("parallels", "there is no parallels executor"),
    ("virtualbox", "there is no virtualbox executor"),
    ("machine", "machines are not made"),
    ("autoscaler", "machines are not made"),
    ("instance", "machines are not made"),
];

const CACHE_WITHOUT_MEANING: [(&str, &str); 8] = [
    ("Type", "caches are kept in the data directory"),
    ("Path", "caches are kept in the data directory"),
    ("Shared", "caches are kept in the data directory"),
    ("Insecure", "caches are kept in the data directory"),
    ("MaxUploadedArchiveSize", "caches may be of any size"),
    ("s3", "caches are kept in the data directory"),
    ("gcs", "caches are kept in the data directory"),
    ("azure", "caches are kept in the data directory"),
];

/// Without this flag, gitlab-runner lets no entrypoint run on Kubernetes.
const HONOR_ENTRYPOINT: &str = "FF_KUBERNETES_HONOR_ENTRYPOINT";

/// What only matters where GitLab is asked, as `register` leaves it behind: nothing here should hold a token.
const REGISTERED: [&str; 6] = [
    "id",
    "url",
    "token",
    "token_obtained_at",
    "token_expires_at",
    "tls-ca-file",
];

/// The executor that a section is written for, which decides which of its parts count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Docker,
    Kubernetes,
    Shell,
}

/// The executors that gitlab-runner has or had, by their names: those that run jobs here first.
pub const EXECUTORS: [&str; 13] = [
    "docker",
    "shell",
    "kubernetes",
    "docker-windows",
    "docker-autoscaler",
    "docker+machine",
    "docker-ssh",
    "docker-ssh+machine",
    "instance",
    "custom",
    "ssh",
    "virtualbox",
    "parallels",
];

const NO_CLUSTER: &str = "jobs run in pods of this machine: no cluster is asked";

/// The executor, and why it cannot be had, if so.
fn executor(section: &mut Section<'_>) -> (Asked, Option<Finding>) {
    let Some(named) = section.placed_text("executor") else {
        // The Helm chart's files leave the executor out: theirs is always the same.
        if !section.has("kubernetes") {
            return (Asked::Docker, None);
        }
        let place = section.place("kubernetes");
        section.findings.add(Severity::Note, &place, NO_CLUSTER);
        return (Asked::Kubernetes, None);
    };
    let why = match named.value.as_str() {
        "docker" => return (Asked::Docker, None),
        "shell" => return (Asked::Shell, None),
        "kubernetes" => {
            section.findings.add(Severity::Note, &named.span, NO_CLUSTER);
            return (Asked::Kubernetes, None);
        }
        "docker-windows" => {
            let message = "there are no Windows containers here: jobs run in Linux containers, and their scripts in a \
                           shell of Linux";
            section.findings.add(Severity::Warning, &named.span, message);
            return (Asked::Docker, None);
        }
        "docker+machine" | "docker-autoscaler" | "instance" => {
            "makes machines, which Shipway does not: use \"docker\" on one machine"
        }
        "docker-ssh" | "docker-ssh+machine" | "ssh" | "virtualbox" | "parallels" | "custom" => {
            "is none of Shipway's: use \"docker\" or \"shell\""
        }
        _ => "is not known: use \"docker\" or \"shell\"",
    };
    let message = format!("the executor \"{}\" {why}", named.value);
    let refusal = section.findings.make(Severity::Error, &named.span, message);
    (Asked::Docker, Some(refusal))
}

/// `environment = ["NAME=value"]`
fn environment(section: &mut Section<'_>) -> Vec<Variable> {
    let mut variables = Vec::new();
    for text in section.texts("environment") {
        match text.value.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                variables.push(Variable::public(name.trim(), value));
            }
            _ => section.findings.add(
                Severity::Warning,
                &text.span,
                // A value may be a secret.
                "this is not NAME=value and has no effect",
            ),
        }
    }
    variables
}

fn builds_directory(section: &mut Section<'_>, executor: Executor) -> Option<PathBuf> {
    if executor == Executor::Container {
        section.without_meaning(&[("builds_dir", "projects lie in /builds")]);
        return None;
    }
    let directory = section
        .placed_text("builds_dir")
        .filter(|text| !text.value.is_empty())?;
    if !directory.value.starts_with('/') {
        let message = "`builds_dir` has to be an absolute path";
        section.findings.add(Severity::Error, &directory.span, message);
    }
    Some(PathBuf::from(directory.value))
}

fn shell(section: &mut Section<'_>, executor: Executor) -> Option<String> {
    if executor == Executor::Container {
        let why = "bash runs the scripts where an image has it, else sh";
        section.without_meaning(&[("shell", why)]);
        return None;
    }
    let shell = section
        .placed_text("shell")
        .filter(|shell| !shell.value.is_empty())?;
    if matches!(shell.value.as_str(), "bash" | "sh") {
        return Some(shell.value);
    }
    let message = format!("the shell {} is not known here: use bash or sh", shell.value);
    section.findings.add(Severity::Error, &shell.span, message);
    None
}

/// Says which flags change nothing; whether one has images' entrypoints run on Kubernetes is returned.
fn feature_flags(section: &mut Section<'_>) -> bool {
    let place = section.place("feature_flags");
    let on = section
        .flags("feature_flags")
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name));
    let (known, unknown): (Vec<String>, Vec<String>) =
        on.partition(|name| matches!(name.as_str(), HONOR_ENTRYPOINT | "FF_NETWORK_PER_BUILD"));
    if !unknown.is_empty() {
        let message = format!(
            "{} has no effect: every job has a network of its own, and scripts are run in one way",
            unknown.join(", ")
        );
        section.findings.add(Severity::Warning, &place, message);
    }
    known.iter().any(|name| name == HONOR_ENTRYPOINT)
}
