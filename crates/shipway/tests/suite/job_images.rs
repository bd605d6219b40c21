//! Pipelines that take Docker's own images from elsewhere than Docker Hub's name for them: the project's registry, the
//! group's dependency proxy.

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::Peer;

use crate::harness::{CREDENTIALS, Project, everywhere, skopeo_copy};

/// Puts the docker CLI's image into the project's registry, as its owner would. The daemon's image is not there, and no job
/// of ours pulls it.
fn fill_registry(project: &Project, skopeo: &Peer) -> Result<()> {
    let saved = project.user.save("docker:24.0.5-cli")?;
    let registry = project.user.serve()?;
    skopeo_copy(
        &project.user.home,
        skopeo,
        &["--dest-tls-verify=false", "--dest-creds", CREDENTIALS],
        &format!("docker-archive:{}", saved.display()),
        &format!("docker://{}/group/project/docker:24.0.5-cli", registry.address),
    )
}

/// The name of the image of the job, as its trace has it.
fn used_image(trace: &str) -> Result<&str> {
    let (_, rest) = trace
        .split_once("| Using image sha256:")
        .with_context(|| format!("no image was used:\n{trace}"))?;
    let (_, name) = rest.split_once(" for ").context("the name of the image")?;
    Ok(name.split(" ...").next().unwrap_or(name))
}

fn ensure_tested(project: &Project, trace: &str, image: &str) -> Result<()> {
    ensure!(
        used_image(trace)? == image,
        "the job ran in another image:\n{trace}"
    );
    ensure!(
        trace.contains(&format!("tests of {}", project.nonce)),
        "no nonce in the trace:\n{trace}"
    );
    Ok(())
}

#[test]
fn the_images_of_the_job_and_its_daemon_are_in_the_projects_registry() {
    everywhere("01-dind-registry-image", |project| {
        let Some(skopeo) = Peer::find("skopeo") else {
            return Ok(());
        };
        fill_registry(project, &skopeo)?;
        let trace = project.run()?;
        ensure_tested(
            project,
            &trace,
            "registry.shipway.internal/group/project/docker:24.0.5-cli",
        )
    });
}

#[test]
fn the_images_come_through_the_dependency_proxy() {
    everywhere("02-dind-dependency-proxy", |project| {
        let trace = project.run()?;
        ensure_tested(project, &trace, "docker.io/docker:24.0.5-cli")
    });
}
