//! What the engine says about itself: ping, version, info, login, disk usage.
//!
//! The version is that of the Docker engine whose API is spoken, because clients derive features from it; platform and
//! components name Shipway. `CgroupDriver` is `none`: buildx reads `cgroupfs` as an order.

use std::sync::Arc;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use serde_json::{Map, Value, json};
use shipway_access::Secret;
use shipway_oci::RegistryName;
use shipway_registry::{Client, ClientError, RegistryCredentials};

use crate::clock::rfc3339;
use crate::container::Phase;
use crate::credential::{AuthConfig, registry_host};
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::filter::Filters;
use crate::intake;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::version::ApiVersion;

pub(crate) const SERVER_HEADER: &str = concat!("Shipway/", env!("CARGO_PKG_VERSION"), " (linux)");
/// The Docker release whose behaviour is followed.
const DOCKER_VERSION: &str = "27.5.1";
const SHIPWAY_VERSION: &str = env!("CARGO_PKG_VERSION");
/// What CLI 20.10 insists on for Docker Hub.
const INDEX: &str = "https://index.docker.io/v1/";

pub(crate) fn ping(head: bool) -> Reply {
    let mut reply = reply::bytes(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        if head { "" } else { "OK" },
    );
    let headers = reply.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // "1" makes old clients send a tar to /build, which is what is served.
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    reply
}

/// The processor by Go's name.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn version() -> Value {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    json!({
        "Platform": { "Name": format!("Shipway {SHIPWAY_VERSION}") },
        "Components": [
            {
                "Name": "Engine",
                "Version": DOCKER_VERSION,
                "Details": {
                    "ApiVersion": ApiVersion::NEWEST.to_string(),
                    "MinAPIVersion": ApiVersion::OLDEST.to_string(),
                    "Arch": architecture(),
                    "Os": "linux",
                    "KernelVersion": kernel,
                    "GitCommit": "",
                    "GoVersion": "none (Rust)",
                    "BuildTime": "",
                    "Experimental": "false",
                },
            },
            { "Name": "Shipway", "Version": SHIPWAY_VERSION, "Details": {} },
        ],
        "Version": DOCKER_VERSION,
        "ApiVersion": ApiVersion::NEWEST.to_string(),
        "MinAPIVersion": ApiVersion::OLDEST.to_string(),
        "GitCommit": "",
        "GoVersion": "none (Rust)",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "BuildTime": "",
    })
}

pub(crate) fn prune_build_cache(query: &Query) -> Result<Reply, Failure> {
    // Labels are among them for `docker system prune`, which sends its filters to all.
    Filters::from_query(
        query,
        &[
            "until",
            "unused-for",
            "id",
            "parent",
            "type",
            "description",
            "inuse",
            "shared",
            "private",
            "label",
            "label!",
        ],
    )?;
    // The cache is the project's, not this engine's: `shipway cache prune` and `[cache]` of `shipway.toml` decide over it.
    Ok(reply::json(
        StatusCode::OK,
        &json!({ "CachesDeleted": [], "SpaceReclaimed": 0 }),
    ))
}

pub(crate) fn ignored_update() -> Reply {
    reply::json(
        StatusCode::OK,
        &json!({ "Warnings": ["limits are not enforced by Shipway's engine"] }),
    )
}

impl Inner {
    pub(crate) async fn info(self: &Arc<Inner>) -> Result<Reply, Failure> {
        let images = self.image_count().await?;
        let records = self.containers.all();
        let running = records.iter().filter(|record| record.life.is_running()).count();
        let created = records
            .iter()
            .filter(|record| record.life.now().phase == Phase::Created)
            .count();
        let mut info = json!({
            "ID": self.id,
            "Name": self.name,
            "Containers": records.len(),
            "ContainersRunning": running,
            "ContainersPaused": 0,
            "ContainersStopped": records.len() - running - created,
            "Images": images,
            "Driver": "overlay2",
            "DriverStatus": [["Provided by", format!("Shipway {SHIPWAY_VERSION}")], ["Scope", self.scope.as_str()]],
            "Plugins": { "Volume": ["local"], "Network": ["bridge", "null"], "Authorization": null, "Log": ["json-file"] },
            "SystemTime": rfc3339(Some(time::OffsetDateTime::now_utc())),
            "NEventsListener": 0,
            "DockerRootDir": self.runtime.data().to_string_lossy(),
            "Labels": [],
            "ExperimentalBuild": false,
            "ServerVersion": DOCKER_VERSION,
            "Runtimes": { "shipway": { "path": "shipway" } },
            "DefaultRuntime": "shipway",
            "SecurityOptions": ["name=rootless"],
            "Warnings": null,
        });
        for facts in [machine_facts(), absent_facts(), registry_facts(&self.client)] {
            if let (Value::Object(info), Value::Object(facts)) = (&mut info, facts) {
                info.extend(facts);
            }
        }
        Ok(reply::json(StatusCode::OK, &info))
    }

    /// `POST /auth`.
    pub(crate) async fn log_in(self: &Arc<Inner>, call: Call) -> Result<Reply, Failure> {
        let body = intake::small(call.request.into_body()).await?;
        let config = AuthConfig::from_json(&body).map_err(|_| {
            Failure::bad_request(
                "the request body is no login: it is JSON with username, password and serveraddress",
            )
        })?;
        let registry = registry_name(&config.serveraddress)?;
        match self.client.login(&registry, &credentials(config)).await {
            Ok(()) => Ok(reply::json(
                StatusCode::OK,
                &json!({ "Status": "Login Succeeded", "IdentityToken": "" }),
            )),
            Err(error) => Err(login_failure(&registry, &error)),
        }
    }

    /// `GET /system/df`.
    pub(crate) async fn disk_usage(self: &Arc<Inner>) -> Result<Reply, Failure> {
        let images = self.image_summaries().await?;
        self.describe(move |engine| engine.disk_usage_with(&images)).await
    }

    fn disk_usage_with(&self, images: &[Value]) -> Result<Reply, Failure> {
        let total: u64 = images
            .iter()
            .filter_map(|image| image.get("Size").and_then(Value::as_u64))
            .sum();
        let containers: Vec<Value> = self
            .containers
            .all()
            .iter()
            .map(|record| self.container_summary(record))
            .collect();
        let volumes: Vec<Value> = {
            let filters = Filters::default();
            self.volumes()
                .list(&filters)
                .map(crate::volume::Volume::json)
                .collect()
        };
        let usage = json!({
            "LayersSize": total,
            "Images": images,
            "Containers": containers,
            "Volumes": volumes,
            "BuildCache": [],
        });
        Ok(reply::json(StatusCode::OK, &usage))
    }
}

/// What there is to compute with.
fn machine_facts() -> Value {
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let total = memory.totalram.saturating_mul(memory.mem_unit.into());
    json!({
        "KernelVersion": uname.release().to_string_lossy(),
        "OperatingSystem": format!("Shipway {SHIPWAY_VERSION}"),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "MemTotal": total,
    })
}

/// What clients look for and do not find here.
fn absent_facts() -> Value {
    let nothing = json!({ "ID": "", "Expected": "" });
    json!({
        "MemoryLimit": false,
        "SwapLimit": false,
        "CpuCfsPeriod": false,
        "CpuCfsQuota": false,
        "CPUShares": false,
        "CPUSet": false,
        "PidsLimit": false,
        "IPv4Forwarding": true,
        "BridgeNfIptables": true,
        "BridgeNfIp6tables": true,
        "Debug": false,
        "NFd": 0,
        "NGoroutines": 0,
        "OomKillDisable": false,
        "LoggingDriver": "json-file",
        "CgroupDriver": "none",
        "CgroupVersion": "2",
        "GenericResources": null,
        "LiveRestoreEnabled": false,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": nothing,
        "RuncCommit": nothing,
        "InitCommit": nothing,
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
    })
}

fn registry_facts(client: &Client) -> Value {
    let insecure = client.insecure();
    // Docker's clients show those of Docker Hub alone.
    let mirrors: Vec<String> = client
        .mirrors()
        .iter()
        .filter(|mirror| mirror.of.is_docker_hub())
        .map(|mirror| {
            let scheme = if insecure.contains(&mirror.at) {
                "http"
            } else {
                "https"
            };
            format!("{scheme}://{}/", mirror.at)
        })
        .collect();
    let of_hub = json!({ "Name": "docker.io", "Mirrors": mirrors, "Secure": true, "Official": true });
    let mut indexes = Map::from_iter([("docker.io".to_owned(), of_hub)]);
    indexes.extend(insecure.iter().map(|name| {
        let facts = json!({ "Name": name, "Mirrors": [], "Secure": false, "Official": false });
        (name.to_string(), facts)
    }));
    json!({
        "IndexServerAddress": INDEX,
        "RegistryConfig": {
            "AllowNondistributableArtifactsCIDRs": null,
            "AllowNondistributableArtifactsHostnames": null,
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "IndexConfigs": indexes,
            "Mirrors": mirrors,
        },
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
    })
}

/// The registry that a server address of a client means.
pub(crate) fn registry_name(address: &str) -> Result<RegistryName, Failure> {
    let host = registry_host(address);
    host.parse()
        .map_err(|error| Failure::bad_request(format!("{address:?} is no registry: {error}")))
}

/// A client's credentials, for the registry client.
pub(crate) fn credentials(config: AuthConfig) -> RegistryCredentials {
    let mut credentials = RegistryCredentials::new(config.username, Secret::from(config.password));
    if !config.identitytoken.is_empty() {
        credentials.identity_token = Some(Secret::from(config.identitytoken));
    }
    credentials
}

fn login_failure(registry: &RegistryName, error: &ClientError) -> Failure {
    match error {
        ClientError::Denied { .. } => Failure::unauthorized(format!(
            "login attempt to {registry} failed: unauthorized: {}",
            told(error)
        )),
        ClientError::Unreachable { .. } | ClientError::Forbidden { .. } => {
            Failure::internal(format!("cannot log in to {registry}: {}", told(error)))
        }
        error => Failure::internal(told(error)),
    }
}

/// What a pull or push that failed before its first byte of output says.
pub(crate) fn registry_failure(error: &ClientError) -> Failure {
    let message = told(error);
    match error {
        ClientError::Denied { error, .. } if error.status.as_u16() == 401 => Failure::unauthorized(message),
        ClientError::Denied { .. } => Failure::forbidden(message),
        ClientError::NotFound { .. } | ClientError::NoPlatform { .. } => Failure::not_found(message),
        _ => Failure::internal(message),
    }
}
