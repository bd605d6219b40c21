//! Images once, failures by name, allowed ones as warnings.

use super::{JobLine, PushedImage, Pushes, Summary};
use shipway_access::Principal;
use shipway_oci::Digest;
use shipway_pipeline::schedule::Status;
use shipway_registry::authority::{Push, PushObserver};
use std::time::Duration;

#[test]
fn a_tag_is_listed_once_with_its_last_digest() {
    let pushes = Pushes::default();
    for (tag, content) in [("moved", b"1"), ("moved", b"2"), ("new", b"3")] {
        pushes.pushed(&Push {
            principal: Principal::Anonymous,
            repository: "group/app".parse().unwrap(),
            tag: tag.parse().unwrap(),
            digest: Digest::sha256(content),
            media_type: String::new(),
        });
    }
    let images = pushes.images(
        &"registry.internal".parse().unwrap(),
        "127.0.0.1:5000".parse().unwrap(),
    );
    let seen: Vec<_> = images
        .iter()
        .map(|image| (image.outside.as_str(), image.digest.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("127.0.0.1:5000/group/app:moved", Digest::sha256(b"2").to_string()),
            ("127.0.0.1:5000/group/app:new", Digest::sha256(b"3").to_string()),
        ]
    );
}

fn job(name: &str, status: Status) -> JobLine {
    JobLine {
        name: name.into(),
        status,
        allowed_failure: false,
        failure: None,
        trace: None,
    }
}

fn failed(name: &str, allowed_failure: bool) -> JobLine {
    JobLine {
        allowed_failure,
        failure: Some("exit code 4".into()),
        trace: Some(format!("/t/{name}.log").into()),
        ..job(name, Status::Failed)
    }
}

#[test]
fn the_summary_names_what_failed_and_what_did_not_run() {
    let summary = Summary {
        status: Status::Failed,
        duration: Duration::from_secs(61),
        jobs: vec![
            failed("soft", true),
            failed("build", false),
            job("test", Status::Skipped),
            job("deploy", Status::Manual),
            job("lint", Status::Skipped),
            job("good", Status::Success),
        ],
        images: vec![PushedImage {
            name: "r/a:1".into(),
            digest: "sha256:0".into(),
            outside: "h/a:1".into(),
        }],
    };
    insta::assert_snapshot!(summary.lines().join("\n"), @r"
    pipeline failed in 1m01s
      failed: build (exit code 4)  trace: /t/build.log
      failed, allowed: soft (exit code 4)  trace: /t/soft.log
      manual: deploy
      skipped: test, lint
    images pushed:
      r/a:1  sha256:0
        docker pull h/a:1
      `docker pull` works while `shipway serve` runs, after `docker login h` (`shipway user add NAME` makes a user)
    ");
}

#[test]
fn allowed_failures_are_warnings() {
    let summary = |jobs| Summary {
        status: Status::Success,
        duration: Duration::from_secs(1),
        jobs,
        images: Vec::new(),
    };
    let warned = summary(vec![job("good", Status::Success), failed("soft", true)]);
    insta::assert_snapshot!(warned.lines().join("\n"), @r"
    pipeline passed with warnings in 1.0s
      failed, allowed: soft (exit code 4)  trace: /t/soft.log
    ");
    let passed = summary(vec![job("good", Status::Success)]);
    assert_eq!(passed.lines(), ["pipeline passed in 1.0s"]);
}
