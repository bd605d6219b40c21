//! From a create request to what the container crate is to do, or to a refusal: pure.
//!
//! Apart from the handler so that every rule of Docker's command line that is kept, softened or refused here is one
//! function with a test. Three outcomes: done as asked; done with a warning, where ignoring the wish leaves the container
//! working and no less isolated; refused by the flag's name, where it would break the isolation or could not work.

mod mount;
mod port;

pub(crate) use mount::{MountPlan, MountSourcePlan};
pub(crate) use port::{Exposed, PortPlan};

use crate::failure::Failure;
use crate::model::create::{CreateBody, EndpointConfig};
use crate::name::ResourceName;

/// More than any client asks for; a bound on what one request can make the engine do.
const MOST_ITEMS: usize = 1024;

/// What one container needs, every rule applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) volumes_from: Vec<VolumesFrom>,
    pub(crate) network: NetworkPlan,
    pub(crate) ports: Vec<PortPlan>,
    pub(crate) hosts: Vec<(String, HostTarget)>,
    /// `--link container:alias`.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

/// `--volumes-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumesFrom {
    pub(crate) container: String,
    pub(crate) read_only: bool,
}

/// Where the container is on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkPlan {
    None,
    /// On the pod's bridge, as a member of the named networks (`bridge` is the default one).
    Bridge {
        networks: Vec<(String, Vec<String>)>,
    },
    /// `--network container:X`.
    Container {
        container: String,
    },
}

/// What a line of `--add-host` points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostTarget {
    Address(std::net::IpAddr),
    /// `host-gateway`: the pod's own gateway.
    Gateway,
}

impl Plan {
    /// Applies the rules to a request and the image's `VOLUME`s.
    pub(crate) fn new(
        body: &CreateBody,
        image_volumes: &[String],
        exposed: &[Exposed],
    ) -> Result<Plan, Failure> {
        bound(body)?;
        refuse(body)?;
        Ok(Plan {
            mounts: mount::plan(body, image_volumes)?,
            volumes_from: volumes_from(&body.host_config.volumes_from),
            network: network(body)?,
            ports: port::plan(body, exposed)?,
            hosts: hosts(&body.host_config.extra_hosts)?,
            links: links(&body.host_config.links)?,
            warnings: warnings(body),
        })
    }
}

fn bound(body: &CreateBody) -> Result<(), Failure> {
    let host = &body.host_config;
    let counts = [
        ("environment variables", body.env.len()),
        ("labels", body.labels.len()),
        (
            "volumes",
            body.volumes.len() + host.binds.len() + host.mounts.len() + host.tmpfs.len(),
        ),
        ("ports", host.port_bindings.len() + body.exposed_ports.len()),
        ("hosts", host.extra_hosts.len() + host.links.len()),
    ];
    match counts.iter().find(|(_, count)| *count > MOST_ITEMS) {
        Some((what, count)) => Err(Failure::bad_request(format!(
            "{count} {what} are too many: at most {MOST_ITEMS}"
        ))),
        None => Ok(()),
    }
}

fn refuse(body: &CreateBody) -> Result<(), Failure> {
    let host = &body.host_config;
    let because = |flag: &str, why: &str| {
        Err(Failure::bad_request(format!(
            "{flag} is not possible here: {why}"
        )))
    };
    match host.pid_mode.as_str() {
        "" | "private" => {}
        mode if mode.starts_with("container:") => {
            return because("--pid=container:…", "every container has its own process numbers");
        }
        mode => {
            return because(
                &format!("--pid={mode}"),
                "containers do not see other processes of the machine",
            );
        }
    }
    if host.ipc_mode == "host" {
        return because("--ipc=host", "containers do not share memory with the machine");
    }
    if host.uts_mode == "host" {
        return because("--uts=host", "a container cannot name the machine");
    }
    if !host.devices.is_empty() {
        return because("--device", "containers have no devices of the machine");
    }
    if !host.device_requests.is_empty() {
        return because("--gpus", "containers have no devices of the machine");
    }
    Ok(())
}

fn warnings(body: &CreateBody) -> Vec<String> {
    let host = &body.host_config;
    let mut warnings = Vec::new();
    if host.privileged {
        warnings.push(
            "--privileged adds nothing here: the container is root in its own user namespace and has no access to the machine"
                .to_owned(),
        );
    }
    if !matches!(host.restart_policy.name.as_str(), "" | "no") {
        warnings.push(format!(
            "--restart={} is ignored: containers are not restarted here",
            host.restart_policy.name
        ));
    }
    let ignored: Vec<&str> = [
        ("--memory", host.memory > 0),
        (
            "--cpus",
            host.nano_cpus > 0 || host.cpu_quota > 0 || !host.cpuset_cpus.is_empty(),
        ),
        ("--pids-limit", host.pids_limit.is_some_and(|limit| limit > 0)),
        ("--ulimit", !host.ulimits.is_empty()),
        ("--sysctl", !host.sysctls.is_empty()),
        ("--cap-drop", !host.cap_drop.is_empty()),
        ("--security-opt", !host.security_opt.is_empty()),
        ("--group-add", !host.group_add.is_empty()),
        ("--dns", !host.dns.is_empty()),
        ("--read-only", host.readonly_rootfs),
        (
            "--ip",
            body.networking_config
                .endpoints_config
                .values()
                .flatten()
                .any(EndpointConfig::asks_for_address),
        ),
    ]
    .into_iter()
    .filter_map(|(flag, given)| given.then_some(flag))
    .collect();
    if !ignored.is_empty() {
        warnings.push(format!("ignored by Shipway's engine: {}", ignored.join(", ")));
    }
    warnings
}

fn network(body: &CreateBody) -> Result<NetworkPlan, Failure> {
    let mode = body.host_config.network_mode.as_str();
    if let Some(container) = mode.strip_prefix("container:") {
        return Ok(NetworkPlan::Container {
            container: container.to_owned(),
        });
    }
    let first = match mode {
        "none" => return Ok(NetworkPlan::None),
        "host" => {
            return Err(Failure::bad_request(
                "--network=host is not possible here: containers do not share the machine's network; leave it out (they reach each other, and a job's services, by name) or publish a port with -p",
            ));
        }
        "" | "default" | "bridge" => "bridge",
        name => name,
    };
    let mut networks: Vec<(String, Vec<String>)> = vec![(first.to_owned(), Vec::new())];
    for (name, endpoint) in &body.networking_config.endpoints_config {
        let name = if matches!(name.as_str(), "" | "default") {
            "bridge"
        } else {
            name
        };
        let aliases = endpoint
            .as_ref()
            .map(|endpoint| endpoint.aliases.clone())
            .unwrap_or_default();
        match networks.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(aliases),
            None => networks.push((name.to_owned(), aliases)),
        }
    }
    Ok(NetworkPlan::Bridge { networks })
}

fn volumes_from(requests: &[String]) -> Vec<VolumesFrom> {
    requests
        .iter()
        .map(|request| match request.rsplit_once(':') {
            Some((container, mode)) if matches!(mode, "ro" | "rw" | "z" | "Z") => VolumesFrom {
                container: container.to_owned(),
                read_only: mode == "ro",
            },
            _ => VolumesFrom {
                container: request.clone(),
                read_only: false,
            },
        })
        .collect()
}

fn hosts(lines: &[String]) -> Result<Vec<(String, HostTarget)>, Failure> {
    lines
        .iter()
        .map(|line| {
            let bad = || {
                Failure::bad_request(format!(
                    "invalid --add-host {line:?}: it is name:address or name:host-gateway"
                ))
            };
            let (name, address) = line.split_once([':', '=']).ok_or_else(bad)?;
            let plain = address.trim_start_matches('[').trim_end_matches(']');
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(bad());
            }
            let target = match plain {
                "host-gateway" => HostTarget::Gateway,
                address => HostTarget::Address(address.parse().map_err(|_| bad())?),
            };
            Ok((name.to_owned(), target))
        })
        .collect()
}

fn links(links: &[String]) -> Result<Vec<(String, String)>, Failure> {
    links
        .iter()
        .map(|link| {
            let (container, alias) = link.split_once(':').unwrap_or((link, link));
            let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let (container, alias) = (last(container), last(alias));
            if container.is_empty() || alias.is_empty() {
                return Err(Failure::bad_request(format!(
                    "invalid --link {link:?}: it is container:alias"
                )));
            }
            Ok((container, alias))
        })
        .collect()
}

/// The name asked for, checked.
pub(crate) fn name(asked: Option<&str>) -> Result<Option<ResourceName>, Failure> {
    asked
        .map(|name| {
            name.strip_prefix('/')
                .unwrap_or(name)
                .parse()
                .map_err(|error| Failure::from_error(http::StatusCode::BAD_REQUEST, &error))
        })
        .transpose()
}

#[cfg(test)]
mod tests;
