//! Pipelines of GitLab's documentation that are parts of one: refused with GitLab's reason as they stand, and at work in the
//! smallest pipeline that they can be part of. Pipeline 20 has a mirror to itself, in `mirror.rs`.

use anyhow::{Result, ensure};

use crate::harness::{Project, SUITES, everywhere, everywhere_with};

/// Writes the pipeline anew.
fn rewrite(project: &Project, change: impl Fn(&str) -> String) -> Result<()> {
    let file = project.repository.join(".gitlab-ci.yml");
    let text = change(&std::fs::read_to_string(&file)?);
    Ok(std::fs::write(file, text)?)
}

/// Its `script` belongs into a job; a container writes where the job reads.
#[test]
fn a_directory_of_the_job_is_mounted_into_a_container() {
    everywhere("14-mount-point", |project| {
        project.refused_without_a_job()?;
        let dockerfile = "FROM busybox:1.36\nCOPY nonce.txt /nonce.txt\nCMD cp /nonce.txt /mnt/from-inside\n";
        std::fs::write(project.repository.join("Dockerfile"), dockerfile)?;
        rewrite(project, |fragment| {
            let (variables, script) = fragment.split_once("script:\n").unwrap_or_default();
            let script = script.replace("\n  -", "\n    -");
            format!(
                "{variables}job:\n  image: docker:24.0.5-cli\n  services: [docker:24.0.5-dind]\n\
                 \x20 before_script: [docker build -t my-docker-image .]\n\
                 \x20 after_script: ['cat \"$MOUNT_POINT/from-inside\"']\n\
                 \x20 script:\n  {script}"
            )
        })?;
        let trace = project.run()?;
        ensure!(
            trace.contains(&format!("| {}", project.nonce)),
            "the container's file is not in the job:\n{trace}"
        );
        Ok(())
    });
}

#[test]
fn the_driver_that_a_pipeline_asks_for_is_the_engines() {
    everywhere_with(&SUITES, "21-overlay2-variable", |project| {
        project.refused_without_a_job()?;
        rewrite(project, |fragment| {
            format!(
                "{fragment}\njob:\n  image: docker:24.0.5-cli\n  services: [docker:24.0.5-dind]\n  script:\n\
                 \x20   - test \"$(docker info --format '{{{{.Driver}}}}')\" = \"$DOCKER_DRIVER\"\n"
            )
        })?;
        project.run().map(drop)
    });
}
