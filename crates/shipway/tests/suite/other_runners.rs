//! Pipelines written for runners on Kubernetes and on Windows, as they stand, on this machine: without the configuration of
//! such a runner, and by it.

use anyhow::{Result, ensure};

use crate::harness::{Project, everywhere};

/// Runs the pipeline without and with a runner's configuration. Each time the image that was built must have run, and each
/// of the lines must have been said with the configuration.
fn runs(project: &Project, configuration: &str, said: &[&str]) -> Result<()> {
    let file = project.input(configuration)?;
    let alone = project.run()?;
    let configured = project.run_with(&["-c", &file])?;
    for trace in [&alone, &configured] {
        ensure!(
            trace.contains(&format!("tests of {}", project.nonce))
                && trace.contains("Operating System: Shipway"),
            "no `docker info` of ours or no nonce in the trace:\n{trace}"
        );
    }
    for line in said {
        ensure!(configured.contains(line), "{line:?} is missing in:\n{configured}");
    }
    Ok(())
}

#[test]
fn docker_in_docker_with_tls_as_on_kubernetes() {
    everywhere("12-kubernetes-dind-tls", |project| {
        let said = [
            "values.yml:5:16: jobs run in pods of this machine",
            "is replaced by Shipway's engine at tcp://docker:2376 (TLS)",
        ];
        runs(project, "12-kubernetes-dind-tls/values.yml", &said)
    });
}

#[test]
fn docker_in_docker_without_tls_as_on_kubernetes() {
    everywhere("13-kubernetes-dind-plain", |project| {
        let said = [
            "values.yml:7:9: `privileged` is not needed",
            "is replaced by Shipway's engine at tcp://docker:2375",
        ];
        runs(project, "13-kubernetes-dind-plain/values.yml", &said)
    });
}

#[test]
fn socket_binding_as_on_kubernetes() {
    everywhere("16-socket-binding-kubernetes", |project| {
        let said = ["values.yml:8:7: [runners.kubernetes] is there already, which gitlab-runner refuses"];
        runs(project, "16-socket-binding-kubernetes/values.yml", &said)
    });
}

/// What is said of the images of both pipelines for Windows.
const CLIENT: &str =
    "docker:25-windowsservercore-ltsc2022 is for Windows: docker:25-cli, the same docker CLI for Linux";

#[test]
fn the_pipe_of_docker_as_on_windows() {
    everywhere("18-windows-pipe", |project| {
        let said = [
            CLIENT,
            "config.toml:4:14: there are no Windows containers here",
            "config.toml:10:16: the Windows pipe of Docker is the socket /var/run/docker.sock here",
        ];
        runs(project, "18-windows-pipe/config.toml", &said)
    });
}

#[test]
fn the_pipe_of_docker_as_on_kubernetes_with_windows() {
    everywhere("19-windows-pipe-kubernetes", |project| {
        let said = [
            CLIENT,
            "the Windows pipe of Docker is the socket /var/run/docker.sock here",
            "`node_selector` has no effect: jobs run on this machine",
        ];
        runs(project, "19-windows-pipe-kubernetes/values.yml", &said)
    });
}
