//! What `[runners.docker]` adds to every job: services, mounts, volumes, sockets.

use crate::configuration::{DockerSettings, VolumeSetting};
use crate::outcome::JobError;
use shipway_container::VolumeMount;
use shipway_pipeline::job::{JobPayload, JobService};
use shipway_pipeline::variables::Variable;
use shipway_sandbox::{Mount, MountSource};
use std::path::{Path, PathBuf};

/// Where a Docker daemon looks for its configuration.
const DAEMON_FILE: &str = "/etc/docker/daemon.json";
/// The mode of a shared directory: services and jobs run as any user.
const SHARED_MEMORY_MODE: u32 = 0o1777;

/// The services of every job, then the job's own, as gitlab-runner starts them.
pub(super) fn services(docker: &DockerSettings, payload: &JobPayload) -> Vec<JobService> {
    let configured = docker.services.iter().map(|service| JobService {
        name: service.name.clone(),
        alias: service.alias.clone(),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        variables: service
            .environment
            .iter()
            .map(|(name, value)| Variable::public(name, value))
            .collect(),
        ..JobService::default()
    });
    configured.chain(payload.services.iter().cloned()).collect()
}

/// Files and directories of the machine, and `/dev/shm` where its size is set. Blocks: it looks for them.
pub(super) fn mounts(docker: &DockerSettings) -> Result<Vec<Mount>, JobError> {
    let mut mounts = Vec::new();
    for volume in &docker.volumes {
        let VolumeSetting::Bind {
            source,
            target,
            read_only,
        } = volume
        else {
            continue;
        };
        if !source.exists() {
            return Err(JobError::Configuration {
                message: format!(
                    "the runner's volume `{}` is not on this machine: make it, or take it out of [runners.docker] volumes",
                    source.display()
                ),
            });
        }
        mounts.push(Mount {
            target: target.clone(),
            source: MountSource::Host(source.clone()),
            read_only: *read_only,
        });
    }
    mounts.extend(docker.shm_size.map(|size| Mount {
        target: PathBuf::from("/dev/shm"),
        source: MountSource::Temporary {
            size: Some(size),
            mode: SHARED_MEMORY_MODE,
        },
        read_only: false,
    }));
    Ok(mounts)
}

/// The file of the machine that a Docker service would be configured by.
pub(super) fn daemon_file(docker: &DockerSettings) -> Option<PathBuf> {
    docker.volumes.iter().rev().find_map(|volume| match volume {
        VolumeSetting::Bind { source, target, .. } if target == Path::new(DAEMON_FILE) => {
            Some(source.clone())
        }
        _ => None,
    })
}

/// Directories that a job shares with its services. Where something of the job's own lies already, such as the engine's
/// certificates in `/certs/client`, it stays.
pub(super) fn volumes(docker: &DockerSettings, taken: &[Mount]) -> Vec<SharedVolume> {
    let shared = docker.volumes.iter().filter_map(|volume| match volume {
        VolumeSetting::Shared { target, kept } => Some((target, *kept)),
        VolumeSetting::Socket { .. } | VolumeSetting::AssumedSocket | VolumeSetting::Bind { .. } => None,
    });
    shared
        .filter(|(target, _)| !taken.iter().any(|mount| mount.target == **target))
        .map(|(target, kept)| SharedVolume {
            mount: VolumeMount {
                name: format!("runner:{}", target.display()),
                target: target.clone(),
                read_only: false,
            },
            kept,
        })
        .collect()
}

/// A directory that a job shares with its services.
pub(super) struct SharedVolume {
    pub(super) mount: VolumeMount,
    /// Whether later jobs find what is in it.
    pub(super) kept: bool,
}

/// The user of a job's container, by gitlab-runner's rules: the runner's before the job's, and only one that is allowed.
pub(super) fn user(docker: &DockerSettings, asked: Option<String>) -> Result<Option<String>, JobError> {
    let user = docker.user.clone().or(asked).filter(|user| !user.is_empty());
    match &user {
        Some(user) if !docker.allowed_users.is_empty() && !docker.allowed_users.contains(user) => {
            Err(JobError::Configuration {
                message: format!(
                    "the user {user} is not one of this runner's allowed_users: {}",
                    docker.allowed_users.join(", ")
                ),
            })
        }
        _ => Ok(user),
    }
}

/// Where jobs find the machine's Docker socket.
pub(super) fn sockets(docker: &DockerSettings) -> Vec<PathBuf> {
    let sockets = docker.volumes.iter().filter_map(VolumeSetting::socket);
    sockets.map(Path::to_owned).collect()
}

/// Whether jobs have the socket although no configuration gives it to them.
pub(super) fn socket_is_assumed(docker: &DockerSettings) -> bool {
    docker.volumes.contains(&VolumeSetting::AssumedSocket)
}

#[cfg(test)]
mod tests {
    use super::{DockerSettings, user};

    #[test]
    fn the_runners_user_goes_before_the_jobs() {
        let table = [
            (None, &[][..], None, Some(None)),
            (None, &[], Some("job"), Some(Some("job"))),
            (Some("runner"), &[], Some("job"), Some(Some("runner"))),
            (None, &["other"], None, Some(None)),
            (None, &["other"], Some("job"), None),
            (None, &["other", "job"], Some("job"), Some(Some("job"))),
            (Some("runner"), &["job"], Some("job"), None),
        ];
        for (runner, allowed, job, expected) in table {
            let docker = DockerSettings {
                user: runner.map(str::to_owned),
                allowed_users: allowed.iter().map(|user: &&str| (*user).to_owned()).collect(),
                ..DockerSettings::default()
            };
            let found = user(&docker, job.map(str::to_owned)).ok();
            assert_eq!(
                found.as_ref().map(Option::as_deref),
                expected,
                "{runner:?} {allowed:?} {job:?}"
            );
        }
    }
}
