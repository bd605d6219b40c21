//! `GET /containers/{id}/json`: everything about one container.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::health::Status;
use super::life::Phase;
use super::list::{mounts, ports};
use super::record::Record;
use crate::clock::rfc3339;
use crate::engine::Inner;
use crate::failure::Failure;
use crate::reply::{self, Reply};

impl Inner {
    pub(crate) fn inspect_container(&self, record: &Record) -> Result<Reply, Failure> {
        let words = record.container.argv();
        let networks: Map<String, Value> = record
            .networks()
            .iter()
            .map(|(name, aliases)| (name.clone(), self.endpoint(record, name, aliases)))
            .collect();
        let first = networks.values().next().cloned().unwrap_or(Value::Null);
        let field = |name: &str| first.get(name).cloned().unwrap_or_else(|| json!(""));
        let shown = json!({
            "Id": record.id,
            "Created": rfc3339(Some(record.created)),
            "Path": words.first().map(String::as_str).unwrap_or_default(),
            "Args": words.get(1..).unwrap_or_default(),
            "State": state(record),
            "Image": record.image.id.to_string(),
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "LogPath": "",
            "Name": format!("/{}", record.name()),
            "RestartCount": 0,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": self.execs.of_container(&record.id),
            "HostConfig": host_config(record),
            "GraphDriver": { "Name": "overlay2", "Data": null },
            "Mounts": mounts(record),
            "Config": config(record),
            "NetworkSettings": {
                "Bridge": "",
                "SandboxID": "",
                "SandboxKey": "",
                "HairpinMode": false,
                "LinkLocalIPv6Address": "",
                "LinkLocalIPv6PrefixLen": 0,
                "Ports": port_map(record),
                "SecondaryIPAddresses": null,
                "SecondaryIPv6Addresses": null,
                "EndpointID": field("EndpointID"),
                "Gateway": field("Gateway"),
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "IPAddress": field("IPAddress"),
                "IPPrefixLen": first.get("IPPrefixLen").cloned().unwrap_or_else(|| json!(0)),
                "IPv6Gateway": "",
                "MacAddress": "",
                "Networks": networks,
            },
        });
        Ok(reply::json(StatusCode::OK, &shown))
    }
}

fn state(record: &Record) -> Value {
    let life = record.life.now();
    let (running, code, started, finished): (bool, i64, Option<OffsetDateTime>, Option<OffsetDateTime>) =
        match life.phase {
            Phase::Created | Phase::Removed => (false, life.last_code(), None, None),
            Phase::Running { since } => (true, 0, Some(since), None),
            Phase::Exited {
                code,
                started,
                finished,
            } => (false, code, Some(started), Some(finished)),
        };
    let mut shown = json!({
        "Status": life.phase.word(),
        "Running": running,
        "Paused": false,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        // The number in the pod's own process table is no help to anybody; what is asked is whether there is one.
        "Pid": i32::from(running),
        "ExitCode": code,
        "Error": life.error,
        "StartedAt": rfc3339(started),
        "FinishedAt": rfc3339(finished),
    });
    let health = record.health();
    if health.status != Status::None
        && let Some(shown) = shown.as_object_mut()
    {
        shown.insert("Health".to_owned(), health.json());
    }
    shown
}

fn config(record: &Record) -> Value {
    let body = &record.body;
    let image = &record.image.config.config;
    let own_entrypoint = body.entrypoint.clone().map(Vec::from);
    let own_command = body
        .cmd
        .clone()
        .map(Vec::<String>::from)
        .filter(|words| !words.is_empty());
    let command = own_command.or_else(|| {
        if own_entrypoint.is_some() {
            None
        } else {
            image.cmd.clone()
        }
    });
    let volumes: BTreeMap<&String, Value> = body
        .volumes
        .keys()
        .chain(&image.volumes)
        .map(|volume| (volume, json!({})))
        .collect();
    let exposed: BTreeMap<&String, Value> = body
        .exposed_ports
        .keys()
        .chain(&image.exposed_ports)
        .map(|port| (port, json!({})))
        .collect();
    let or_image = |own: &str, image: &str| {
        if own.is_empty() {
            image.to_owned()
        } else {
            own.to_owned()
        }
    };
    let mut shown = json!({
        "Hostname": record.container.hostname(),
        "Domainname": "",
        "User": or_image(&body.user, &image.user),
        "AttachStdin": body.attach_stdin,
        "AttachStdout": body.attach_stdout,
        "AttachStderr": body.attach_stderr,
        "ExposedPorts": exposed,
        "Tty": body.tty,
        "OpenStdin": body.open_stdin,
        "StdinOnce": body.stdin_once,
        "Env": record.container.environment(),
        "Cmd": command,
        "Image": body.image,
        "Volumes": volumes,
        "WorkingDir": or_image(&body.working_dir, &image.working_dir),
        "Entrypoint": own_entrypoint.or_else(|| image.entrypoint.clone()),
        "OnBuild": null,
        "Labels": record.labels,
        "StopSignal": or_image(&body.stop_signal, image.stop_signal.as_deref().unwrap_or_default()),
    });
    if let (Some(check), Some(shown)) = (&record.healthcheck, shown.as_object_mut()) {
        shown.insert("Healthcheck".to_owned(), json!(check));
    }
    shown
}

/// What the client asked for, with the few fields that clients rely on filled in.
fn host_config(record: &Record) -> Value {
    let mut shown = match &record.host_config {
        Value::Object(asked) => asked.clone(),
        _ => Map::new(),
    };
    let mode = record.body.host_config.network_mode.as_str();
    shown.insert(
        "NetworkMode".to_owned(),
        json!(if mode.is_empty() { "default" } else { mode }),
    );
    for (key, value) in [
        ("LogConfig", json!({ "Type": "json-file", "Config": {} })),
        ("RestartPolicy", json!({ "Name": "no", "MaximumRetryCount": 0 })),
    ] {
        let missing = shown.get(key).is_none_or(Value::is_null);
        if missing || key == "LogConfig" {
            shown.insert(key.to_owned(), value);
        }
    }
    Value::Object(shown)
}

fn port_map(record: &Record) -> Value {
    let mut map: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in ports(record) {
        let number = |key: &str| port.get(key).map(Value::to_string).unwrap_or_default();
        map.entry(format!("{}/tcp", number("PrivatePort")))
            .or_default()
            .push(json!({ "HostIp": port.get("IP"), "HostPort": number("PublicPort") }));
    }
    let exposed = record
        .body
        .exposed_ports
        .keys()
        .chain(&record.image.config.config.exposed_ports);
    let mut shown: Map<String, Value> = exposed
        .filter(|port| !map.contains_key(*port))
        .map(|port| (port.clone(), Value::Null))
        .collect();
    shown.extend(map.into_iter().map(|(port, bindings)| (port, json!(bindings))));
    Value::Object(shown)
}
