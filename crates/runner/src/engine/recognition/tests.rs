//! Which services are daemons, and which of their flags mean something.

use super::{DaemonFlags, is_docker_client, is_docker_daemon};

#[test]
fn a_daemon_is_known_by_its_image() {
    let table = [
        ("docker:dind", true),
        ("docker:24.0.5-dind", true),
        ("docker:29-dind-rootless", true),
        ("docker:dind@sha256:0123", true),
        ("registry.example.com:5000/mirror/docker:24-dind", true),
        ("docker.io/library/docker:dind", true),
        ("docker", false),
        ("docker:24.0.5", false),
        ("docker:24.0.5-cli", false),
        ("company/docker-dind:latest", false),
        ("company/dind:dind", false),
        ("dind/docker:20", false),
        ("docker/compose:dind", false),
    ];
    for (image, expected) in table {
        assert_eq!(is_docker_daemon(image), expected, "{image}");
        let client = ["docker", "docker:24.0.5", "docker:24.0.5-cli", "dind/docker:20"].contains(&image);
        assert_eq!(is_docker_client(image), client, "{image}");
    }
}

fn parse(words: &[&str]) -> DaemonFlags {
    DaemonFlags::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
}

#[test]
fn flags_with_a_meaning_are_kept_and_others_named() {
    let flags = parse(&[
        "--registry-mirror",
        "https://mirror.example.com",
        "--insecure-registry=registry.local:5000",
        "--mtu=1400",
        "--experimental",
        "--bip",
        "10.0.0.1/24",
        "stray",
    ]);
    assert_eq!(flags.mirrors, ["https://mirror.example.com"]);
    assert_eq!(flags.insecure, ["registry.local:5000"]);
    assert_eq!(flags.ignored, ["--experimental", "--bip=10.0.0.1/24", "stray"]);
    assert!(!flags.plain);
}

#[test]
fn the_daemon_may_be_asked_for_a_socket_or_plain_tcp() {
    assert_eq!(
        parse(&["--host=unix:///shared/docker.sock"]).socket,
        Some("/shared/docker.sock".into())
    );
    assert!(parse(&["dockerd", "-H", "tcp://0.0.0.0:2375", "--tls=false"]).plain);
}
