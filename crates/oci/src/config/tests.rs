//! Docker's own configuration, nulls, limits, and texts that are no configuration.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn docker_s_own_configuration_is_read_and_kept() {
    let value = json!({
        "architecture": "amd64",
        "config": {
            "Hostname": "", "Domainname": "", "AttachStdin": false, "Tty": false,
            "User": "nobody",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["PATH=/bin"],
            "Cmd": ["sh"],
            "Entrypoint": [],
            "Image": "sha256:abc",
            "Volumes": {"/data": {}},
            "WorkingDir": "/w",
            "Labels": {"a": "b"},
            "OnBuild": ["RUN true"],
            "Healthcheck": {"Test": ["NONE"], "Interval": 30000000000i64, "X": 1},
            "StopSignal": "SIGQUIT",
            "Shell": ["/bin/bash", "-c"],
            "ArgsEscaped": true,
        },
        "container": "abc",
        "container_config": {"Cmd": ["x"]},
        "created": "2024-01-01T00:00:00Z",
        "docker_version": "20.10",
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "ADD x", "empty_layer": true, "y": 2}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"x")]},
        "moby.buildkit.buildinfo.v1": "e30=",
    });
    let config = ImageConfig::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(config.config.entrypoint, Some(Vec::new()));
    assert!(config.config.exposed_ports.contains("80/tcp"));
    assert_eq!(
        serde_json::from_slice::<Value>(&config.to_json().unwrap()).unwrap(),
        value
    );
}

#[test]
fn nulls_are_nothing() {
    let text = br#"{"os":"linux","architecture":"amd64","history":null,"rootfs":{"type":"layers","diff_ids":null},
        "config":{"Env":null,"Cmd":null,"Volumes":null,"ExposedPorts":null,"Labels":null,"OnBuild":null,"Entrypoint":null}}"#;
    assert_eq!(
        ImageConfig::parse(text).unwrap(),
        ImageConfig::new(&Platform::new("linux", "amd64"))
    );
    assert_eq!(
        ImageConfig::parse(br#"{"config":null}"#).unwrap(),
        ImageConfig::default()
    );
}

#[test]
fn limits() {
    assert!(matches!(
        ImageConfig::parse(&vec![b' '; MAX_CONFIG_BYTES + 1]),
        Err(ConfigError::TooLarge { .. })
    ));
    let many = json!({"rootfs": {"diff_ids": vec![Digest::sha256(b""); MAX_LAYERS + 1]}});
    assert!(matches!(
        ImageConfig::parse(many.to_string().as_bytes()),
        Err(ConfigError::TooManyLayers { .. })
    ));
}

proptest! {
    #[test]
    fn parsing_is_total(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-zA-Z0-9]{0,80}") {
        let _ = ImageConfig::parse(&bytes);
        let _ = ImageConfig::parse(text.as_bytes());
    }

    #[test]
    fn values_round_trip(
        user in "\\PC{0,10}",
        env in prop::collection::vec("\\PC{0,10}", 0..4),
        cmd in prop::option::of(prop::collection::vec("\\PC{0,10}", 0..4)),
        volumes in prop::collection::btree_set("\\PC{0,10}", 0..4),
    ) {
        let mut config = ImageConfig::new(&Platform::host());
        config.config = ExecutionConfig { user, env, cmd, volumes, ..ExecutionConfig::default() };
        prop_assert_eq!(ImageConfig::parse(&config.to_json().unwrap()).unwrap(), config);
    }
}

/// What is read can be written and reads as the same again.
#[test]
fn foreign_configs() {
    let mut config = ImageConfig::new(&"linux/arm64/v8".parse().unwrap());
    config.rootfs.diff_ids.push(Digest::sha256(b"layer"));
    config.history.push(History {
        created_by: Some("RUN x".to_owned()),
        ..History::default()
    });
    let seeds = [
        config.to_json().unwrap(),
        br#"{"architecture":"amd64","os":"linux","config":{"User":"0:0","Env":["PATH=/bin"],"Cmd":["sh"],"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000},"StopSignal":"9","Shell":["a"],"OnBuild":["RUN x"]},"rootfs":{"type":"layers","diff_ids":[]},"history":[{"empty_layer":true}],"created":"2026-01-01T00:00:00Z"}"#.to_vec(),
    ];
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        let Ok(config) = ImageConfig::parse(bytes) else {
            return;
        };
        assert_eq!(ImageConfig::parse(&config.to_json().unwrap()).unwrap(), config);
    });
}
