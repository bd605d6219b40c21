//! What the body of a create request comes to, and in which words it is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn plan_with(host_config: Value) -> Result<Plan, Failure> {
    plan_of(json!({ "Image": "a", "HostConfig": host_config }), &[])
}

fn plan_of(body: Value, image_volumes: &[&str]) -> Result<Plan, Failure> {
    let body: CreateBody = serde_json::from_value(body).unwrap();
    let volumes: Vec<String> = image_volumes.iter().map(|volume| (*volume).to_owned()).collect();
    Plan::new(
        &body,
        &volumes,
        &["80".parse().unwrap(), "53/udp".parse().unwrap()],
    )
}

#[test]
fn binds_are_paths_of_the_view_names_or_anonymous() {
    let plan = plan_with(json!({"Binds": ["/src:/app:ro,z", "cache:/var/cache", "/data"]})).unwrap();
    assert_eq!(
        plan.mounts,
        [
            MountPlan {
                target: "/app".into(),
                source: MountSourcePlan::View {
                    path: "/src".into(),
                    create: true
                },
                read_only: true
            },
            MountPlan {
                target: "/data".into(),
                source: MountSourcePlan::Anonymous { copy: true },
                read_only: false
            },
            MountPlan {
                target: "/var/cache".into(),
                source: MountSourcePlan::Volume {
                    name: "cache".parse().unwrap(),
                    copy: true
                },
                read_only: false
            },
        ]
    );
}

#[test]
fn bad_binds_are_refused_with_the_text() {
    for bad in [
        "./x:/y",
        "/a:b",
        "/a:/",
        "/a:/b:huh",
        "a:b:c:d",
        "/a:/b/../..",
        "",
        "x:/y\u{0}",
    ] {
        let error = plan_with(json!({ "Binds": [bad] })).unwrap_err();
        assert_eq!(error.status(), 400, "{bad}");
    }
    let twice = plan_with(json!({"Binds": ["/a:/x", "/b:/x/"]})).unwrap_err();
    assert_eq!(twice.message(), "Duplicate mount point: /x");
}

#[test]
fn mounts_and_tmpfs() {
    let plan = plan_with(json!({
        "Mounts": [
            {"Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": true},
            {"Type": "volume", "Source": "vol", "Target": "/v", "VolumeOptions": {"NoCopy": true}},
            {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 10, "Mode": 448}},
        ],
        "Tmpfs": {"/run": "size=64m,mode=755,noexec"},
        "ShmSize": 1024,
    }))
    .unwrap();
    let sources: Vec<_> = plan.mounts.iter().map(|mount| &mount.source).collect();
    assert_eq!(
        sources,
        [
            &MountSourcePlan::Temporary {
                size: Some(1024),
                mode: 0o1777
            },
            &MountSourcePlan::Temporary {
                size: Some(64 << 20),
                mode: 0o755
            },
            &MountSourcePlan::Temporary {
                size: Some(10),
                mode: 0o700
            },
            &MountSourcePlan::View {
                path: "/s".into(),
                create: false
            },
            &MountSourcePlan::Volume {
                name: "vol".parse().unwrap(),
                copy: false
            },
        ]
    );
    assert!(plan_with(json!({"Mounts": [{"Type": "npipe", "Target": "/t"}]})).is_err());
    assert!(plan_with(json!({"Mounts": [{"Type": "bind", "Source": "rel", "Target": "/t"}]})).is_err());
}

#[test]
fn a_mount_of_the_user_wins_over_the_image_s_volume() {
    let body = json!({"Image": "a", "Volumes": {"/other": {}}, "HostConfig": {"Binds": ["/src:/data"]}});
    let plan = plan_of(body, &["/data", "/other/", "/more"]).unwrap();
    let targets: Vec<_> = plan
        .mounts
        .iter()
        .map(|mount| mount.target.to_str().unwrap())
        .collect();
    assert_eq!(targets, ["/data", "/more", "/other"]);
    assert!(matches!(plan.mounts[0].source, MountSourcePlan::View { .. }));
}

#[test]
fn what_breaks_isolation_is_refused_by_the_flag_s_name() {
    for (host_config, flag) in [
        (json!({"PidMode": "host"}), "--pid=host"),
        (json!({"IpcMode": "host"}), "--ipc=host"),
        (json!({"UTSMode": "host"}), "--uts=host"),
        (json!({"NetworkMode": "host"}), "--network=host"),
        (json!({"Devices": [{"PathOnHost": "/dev/kvm"}]}), "--device"),
        (json!({"DeviceRequests": [{"Count": -1}]}), "--gpus"),
    ] {
        let error = plan_with(host_config).unwrap_err();
        assert!(error.message().starts_with(flag), "{}", error.message());
        // An engine that somebody runs for themselves has no job.
        assert!(!error.message().contains("a job "), "{}", error.message());
    }
}

#[test]
fn what_is_harmless_to_ignore_is_a_warning() {
    let plan =
        plan_with(json!({"Privileged": true, "Memory": 1, "RestartPolicy": {"Name": "always"}})).unwrap();
    assert_eq!(plan.warnings.len(), 3);
    assert!(!plan.warnings.concat().contains("a job"), "{:?}", plan.warnings);
    assert!(plan.warnings[0].contains("--privileged") && plan.warnings[2].contains("--memory"));
    assert_eq!(
        plan_with(json!({"RestartPolicy": {"Name": "no"}}))
            .unwrap()
            .warnings,
        Vec::<String>::new()
    );
}

#[test]
fn networks_and_aliases() {
    assert_eq!(
        plan_with(json!({"NetworkMode": "none"})).unwrap().network,
        NetworkPlan::None
    );
    assert_eq!(
        plan_with(json!({"NetworkMode": "container:db"})).unwrap().network,
        NetworkPlan::Container {
            container: "db".to_owned()
        }
    );
    let body = json!({"HostConfig": {"NetworkMode": "ci"},
        "NetworkingConfig": {"EndpointsConfig": {"ci": {"Aliases": ["db", "sql"]}, "other": null}}});
    assert_eq!(
        plan_of(body, &[]).unwrap().network,
        NetworkPlan::Bridge {
            networks: vec![
                ("ci".to_owned(), vec!["db".to_owned(), "sql".to_owned()]),
                ("other".to_owned(), Vec::new())
            ]
        }
    );
}

#[test]
fn ports_are_published_by_number_or_chosen() {
    let plan =
        plan_with(json!({"PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}], "90": null}}))
            .unwrap();
    assert_eq!(
        plan.ports,
        [
            PortPlan {
                container: 8080,
                address: None,
                published: Some(80)
            },
            PortPlan {
                container: 90,
                address: None,
                published: None
            }
        ]
    );
    let given = plan_with(json!({"PortBindings": {"80": [{"HostIp": "::1", "HostPort": ""}]}})).unwrap();
    assert_eq!(given.ports[0].address, Some("::1".parse().unwrap()));
    let all = plan_with(json!({"PublishAllPorts": true})).unwrap();
    assert_eq!(
        all.ports,
        [PortPlan {
            container: 80,
            address: None,
            published: None
        }]
    );
    for bad in [
        json!({"PortBindings": {"53/udp": null}}),
        json!({"PortBindings": {"0/tcp": null}}),
        json!({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}),
        json!({"PortBindings": {"80/tcp": [{"HostIp": "localhost", "HostPort": "80"}]}}),
    ] {
        assert!(plan_with(bad).is_err());
    }
}

#[test]
fn hosts_links_and_volumes_from() {
    let plan = plan_with(json!({
        "ExtraHosts": ["db:10.0.0.1", "v6=[::1]", "gw:host-gateway"],
        "Links": ["/other/web:/me/www", "db"],
        "VolumesFrom": ["a:ro", "b"],
    }))
    .unwrap();
    assert_eq!(
        plan.hosts[0],
        ("db".to_owned(), HostTarget::Address([10, 0, 0, 1].into()))
    );
    assert_eq!(plan.hosts[2].1, HostTarget::Gateway);
    assert_eq!(
        plan.links,
        [
            ("web".to_owned(), "www".to_owned()),
            ("db".to_owned(), "db".to_owned())
        ]
    );
    assert_eq!(
        plan.volumes_from[0],
        VolumesFrom {
            container: "a".to_owned(),
            read_only: true
        }
    );
    assert!(plan_with(json!({"ExtraHosts": ["db"]})).is_err());
}

#[test]
fn too_many_of_anything_are_refused() {
    let binds: Vec<String> = (0..2000).map(|n| format!("/a:/m{n}")).collect();
    assert!(
        plan_with(json!({ "Binds": binds }))
            .unwrap_err()
            .message()
            .contains("at most")
    );
}

proptest! {
    #[test]
    fn no_words_of_a_client_break_the_plan(
        bind in "(/|\\.|[a-z:]|\\PC){0,20}",
        port in "[0-9a-z/-]{0,12}",
        host in "(\\PC|:|=){0,20}",
        tmpfs in "[a-z=0-9,]{0,20}",
    ) {
        let planned = plan_with(json!({
            "Binds": [bind],
            "Tmpfs": { "/t": tmpfs },
            "PortBindings": { (port.clone()): [{ "HostPort": port }] },
            "ExtraHosts": [host],
        }));
        // Whatever is mounted is mounted at a clean path below the root.
        for mount in planned.map(|plan| plan.mounts).unwrap_or_default() {
            let mut parts = mount.target.components();
            prop_assert_eq!(parts.next(), Some(std::path::Component::RootDir));
            prop_assert!(parts.clone().count() > 0);
            prop_assert!(parts.all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }
}

/// A body of a create request is planned or refused; a plan has bounds.
#[test]
fn foreign_bodies() {
    let seeds = [
        r#"{"Image":"a","Cmd":["sh","-c","x"],"Entrypoint":"e","Env":["A=b","C"],"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"HostConfig":{"Binds":["/src:/app:ro,z","cache:/var/cache"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080-8090"}]},"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1,"Mode":511}},{"Type":"volume","Source":"v","Target":"/w","ReadOnly":true}],"Tmpfs":{"/run":"rw,size=64m"},"NetworkMode":"container:x","ExtraHosts":["a:1.2.3.4","b:host-gateway"],"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"CapAdd":["ALL"],"Devices":[],"ShmSize":1,"Links":["a:b"],"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"Sysctls":{"a":"b"},"LogConfig":{"Type":"json-file"}},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":["x"],"IPAMConfig":{"IPv4Address":"10.0.0.1"}}}},"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":1000000}}"#,
        r#"{"Image":"a","User":"0","WorkingDir":"/a/../b","StopTimeout":-1,"HostConfig":{"Binds":["/a:/../b","/data"],"Privileged":true,"PidMode":"host"}}"#,
    ];
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        let Ok(body) = serde_json::from_slice::<CreateBody>(bytes) else {
            return;
        };
        if let Ok(plan) = Plan::new(&body, &["/v".to_owned()], &[]) {
            assert!(plan.mounts.len() <= 3 * MOST_ITEMS);
            assert!(plan.mounts.iter().all(|mount| mount.target.is_absolute()));
        }
    });
}
