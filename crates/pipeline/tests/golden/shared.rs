//! Files that other projects publish, where they are at hand: real pipelines, GitLab's templates and its schema cases.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use shipway_pipeline::{Directory, FileSource, JobName, Options, Severity, compile, job::PayloadFacts};

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

fn yaml_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in directories(root) {
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            found.push(path);
        }
    }
    found
}

/// Complaints about a file, without those about what a fragment cannot have: a script, a visible job, a file beside it.
fn complaints(path: &Path, source: &dyn FileSource, options: Options) -> Vec<String> {
    const FRAGMENT: [&str; 4] = [
        "config should implement the script:",
        "should contain at least one visible job",
        "prevented any jobs from being added",
        "the included file",
    ];
    let name = path.file_name().unwrap().to_str().unwrap();
    let situation = super::situation(Path::new("absent"));
    match compile(source, name, &situation, options) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics
            .into_iter()
            .filter(|found| found.severity == Severity::Error)
            .filter(|found| !FRAGMENT.iter().any(|part| found.message.contains(part)))
            .map(|found| format!("{}:{} {}", found.line, found.column, found.message))
            .collect(),
    }
}

/// Files for which our verdict differs from the schema's; the reasons stand beside them.
fn known_differences(text: &'static str) -> Vec<&'static str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect()
}

#[test]
fn schema_cases_are_accepted_and_rejected() {
    let Some(root) = shared("vectors/gitlab-schema") else {
        return;
    };
    let differs = known_differences(include_str!("../gitlab-schema-differs.tsv"));
    let mut report = Vec::new();
    for path in yaml_files(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let source = Directory::new(path.parent().unwrap());
        // What is valid but not supported is refused by default, which is right for a negative case and no fault of a
        // positive one.
        let positive = name.starts_with("positive/");
        let complaints = complaints(
            &path,
            &source,
            Options {
                allow_unsupported: positive,
            },
        );
        let agrees = complaints.is_empty() == positive;
        match (agrees, differs.contains(&name.as_str())) {
            (false, false) => report.push(format!("{name}: {complaints:?}")),
            (true, true) => report.push(format!("{name} agrees, take it off the list")),
            _ => {}
        }
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
}

/// Published templates, where they include one another, in a repository with a Dockerfile, without which Auto DevOps has
/// nothing to do.
struct Beside {
    own: Directory,
    templates: Directory,
}

impl FileSource for Beside {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.own.read(path, limit)
    }

    fn paths(&self) -> io::Result<Vec<String>> {
        let mut paths = self.own.paths()?;
        paths.push("Dockerfile".to_owned());
        Ok(paths)
    }

    fn changed(&self, compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
        self.own.changed(compare_to)
    }

    fn template(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.templates.read(name, limit)
    }
}

#[test]
fn templates_are_understood() {
    let Some(root) = shared("vectors/gitlab-templates") else {
        return;
    };
    let differs = known_differences(include_str!("../gitlab-templates-differs.tsv"));
    let mut report = Vec::new();
    for path in yaml_files(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        // The template is the configuration here, so it is read from its own folder; what it includes comes from the root.
        let source = Beside {
            own: Directory::new(path.parent().unwrap()),
            templates: Directory::new(&root),
        };
        let complaints = complaints(
            &path,
            &source,
            Options {
                allow_unsupported: true,
            },
        );
        match (complaints.is_empty(), differs.contains(&name.as_str())) {
            (false, false) => report.push(format!("{name}: {complaints:?}")),
            (true, true) => report.push(format!("{name} agrees, take it off the list")),
            _ => {}
        }
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
}
