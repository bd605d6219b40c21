//! Chosen jobs bring what they need; what nobody makes is said.

use super::Selection;
use shipway_pipeline::{Options, Situation, compile};
use std::collections::BTreeMap;

const FILE: &str = r#"
stages: [build, test, deploy]
build: {stage: build, script: [make], artifacts: {paths: [out]}}
lint: {stage: build, script: [lint]}
test: {stage: test, script: [test], needs: [build]}
deploy: {stage: deploy, script: [deploy], needs: [test], when: manual}
package: {stage: deploy, script: [package]}
announce:
  stage: deploy
  script: [announce]
  rules:
    - if: $CI_COMMIT_TAG
    - if: $CI_COMMIT_BRANCH == "main"
      when: never
    - when: always
release: {stage: deploy, script: [release], rules: [{if: $CI_COMMIT_TAG}]}
tagged: {stage: deploy, script: [tagged], only: [tags]}
copies: {stage: deploy, script: [copies], parallel: 2, except: [main]}
"#;

fn selection(named: &[&str]) -> Result<Selection, String> {
    let files = BTreeMap::from([(".gitlab-ci.yml".to_owned(), FILE.as_bytes().to_vec())]);
    let situation = Situation {
        ref_name: "main".to_owned(),
        ..Situation::default()
    };
    let compiled = compile(&files, ".gitlab-ci.yml", &situation, Options::default()).unwrap();
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    Selection::of(compiled, &named).map_err(|failure| format!("{failure:?}"))
}

fn select(named: &[&str]) -> Result<Vec<String>, String> {
    let pipeline = selection(named)?.into_pipeline();
    Ok(pipeline.jobs.iter().map(|job| job.name.to_string()).collect())
}

#[test]
fn artifacts_that_nobody_makes_are_said() {
    let warnings = |named: &[&str]| selection(named).unwrap().warnings().collect::<Vec<_>>();
    assert_eq!(warnings(&[]), [""; 0]);
    assert_eq!(warnings(&["package", "build"]), [""; 0]);
    assert_eq!(warnings(&["test"]), [""; 0]);
    let [warning] = &warnings(&["package"])[..] else {
        panic!("one warning: {:?}", warnings(&["package"]));
    };
    assert!(
        warning.starts_with("`package` runs without the artifacts of `build`:"),
        "{warning}"
    );
}

#[test]
fn what_is_named_brings_what_it_needs() {
    assert_eq!(
        select(&[]).unwrap(),
        ["build", "lint", "test", "deploy", "package"]
    );
    assert_eq!(select(&["test"]).unwrap(), ["build", "test"]);
    assert_eq!(select(&["deploy"]).unwrap(), ["build", "test", "deploy"]);
    let refused = select(&["nothing"]).unwrap_err();
    assert!(
        refused.contains("build, lint, test, deploy, package"),
        "{refused}"
    );
}

#[test]
fn what_keeps_a_job_out_is_said_with_its_place() {
    for (name, reason) in [
        (
            "announce",
            "the first of its rules that holds, at .gitlab-ci.yml:13, says `when: never`",
        ),
        ("release", "none of its `rules`, at .gitlab-ci.yml:16, holds"),
        ("tagged", "its `only`, at .gitlab-ci.yml:17, does not let it in"),
        ("copies", "its `except`, at .gitlab-ci.yml:18, keeps it out"),
        ("copies 2/2", "its `except`, at .gitlab-ci.yml:18, keeps it out"),
    ] {
        let refused = select(&[name]).unwrap_err();
        let words = format!("the job `{name}` is not in this pipeline: {reason}");
        assert!(refused.contains(&words) && refused.contains("--tag"), "{refused}");
    }
}
