//! Files that other projects publish, where they are at hand: real pipelines, GitLab's templates and its schema cases.

use std::{
    fs,
    path::{Path, PathBuf},
};

use shipway_pipeline::{Directory, JobName, Options, compile, job::PayloadFacts};

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(name);
    path.is_dir().then_some(path)
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
fn every_published_pipeline_compiles_or_gives_gitlabs_reason() {
    let Some(root) = shared("pipelines") else { return };
    for directory in directories(&root) {
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let fragment = ["14-", "20-", "21-"]
            .iter()
            .any(|number| name.starts_with(number));
        let situation = super::situation(&directory);
        match compile(
            &Directory::new(&directory),
            ".gitlab-ci.yml",
            &situation,
            Options::default(),
        ) {
            Ok(compiled) => {
                assert!(!fragment, "{name} has no jobs");
                for job in &compiled.pipeline.jobs {
                    let payload = compiled
                        .pipeline
                        .payload(&job.name, &PayloadFacts::default())
                        .unwrap();
                    assert!(!payload.steps[0].script.is_empty(), "{name}");
                }
            }
            Err(diagnostics) => {
                assert!(fragment, "{name}: {}", super::render::diagnostics(&diagnostics));
                assert!(
                    diagnostics
                        .iter()
                        .any(|found| found.message.contains("at least one visible job")),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn the_payload_of_a_published_pipeline_is_what_a_runner_needs() {
    let Some(root) = shared("pipelines") else { return };
    let directory = root.join("05-four-stages");
    let situation = super::situation(&directory);
    let compiled = compile(
        &Directory::new(&directory),
        ".gitlab-ci.yml",
        &situation,
        Options::default(),
    )
    .unwrap();
    let facts = PayloadFacts {
        job_id: 12,
        token: "secret-token".to_owned(),
        ..PayloadFacts::default()
    };
    let name: JobName = "build".parse().unwrap();
    let payload = compiled.pipeline.payload(&name, &facts).unwrap();
    let value = |key: &str| {
        let mut found = payload.variables.iter().filter(|variable| variable.key == key);
        let value = found.next().unwrap_or_else(|| panic!("no {key}")).value.clone();
        assert!(found.next().is_none(), "{key} is given twice");
        value
    };
    assert_eq!(
        value("CONTAINER_TEST_IMAGE"),
        "registry.example.com/group/project:main"
    );
    assert_eq!(value("CI_REGISTRY_PASSWORD"), "secret-token");
    assert_eq!(value("CI_PROJECT_DIR"), "/builds/Group/Project");
    assert_eq!(value("CI_COMMIT_MESSAGE"), "Add a thing\n\nBecause of $REASONS.");
    assert!(
        !payload
            .variables
            .iter()
            .any(|variable| variable.key == "CI_COMMIT_TAG")
    );
    assert_eq!(payload.image.name, "docker:24.0.5-cli");
    assert_eq!(payload.services[0].name, "docker:24.0.5-dind");
    assert_eq!(payload.steps.len(), 1);
    assert_eq!(payload.steps[0].script.len(), 3);
    assert_eq!(payload.credentials[0].username, "gitlab-ci-token");
    let again = serde_json::from_str(&serde_json::to_string(&payload).unwrap()).unwrap();
    assert_eq!(payload, again);
}
