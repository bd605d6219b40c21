//! `[runners.docker]`: the containers of jobs.

use super::document::Section;
use super::finding::{Finding, Severity};
use super::volume::VolumeSetting;
use shipway_container::{Network, PullPolicy};
use std::net::IpAddr;
use std::time::Duration;

/// How containers of jobs are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// The image of a job that names none.
    pub image: Option<String>,
    /// Whether the `image:entrypoint` of a job is passed over.
    pub disable_entrypoint_overwrite: bool,
    /// Whether no entrypoint runs in a job's container, as on Kubernetes.
    pub passes_over_entrypoints: bool,
    /// The user of every job's container, whatever the job names.
    pub user: Option<String>,
    /// Users that a job's container may have; empty allows `user`, and all where there is none.
    pub allowed_users: Vec<String>,
    /// What containers of jobs and services reach.
    pub network: Network,
    /// The host name of every job's container.
    pub hostname: Option<String>,
    /// What jobs share with their services or the machine.
    pub volumes: Vec<VolumeSetting>,
    /// When images are asked for again, in the order to try; empty leaves it to the runner.
    pub pull_policies: Vec<PullPolicy>,
    /// What a job may choose instead; empty allows all.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Patterns of images that jobs may name; empty allows all.
    pub allowed_images: Vec<String>,
    /// The same for services.
    pub allowed_services: Vec<String>,
    /// Services of every job, before the job's own.
    pub services: Vec<ServiceSettings>,
    /// How long services may take to accept a connection; zero does not wait.
    pub wait_for_services: Option<Duration>,
    /// Lines of `/etc/hosts` of the job's container.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
}

impl Default for DockerSettings {
    /// As Shipway works where no file says otherwise: like a runner with socket binding.
    fn default() -> Self {
        Self {
            image: None,
            disable_entrypoint_overwrite: false,
            passes_over_entrypoints: false,
            user: None,
            allowed_users: Vec::new(),
            network: Network::Pod,
            hostname: None,
            volumes: vec![VolumeSetting::AssumedSocket],
            pull_policies: Vec::new(),
            allowed_pull_policies: Vec::new(),
            allowed_images: Vec::new(),
            allowed_services: Vec::new(),
            services: Vec::new(),
            wait_for_services: None,
            extra_hosts: Vec::new(),
            shm_size: None,
        }
    }
}

impl DockerSettings {
    /// What a `config.toml` means that has no word about containers.
    pub(super) fn unsaid() -> Self {
        Self {
            // A job of gitlab-runner finds no socket then, and may not ask for images in another way.
            volumes: Vec::new(),
            allowed_pull_policies: vec![PullPolicy::Always],
            ..Self::default()
        }
    }
}

/// A service of every job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Image.
    pub name: String,
    /// Host names, separated by spaces or commas.
    pub alias: String,
    /// In place of the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's own.
    pub command: Option<Vec<String>>,
    /// Its own variables, `NAME=value`.
    pub environment: Vec<(String, String)>,
}

/// Reads the section; what it asks for that can never be had is the second part.
pub(super) fn read(mut section: Section<'_>) -> (DockerSettings, Option<Finding>) {
    let (network, mut refusal) = network_mode(&mut section);
    say_that_nothing_is_privileged(&mut section);
    let mut volumes = Vec::new();
    for text in section.texts("volumes") {
        match VolumeSetting::read(&text, section.findings) {
            Ok(volume) => volumes.push(volume),
            Err(refused) => refusal = refusal.or(Some(refused)),
        }
    }
    if section.flag("disable_cache") == Some(true) {
        // As there: such volumes are not made at all.
        volumes.retain(|volume| !matches!(volume, VolumeSetting::Shared { kept: true, .. }));
    }
    section.without_meaning(&WITHOUT_MEANING);
    let (pull_policies, allowed_pull_policies) = pull_policies(&mut section);
    let settings = DockerSettings {
        image: section.text("image"),
        disable_entrypoint_overwrite: section.flag("disable_entrypoint_overwrite").unwrap_or_default(),
        passes_over_entrypoints: false,
        user: section.text("user"),
        allowed_users: section.plain_texts("allowed_users"),
        network,
        hostname: section.text("hostname"),
        volumes,
        pull_policies,
        allowed_pull_policies,
        allowed_images: section.plain_texts("allowed_images"),
        allowed_services: section.plain_texts("allowed_services"),
        services: section.tables("services").into_iter().map(service).collect(),
        wait_for_services: wait(&mut section),
        extra_hosts: hosts(&mut section),
        shm_size: section.number("shm_size").filter(|size| *size > 0),
    };
    section.finish();
    (settings, refusal)
}

const NO_LIMITS: &str = "jobs share the machine's processors without limits";
pub(super) const OWN_LIMIT: &str =
    "`limits.memory` of shipway.toml bounds the memory of a job together with its services";
const NO_HOST: &str = "a job has no devices or rights of the machine, whatever its configuration says";

/// Settings of gitlab-runner that change nothing here, and why.
const WITHOUT_MEANING: [(&str, &str); 55] = [
    ("tmpfs", "/tmp is part of the container"),
    ("services_tmpfs", "/tmp is part of the container"),
    ("container_labels", "containers of jobs are not listed anywhere"),
    ("group_add", "a job's user has the groups of its image"),
    ("log_options", "the log is the job's trace"),
    ("services_limit", "a job may have any number of services"),
    ("allowed_privileged_images", "no container is privileged"),
    ("allowed_privileged_services", "no container is privileged"),
    ("host", "no Docker daemon is asked"),
    ("tls_verify", "no Docker daemon is asked"),
    ("tls_cert_path", "no Docker daemon is asked"),
    ("cache_dir", "volumes are kept in the data directory"),
    ("volume_driver", "volumes are kept in the data directory"),
    ("volume_driver_ops", "volumes are kept in the data directory"),
    ("volume_keep", "volumes are kept until `shipway prune --all`"),
    ("volumes_from", "there are no containers besides the job's"),
    ("helper_image", "no helper container is needed"),
    ("helper_image_flavor", "no helper container is needed"),
    (
        "helper_image_autoset_arch_and_os",
        "no helper container is needed",
    ),
    ("links", "services are found by their names"),
    ("network_mtu", "connections go out through a relay"),
    ("enable_ipv6", "jobs have IPv4 only"),
    ("mac_address", "jobs have a network of their own"),
    (
        "dns",
        "names are answered by the job's own network, from this machine's settings",
    ),
    (
        "dns_search",
        "names are answered by the job's own network, from this machine's settings",
    ),
    (
        "dns_opt",
        "names are answered by the job's own network, from this machine's settings",
    ),
    ("cpus", NO_LIMITS),
    ("cpuset_cpus", NO_LIMITS),
    ("cpuset_mems", NO_LIMITS),
    ("cpu_shares", NO_LIMITS),
    ("memory", OWN_LIMIT),
    ("memory_swap", OWN_LIMIT),
    ("memory_reservation", OWN_LIMIT),
    ("service_memory", OWN_LIMIT),
    ("service_memory_swap", OWN_LIMIT),
    ("service_memory_reservation", OWN_LIMIT),
    ("service_cpus", NO_LIMITS),
    ("service_cpu_shares", NO_LIMITS),
    ("service_cpuset_cpus", NO_LIMITS),
    ("oom_kill_disable", OWN_LIMIT),
    ("oom_score_adjust", OWN_LIMIT),
    ("ulimit", NO_LIMITS),
    ("cap_add", NO_HOST),
    ("cap_drop", NO_HOST),
    ("devices", NO_HOST),
    ("device_cgroup_rules", NO_HOST),
    ("services_devices", NO_HOST),
    ("gpus", NO_HOST),
    ("service_gpus", NO_HOST),
    ("security_opt", NO_HOST),
    ("services_security_opt", NO_HOST),
    ("sysctls", NO_HOST),
    ("userns_mode", "every job has a user namespace of its own"),
    ("runtime", "containers are run by Shipway itself"),
    ("isolation", "there are no Windows containers here"),
];

/// What containers reach, and why that cannot be had, if so.
fn network_mode(section: &mut Section<'_>) -> (Network, Option<Finding>) {
    let Some(mode) = section.placed_text("network_mode") else {
        return (Network::Pod, None);
    };
    match mode.value.as_str() {
        "" | "bridge" | "default" => (Network::Pod, None),
        "none" => (Network::None, None),
        "host" => {
            let refusal = section.findings.make(
                Severity::Error,
                &mode.span,
                "network_mode = \"host\" would put jobs into this machine's network, which Shipway never does: remove it, \
                 and name what jobs may reach in `egress.allow` of shipway.toml",
            );
            (Network::Pod, Some(refusal))
        }
        other => {
            let message = format!("the network `{other}` has no effect: every job has a network of its own");
            section.findings.add(Severity::Warning, &mode.span, message);
            (Network::Pod, None)
        }
    }
}

pub(super) fn say_that_nothing_is_privileged(section: &mut Section<'_>) {
    for key in ["privileged", "services_privileged"] {
        if section.flag(key) == Some(true) {
            let message = format!(
                "`{key}` is not needed: no container is privileged, and Docker services are replaced by Shipway's engine"
            );
            section.findings.add(Severity::Note, &section.place(key), message);
        }
    }
}

/// What the runner does by itself, and what its jobs may choose.
pub(super) fn pull_policies(section: &mut Section<'_>) -> (Vec<PullPolicy>, Vec<PullPolicy>) {
    let own = policies(section, "pull_policy");
    let mut allowed = policies(section, "allowed_pull_policies");
    if allowed.is_empty() {
        allowed.clone_from(&own);
    }
    if allowed.is_empty() {
        allowed = DockerSettings::unsaid().allowed_pull_policies;
    }
    (own, allowed)
}

fn policies(section: &mut Section<'_>, key: &str) -> Vec<PullPolicy> {
    let mut policies = Vec::new();
    for text in section.texts(key) {
        match crate::images::policy(&text.value) {
            Some(policy) => policies.push(policy),
            None if text.value.is_empty() => {}
            None => section.findings.add(
                Severity::Error,
                &text.span,
                format!(
                    "`{}` is no pull policy: use always, if-not-present or never",
                    text.value
                ),
            ),
        }
    }
    policies
}

pub(super) fn service(mut section: Section<'_>) -> ServiceSettings {
    let list = |texts: Vec<String>| (!texts.is_empty()).then_some(texts);
    let mut service = ServiceSettings {
        name: section.text("name").unwrap_or_default(),
        alias: section.text("alias").unwrap_or_default(),
        entrypoint: list(section.plain_texts("entrypoint")),
        command: list(section.plain_texts("command")),
        environment: Vec::new(),
    };
    for text in section.plain_texts("environment") {
        if let Some((name, value)) = text.split_once('=') {
            service.environment.push((name.to_owned(), value.to_owned()));
        }
    }
    if service.name.is_empty() {
        let message = format!("a service in [[{}]] has no `name`", section.name);
        section.findings.add(Severity::Error, &section.span, message);
    }
    section.finish();
    service
}

/// `wait_for_services_timeout`: seconds; -1 does not wait, 0 is the default.
fn wait(section: &mut Section<'_>) -> Option<Duration> {
    match section.integer("wait_for_services_timeout")? {
        0 => None,
        seconds => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
    }
}

fn hosts(section: &mut Section<'_>) -> Vec<(String, IpAddr)> {
    let mut hosts = Vec::new();
    for text in section.texts("extra_hosts") {
        let parsed = text.value.split_once([':', '=']).and_then(|(name, address)| {
            Some((name.to_owned(), address.trim_matches(['[', ']']).parse().ok()?))
        });
        match parsed {
            Some(host) => hosts.push(host),
            None => section.findings.add(
                Severity::Warning,
                &text.span,
                format!("`{}` is not NAME:ADDRESS and has no effect", text.value),
            ),
        }
    }
    hosts
}
