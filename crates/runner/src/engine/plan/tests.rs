//! Ports, certificates and the hint about the mistake that everybody makes once.

use super::{DaemonFile, EnginePlan, Face};

fn plan(environment: &[(&str, &str)], command: &[&str]) -> EnginePlan {
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let file = DaemonFile {
        mirrors: vec!["http://of-the-file".to_owned()],
        ..DaemonFile::default()
    };
    EnginePlan::for_service(vec!["docker".to_owned()], &command, file, |name| {
        environment
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn tls(directory: &str) -> Face {
    Face::Tls {
        port: 2376,
        directory: directory.into(),
    }
}

#[test]
fn the_port_is_chosen_as_the_docker_image_chooses_it() {
    assert_eq!(plan(&[], &[]).faces, [tls("/certs")]);
    assert_eq!(plan(&[("DOCKER_TLS_CERTDIR", "/x")], &[]).faces, [tls("/x")]);
    assert_eq!(
        plan(&[("DOCKER_TLS_CERTDIR", "")], &[]).faces,
        [Face::Plain { port: 2375 }]
    );
    assert_eq!(plan(&[], &["--tls=false"]).faces, [Face::Plain { port: 2375 }]);
    let socket = Face::Socket {
        path: "/shared/docker.sock".into(),
    };
    let asked = [("DOCKER_HOST", "unix:///shared/docker.sock")];
    assert_eq!(plan(&asked, &[]).faces, [tls("/certs"), socket.clone()]);
    assert_eq!(
        plan(&[], &["--host=unix:///shared/docker.sock"]).faces,
        [tls("/certs"), socket]
    );
}

#[test]
fn the_classic_mistake_gets_a_hint() {
    let mistaken = plan(&[("DOCKER_HOST", "tcp://docker:2375")], &[]);
    assert!(
        mistaken.notes[0].contains("DOCKER_TLS_CERTDIR"),
        "{:?}",
        mistaken.notes
    );
    assert!(
        plan(&[("DOCKER_HOST", "tcp://docker:2376")], &[])
            .notes
            .is_empty()
    );
    let flags = ["--bip", "10.0.0.1/8", "--registry-mirror", "https://mirror"];
    let planned = plan(&[], &flags);
    assert_eq!(planned.notes.len(), 1, "{:?}", planned.notes);
    let mirrors = planned.registries.mirrors.iter();
    let mirrors: Vec<_> = mirrors.map(|mirror| mirror.at.as_str()).collect();
    assert_eq!(mirrors, ["mirror", "of-the-file"]);
}

#[test]
fn certificates_name_what_clients_connect_to() {
    let mut plan = plan(&[], &[]);
    plan.aliases = vec!["registry__docker".to_owned(), "registry-docker".to_owned()];
    assert_eq!(plan.server_names(), ["registry-docker", "docker", "localhost"]);
}
