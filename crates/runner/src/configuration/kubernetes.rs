//! `[runners.kubernetes]`: the pods of jobs, which are pods of this machine here.
//!
//! What such a section says about a job (its image, its services, what is mounted) means the same on one machine; what it
//! says about the cluster has no meaning, and is said where it asks for anything. The result is what `[runners.docker]`
//! would have said.

use super::docker::{DockerSettings, pull_policies, say_that_nothing_is_privileged, service};
use super::document::Section;
use super::finding::Severity;
use super::volume::VolumeSetting;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

const CLUSTER: &str = "jobs run on this machine, and no cluster is asked";
const POD: &str = "pods here are made in one way";
const LIMITS: &str =
    "jobs share the machine's processors and disk; `limits` of shipway.toml bounds their memory";
const HELPER: &str = "no helper container is needed";
const KEPT_THERE: &str = "what a cluster keeps is not on this machine, and the job finds nothing there";

/// Settings that change nothing here, by the reason.
const WITHOUT_MEANING: [(&str, &[&str]); 4] = [
    (
        CLUSTER,
        &[
            "affinity",
            "automount_service_account_token",
            "bearer_token",
            "bearer_token_overwrite_allowed",
            "ca_file",
            "cert_file",
            "cleanup_grace_period_seconds",
            "cleanup_resources_timeout",
            "context",
            "host",
            "key_file",
            "namespace",
            "namespace_overwrite_allowed",
            "namespace_per_job",
            "node_selector",
            "node_selector_overwrite_allowed",
            "node_tolerations",
            "node_tolerations_overwrite_allowed",
            "pod_disruption_budget",
            "poll_interval",
            "poll_timeout",
            "priority_class_name",
            "print_pod_warning_events",
            "request_retry_backoff_max",
            "request_retry_limit",
            "request_retry_limits",
            "resource_availability_check_max_attempts",
            "scheduler_name",
            "service_account",
            "service_account_overwrite_allowed",
        ],
    ),
    (
        POD,
        &[
            "allow_privilege_escalation",
            "allowed_groups",
            "build_container_security_context",
            "cap_add",
            "cap_drop",
            "container_lifecycle",
            "dns_config",
            "dns_policy",
            "init_permissions_container_security_context",
            "logs_base_dir",
            "pod_annotations",
            "pod_annotations_overwrite_allowed",
            "pod_labels",
            "pod_labels_overwrite_allowed",
            "pod_security_context",
            "pod_spec",
            "pod_termination_grace_period_seconds",
            "runtime_class_name",
            "scripts_base_dir",
            "service_container_security_context",
        ],
    ),
    (
        HELPER,
        &[
            "helper_container_security_context",
            "helper_image",
            "helper_image_autoset_arch_and_os",
            "helper_image_flavor",
        ],
    ),
    (
        "images are pulled with DOCKER_AUTH_CONFIG and the logins of this machine",
        &["image_pull_secrets", "use_service_account_image_pull_secrets"],
    ),
];

/// Reads the section. `entrypoints` says whether images' entrypoints run, which on Kubernetes is a feature flag.
pub(super) fn read(mut section: Section<'_>, entrypoints: bool) -> DockerSettings {
    say_that_nothing_is_privileged(&mut section);
    for (why, keys) in WITHOUT_MEANING {
        for key in keys {
            section.without_meaning(&[(*key, why)]);
        }
    }
    limits(&mut section);
    let (pull_policies, allowed_pull_policies) = pull_policies(&mut section);
    let settings = DockerSettings {
        image: section.text("image"),
        passes_over_entrypoints: !entrypoints,
        volumes: section.table("volumes").map(volumes).unwrap_or_default(),
        pull_policies,
        allowed_pull_policies,
        allowed_users: section.plain_texts("allowed_users"),
        allowed_images: section.plain_texts("allowed_images"),
        allowed_services: section.plain_texts("allowed_services"),
        services: section.tables("services").into_iter().map(service).collect(),
        extra_hosts: section
            .tables("host_aliases")
            .into_iter()
            .flat_map(host_alias)
            .collect(),
        ..DockerSettings::unsaid()
    };
    section.finish();
    settings
}

/// `cpu_limit`, `service_memory_request_overwrite_max_allowed` and all the others that are made the same way.
fn limits(section: &mut Section<'_>) {
    for container in ["", "helper_", "service_", "pod_"] {
        for what in ["cpu", "memory", "ephemeral_storage"] {
            for which in ["limit", "request"] {
                for more in ["", "_overwrite_max_allowed"] {
                    section.without_meaning(&[(&format!("{container}{what}_{which}{more}"), LIMITS)]);
                }
            }
        }
    }
}

/// `[runners.kubernetes.volumes]`: directories of the node and directories for the pod alone.
fn volumes(mut section: Section<'_>) -> Vec<VolumeSetting> {
    for kind in ["pvc", "config_map", "secret", "csi", "nfs"] {
        section.without_meaning(&[(kind, KEPT_THERE)]);
    }
    let shared = section.tables("empty_dir").into_iter().filter_map(empty_dir);
    let mut volumes: Vec<VolumeSetting> = shared.collect();
    volumes.extend(section.tables("host_path").into_iter().filter_map(host_path));
    section.finish();
    volumes
}

fn empty_dir(mut section: Section<'_>) -> Option<VolumeSetting> {
    section.know("name");
    // In memory or not, a job sees no difference.
    section.know("medium");
    section.without_meaning(&[("size_limit", LIMITS), ("sub_path", POD)]);
    let target = mount_path(&mut section);
    section.finish();
    Some(VolumeSetting::Shared {
        target: target?,
        kept: false,
    })
}

fn host_path(mut section: Section<'_>) -> Option<VolumeSetting> {
    section.know("name");
    section.without_meaning(&[("mount_propagation", POD)]);
    let source = section.placed_text("host_path");
    let read_only = section.flag("read_only").unwrap_or_default();
    let below = section.placed_text("sub_path");
    let pipe = source
        .as_ref()
        .and_then(|source| VolumeSetting::of_pipe(source, section.findings));
    if pipe.is_some() {
        section.know("mount_path");
        section.finish();
        return pipe;
    }
    let target = mount_path(&mut section);
    if let Some(below) = &below
        && !is_below(&below.value)
    {
        let message = format!(
            "a volume in [[{}]] whose `sub_path` leads out of its `host_path` has no effect, as no cluster takes it: write a \
             relative path without `..`",
            section.name
        );
        section.findings.add(Severity::Warning, &below.span, message);
        section.finish();
        return None;
    }
    section.finish();
    let target = target?;
    // Without a path of the node, it is the one in the pod.
    let mut source = source.map_or_else(|| target.clone(), |source| PathBuf::from(source.value));
    source.extend(
        below
            .filter(|below| !below.value.is_empty())
            .map(|below| below.value),
    );
    Some(VolumeSetting::of_machine(source, target, read_only))
}

/// Whether a path stays below what it is relative to.
fn is_below(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Where a volume is found.
fn mount_path(section: &mut Section<'_>) -> Option<PathBuf> {
    let path = section.text("mount_path").filter(|path| path.starts_with('/'));
    if path.is_none() {
        let message = format!(
            "a volume in [[{}]] without an absolute `mount_path` has no effect",
            section.name
        );
        section.findings.add(Severity::Warning, &section.span, message);
    }
    path.map(PathBuf::from)
}

/// `[[runners.kubernetes.host_aliases]]`: names of one address.
fn host_alias(mut section: Section<'_>) -> Vec<(String, IpAddr)> {
    let names = section.plain_texts("hostnames");
    let address = section.placed_text("ip");
    let findings = section.findings;
    section.finish();
    let Some(address) = address else {
        return Vec::new();
    };
    match address.value.parse() {
        Ok(parsed) => names.into_iter().map(|name| (name, parsed)).collect(),
        Err(_) => {
            let message = format!("`{}` is no address, and its names have no effect", address.value);
            findings.add(Severity::Warning, &address.span, message);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
