//! What `POST /containers/create`, `POST /containers/{id}/exec` and `POST /exec/{id}/start` carry.
//!
//! Only the fields this engine acts on, warns about or refuses; the whole `HostConfig` is kept as JSON besides, so that
//! `docker inspect` shows what was asked for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use shipway_oci::Healthcheck;

use super::{Words, nullable};

/// The body of a create request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CreateBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) open_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stdin_once: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdout: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stderr: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Option<Words>,
    pub(crate) entrypoint: Option<Words>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stop_signal: String,
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_config: HostConfig,
    #[serde(deserialize_with = "nullable")]
    pub(crate) networking_config: NetworkingConfig,
}

/// How the container meets its surroundings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) binds: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mounts: Vec<MountRequest>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tmpfs: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volumes_from: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) network_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) publish_all_ports: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) restart_policy: RestartPolicy,
    #[serde(deserialize_with = "nullable")]
    pub(crate) auto_remove: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) extra_hosts: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) links: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) privileged: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) readonly_rootfs: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) pid_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ipc_mode: String,
    #[serde(rename = "UTSMode", deserialize_with = "nullable")]
    pub(crate) uts_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) devices: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) device_requests: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cap_drop: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) security_opt: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) dns: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) group_add: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ulimits: Vec<Value>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) memory: i64,
    #[serde(rename = "NanoCpus", deserialize_with = "nullable")]
    pub(crate) nano_cpus: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpu_quota: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cpuset_cpus: String,
    pub(crate) pids_limit: Option<i64>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) shm_size: i64,
}

/// One `--mount`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct MountRequest {
    #[serde(rename = "Type", deserialize_with = "nullable")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) source: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) target: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) read_only: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) volume_options: VolumeOptions,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tmpfs_options: TmpfsOptions,
    #[serde(deserialize_with = "nullable")]
    pub(crate) bind_options: BindOptions,
}

/// `--mount type=volume,…`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeOptions {
    #[serde(deserialize_with = "nullable")]
    pub(crate) no_copy: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) subpath: String,
}

/// `--mount type=tmpfs,…`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TmpfsOptions {
    #[serde(deserialize_with = "nullable")]
    pub(crate) size_bytes: u64,
    pub(crate) mode: Option<u32>,
}

/// `--mount type=bind,…`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct BindOptions {
    #[serde(deserialize_with = "nullable")]
    pub(crate) create_mountpoint: bool,
}

/// One `-p`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PortBinding {
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_ip: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) host_port: String,
}

/// `--restart`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RestartPolicy {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
}

/// The networks a container joins when it is made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkingConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) endpoints_config: BTreeMap<String, Option<EndpointConfig>>,
}

/// What a container is called in one network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EndpointConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) aliases: Vec<String>,
    #[serde(rename = "IPAMConfig", deserialize_with = "nullable")]
    address: AddressRequest,
}

/// `--ip`, `--ip6`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct AddressRequest {
    #[serde(rename = "IPv4Address", deserialize_with = "nullable")]
    v4: String,
    #[serde(rename = "IPv6Address", deserialize_with = "nullable")]
    v6: String,
}

impl EndpointConfig {
    /// Whether a certain address is asked for.
    pub(crate) fn asks_for_address(&self) -> bool {
        !self.address.v4.is_empty() || !self.address.v6.is_empty()
    }
}

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdin: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stdout: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attach_stderr: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    pub(crate) cmd: Option<Words>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) working_dir: String,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecStartBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) detach: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_cli_sends_is_read_with_its_nulls() {
        let body: CreateBody = serde_json::from_str(
            r#"{"Hostname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,
            "OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["echo","hi"],"Image":"alpine","Volumes":{},
            "WorkingDir":"","Entrypoint":null,"Labels":{},"HostConfig":{"Binds":null,"ContainerIDFile":"",
            "LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{"80/tcp":null},
            "RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"ConsoleSize":[0,0],"CapAdd":null,
            "Dns":[],"ExtraHosts":null,"PidMode":"","Privileged":false,"ShmSize":0,"Devices":[],"Mounts":null,
            "MemorySwappiness":-1,"PidsLimit":0},"NetworkingConfig":{"EndpointsConfig":{"default":null}}}"#,
        )
        .unwrap();
        assert_eq!(
            body.cmd,
            Some(Words::Many(vec!["echo".to_owned(), "hi".to_owned()]))
        );
        assert!(body.host_config.auto_remove && body.env.is_empty() && body.entrypoint.is_none());
        assert_eq!(body.host_config.network_mode, "default");
    }

    #[test]
    fn old_spellings_and_empty_bodies_are_read() {
        let body: CreateBody =
            serde_json::from_str(r#"{"Image":"a","Cmd":"true","HostConfig":null}"#).unwrap();
        assert_eq!(body.cmd.map(Vec::from), Some(vec!["true".to_owned()]));
        let start: ExecStartBody = serde_json::from_str("{}").unwrap();
        assert!(!start.detach);
        assert!(serde_json::from_str::<CreateBody>(r#"{"Env":3}"#).is_err());
    }

    /// Bodies that are read but by no plan: what comes of one is no larger than it.
    #[test]
    fn foreign_exec_bodies() {
        let seeds = [
            r#"{"AttachStdin":true,"AttachStdout":true,"Tty":false,"Env":["A=b"],"Cmd":["sh","-c","x"],"User":"0","WorkingDir":"/a"}"#,
            r#"{"Cmd":"true","Env":null,"Detach":true}"#,
        ];
        shipway_testkit::Foreign::near(seeds).check(|bytes| {
            if let Ok(body) = serde_json::from_slice::<ExecBody>(bytes) {
                let words: Vec<String> = body.cmd.map(Vec::from).unwrap_or_default();
                let size = words.iter().chain(&body.env).map(String::len).sum::<usize>();
                assert!(size <= bytes.len());
            }
            let _ = serde_json::from_slice::<ExecStartBody>(bytes);
        });
    }
}
