//! One directory is one case: `.gitlab-ci.yml` (and what it includes), perhaps `situation.json` (laid over a usual one) and
//! `expected`, which holds the pipeline in a readable form, or the diagnostics. `payloads` names jobs whose payload is added,
//! `allow-unsupported` is the option of that name.
//!
//! `UPDATE_EXPECTED=1` writes `expected` anew; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod render;
mod robust;
mod shared;

use std::{fs, path::Path};

use shipway_pipeline::{
    Compiled, Directory, JobName, Options, Situation, compile,
    job::{Dependency, JobPayload, PayloadFacts, RunnerFacts},
    variables::Variable,
};

/// A push to the default branch, with everything that a server would know.
fn usual() -> serde_json::Value {
    serde_json::json!({
        "project": { "id": 7, "path": "Group/Project", "default_branch": "main" },
        "commit": {
            "sha": "0123456789abcdef0123456789abcdef01234567",
            "message": "Add a thing\n\nBecause of $REASONS.",
            "author": "Ada <ada@example.com>",
            "timestamp": "2026-01-02T03:04:05+00:00"
        },
        "ref_name": "main",
        "pipeline": { "id": 90, "iid": 4, "created_at": "2026-01-02T03:05:00Z" },
        "user": { "id": 1, "login": "ada", "name": "Ada", "email": "ada@example.com" },
        "server": { "url": "https://ci.example.com", "version": "18.5.0" },
        "registry": "registry.example.com"
    })
}

fn situation(directory: &Path) -> Situation {
    let mut value = usual();
    if let Ok(text) = fs::read_to_string(directory.join("situation.json")) {
        overlay(&mut value, serde_json::from_str(&text).unwrap());
    }
    serde_json::from_value(value).unwrap()
}

fn overlay(base: &mut serde_json::Value, over: serde_json::Value) {
    match (base, over) {
        (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
            for (key, value) in over {
                overlay(base.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn outcome(directory: &Path) -> String {
    let allow_unsupported = directory.join("allow-unsupported").exists();
    let source = Directory::new(directory);
    match compile(
        &source,
        ".gitlab-ci.yml",
        &situation(directory),
        Options { allow_unsupported },
    ) {
        Ok(compiled) => {
            let payloads = fs::read_to_string(directory.join("payloads")).unwrap_or_default();
            let payloads = payloads.lines().map(|job| payload(&compiled, job));
            render::compiled(&compiled) + &payloads.collect::<String>()
        }
        Err(diagnostics) => render::diagnostics(&diagnostics),
    }
}

/// The payload of a job of the case, as a runner would get it.
fn payload(compiled: &Compiled, job: &str) -> String {
    let facts = PayloadFacts {
        job_id: 1234,
        token: "job-token".to_owned(),
        repository_url: "https://gitlab-ci-token:job-token@ci.example.com/Group/Project.git".to_owned(),
        depth: 20,
        started_at: "2026-01-02T03:06:00Z".to_owned(),
        runner: RunnerFacts {
            id: 3,
            tags: vec!["docker".to_owned()],
            ..RunnerFacts::default()
        },
        dependencies: vec![Dependency {
            id: 1233,
            name: "before".to_owned(),
            ..Dependency::default()
        }],
        dotenv: vec![
            Variable::public("FROM_REPORT", "report"),
            Variable::public("OVERRIDDEN", "by the report"),
        ],
        server_ca: Some("-----BEGIN CERTIFICATE-----".to_owned()),
        file_digests: [(vec!["Cargo.lock".to_owned()], "d1gest".to_owned())].into(),
        ..PayloadFacts::default()
    };
    let name: JobName = job.parse().unwrap();
    let sources = compiled.pipeline.artifact_sources(&name);
    let payload = compiled.pipeline.payload(&name, &facts).unwrap();
    let text = serde_json::to_string(&payload).unwrap();
    assert_eq!(serde_json::from_str::<JobPayload>(&text).unwrap(), payload);
    // One variable a line: there are many, and they are what changes.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let variables: String = value["variables"]
        .take()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{one}\n"))
        .collect();
    let rest = serde_json::to_string_pretty(&value).unwrap();
    format!("\n--- payload of {job}, with artifacts of {sources:?}\n{rest}\n{variables}")
}

fn compare(directory: &Path, expected: &Path) -> Option<String> {
    let actual = outcome(directory);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(expected, &actual).unwrap();
        return None;
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    (actual != wanted).then(|| {
        format!(
            "=== {}\n--- expected\n{wanted}\n--- actual\n{actual}",
            directory.display()
        )
    })
}

#[test]
fn every_case_compiles_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut directories: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    directories.sort();
    assert!(!directories.is_empty());
    let wrong: Vec<String> = directories
        .iter()
        .filter_map(|directory| compare(directory, &directory.join("expected")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
