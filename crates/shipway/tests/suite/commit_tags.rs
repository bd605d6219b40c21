//! Pipelines that name their image after what was pushed: the slug of a branch, its name by the variable of 2016, a commit,
//! a tag. Each with every docker CLI and account, and each image pulled and compared.

use anyhow::{Result, ensure};

use crate::harness::{Project, everywhere};

/// Fails unless every line is in the trace.
fn ensure_said(trace: &str, lines: &[&str]) -> Result<()> {
    for line in lines {
        ensure!(trace.contains(line), "{line:?} is missing in:\n{trace}");
    }
    Ok(())
}

#[test]
fn the_slug_of_a_branch_is_the_tag_of_its_image() {
    everywhere("04-build-push-ref-slug", |project| {
        project.git(&["checkout", "--quiet", "-b", "Feature/Tried_out"])?;
        let trace = project.run()?;
        ensure_said(&trace, &["| Login Succeeded"])?;
        project.compare("group/project:feature-tried-out")
    });
}

#[test]
fn the_template_of_2016_logs_in_with_its_build_token_and_pushes_its_build_ref() {
    everywhere("07-template-2016", |project| {
        let trace = project.run()?;
        ensure_said(&trace, &["| Login Succeeded"])?;
        project.compare("group/project:main")
    });
}

/// What pipeline 23 says in each of its jobs.
const SHA_THEN_TAG: [&str; 5] = [
    "| Login Succeeded",
    "Server: Shipway",
    "Storage Driver: overlay2",
    "| Running after_script",
    "| Removing login credentials for registry.gitlab.com",
];

#[test]
fn on_a_branch_the_image_of_a_commit_is_all_that_is_pushed() {
    everywhere("23-commit-sha-then-tag", |project| {
        let trace = project.run()?;
        ensure_said(&trace, &SHA_THEN_TAG)?;
        ensure_said(&trace, &["group/project:latest not found"])?;
        ensure!(
            !trace.contains("Push_When_tag"),
            "the job for tags ran on a branch:\n{trace}"
        );
        ensure_pushed(project, &[&project.git(&["rev-parse", "HEAD"])?])
    });
}

#[test]
fn on_a_tag_the_image_of_its_commit_is_pushed_under_the_tag_as_well() {
    everywhere("23-commit-sha-then-tag", |project| {
        project.git(&["tag", "v1.0"])?;
        let trace = project.run_with(&["--tag", "v1.0"])?;
        ensure_said(&trace, &SHA_THEN_TAG)?;
        ensure_said(&trace, &["Push_When_tag | Job succeeded"])?;
        ensure_pushed(project, &[&project.git(&["rev-parse", "HEAD"])?, "v1.0"])
    });
}

/// Fails unless the project's repository in the registry has these tags and no others, all of the image that the
/// Dockerfile describes.
fn ensure_pushed(project: &Project, tags: &[&str]) -> Result<()> {
    let registry = project.user.serve()?;
    for tag in tags {
        project.compare_in(&registry, &format!("group/project:{tag}"))?;
    }
    if let Some(found) = registry.tags(&project.user.home, "group/project")? {
        ensure!(found == tags, "pushed are {found:?} instead of {tags:?}");
    }
    Ok(())
}
