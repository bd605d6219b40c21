//! What a Kubernetes section and a chart's values come to on one machine, and which of their settings are said to have no effect.

use crate::configuration::{Configuration, VolumeSetting};
use std::path::Path;

fn read(file: &str, text: &str) -> (Configuration, Vec<String>) {
    let configuration = Configuration::read(Path::new(file), text).unwrap();
    let said = configuration.findings.iter().map(ToString::to_string).collect();
    (configuration, said)
}

#[test]
fn what_the_section_says_of_a_job_counts_and_what_it_says_of_a_cluster_is_said() {
    let (configuration, said) = read(
        "values.yml",
        r#"
concurrent: 4
runners:
  config: |
    [[runners]]
      [runners.feature_flags]
        FF_KUBERNETES_HONOR_ENTRYPOINT = true
      [runners.kubernetes]
        image = "alpine:3"
        namespace = "jobs"
        cpu_request_overwrite_max_allowed = "2"
        service_memory_limit = "1Gi"
        imagge = "a"
        [[runners.kubernetes.services]]
          name = "docker:dind"
          alias = "docker"
        [[runners.kubernetes.host_aliases]]
          ip = "192.0.2.1"
          hostnames = ["db", "cache"]
        [[runners.kubernetes.volumes.host_path]]
          name = "a"
          mount_path = "/a"
          read_only = true
          sub_path = "b"
        [[runners.kubernetes.volumes.host_path]]
          mount_path = "relative"
        [[runners.kubernetes.volumes.secret]]
          name = "s"
          mount_path = "/s"
"#,
    );
    let docker = &configuration.choose(None).unwrap().settings.docker;
    assert_eq!(configuration.concurrent, 4);
    assert_eq!(
        (docker.image.as_deref(), docker.passes_over_entrypoints),
        (Some("alpine:3"), false)
    );
    assert_eq!((docker.services.len(), docker.extra_hosts.len()), (1, 2));
    let volume = VolumeSetting::Bind {
        source: "/a/b".into(),
        target: "/a".into(),
        read_only: true,
    };
    assert_eq!(docker.volumes, [volume]);
    let expected = [
        "values.yml:8:16: jobs run in pods of this machine",
        "values.yml:10:9: `namespace` has no effect: jobs run on this machine",
        "values.yml:11:9: `cpu_request_overwrite_max_allowed` has no effect",
        "values.yml:12:9: `service_memory_limit` has no effect",
        "values.yml:13:9: `imagge` is not known in [runners.kubernetes]",
        "values.yml:25:9: a volume in [[runners.kubernetes.volumes.host_path]] without an absolute `mount_path`",
        "values.yml:27:38: `secret` has no effect: what a cluster keeps",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said} instead of {expected}");
    }
}

#[test]
fn a_part_of_a_directory_is_below_it() {
    for (below, expected) in [
        ("", Some("/a")),
        ("b/c", Some("/a/b/c")),
        ("/etc", None),
        ("b/../../etc", None),
    ] {
        let text = format!(
            "[[runners]]\n[[runners.kubernetes.volumes.host_path]]\nhost_path = '/a'\nmount_path = '/m'\nsub_path = '{below}'\n"
        );
        let (configuration, said) = read("config.toml", &text);
        let volumes = &configuration.choose(None).unwrap().settings.docker.volumes;
        let sources = volumes.iter().map(|volume| match volume {
            VolumeSetting::Bind { source, .. } => source.to_str().unwrap(),
            other => panic!("{other:?}"),
        });
        assert!(sources.eq(expected), "{below}: {volumes:?}");
        let warned = said
            .iter()
            .any(|line| line.starts_with("config.toml:5:12: a volume in"));
        assert_eq!(warned, expected.is_none(), "{said:?}");
    }
}

#[test]
fn without_a_volume_there_is_no_socket_and_no_entrypoint_runs() {
    let (configuration, _) = read("config.toml", "[[runners]]\nexecutor = \"kubernetes\"\n");
    let docker = &configuration.choose(None).unwrap().settings.docker;
    assert!(docker.volumes.is_empty() && docker.passes_over_entrypoints);
    assert_eq!(configuration.concurrent, 1);
}

#[test]
fn dockers_pipe_on_windows_is_its_socket_here() {
    let pipe = r"\\.\pipe\docker_engine";
    let kubernetes = format!(
        "[[runners]]\n[[runners.kubernetes.volumes.host_path]]\nhost_path = '{pipe}'\nmount_path = '{pipe}'\n"
    );
    let docker =
        format!("[[runners]]\nexecutor = 'docker-windows'\n[runners.docker]\nvolumes = ['{pipe}:{pipe}']\n");
    for text in [kubernetes, docker] {
        let (configuration, said) = read("config.toml", &text);
        let volumes = &configuration.choose(None).unwrap().settings.docker.volumes;
        assert_eq!(*volumes, [VolumeSetting::usual_socket()], "{said:?}");
        assert!(
            said.iter()
                .any(|line| line.contains("the Windows pipe of Docker is the socket")),
            "{said:?}"
        );
    }
}

#[test]
fn a_section_that_goes_on_under_its_own_name_is_one() {
    let twice =
        "[[runners]]\n[runners.kubernetes]\nimage = 'a'\n [runners.kubernetes] # again\nprivileged = true\n";
    let (configuration, said) = read("config.toml", twice);
    let docker = &configuration.choose(None).unwrap().settings.docker;
    assert_eq!(docker.image.as_deref(), Some("a"));
    assert!(
        said[1].starts_with("config.toml:4:2: [runners.kubernetes] is there already"),
        "{said:?}"
    );
    assert!(
        said[2].starts_with("config.toml:5:1: `privileged` is not needed"),
        "{said:?}"
    );
    let apart = "[[runners]]\n[runners.kubernetes]\n[runners.cache]\n[runners.kubernetes]\n";
    assert!(Configuration::read(Path::new("config.toml"), apart).is_err());
}
