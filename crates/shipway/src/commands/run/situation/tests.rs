//! Branches, tags, merge requests and schedules from real repositories.

use super::SituationArguments;
use crate::commands::run::git::{WorkTreeFacts, git};
use shipway_pipeline::{PipelineSource, RefKind, Situation};

/// Two commits on `main`, the first with the tag `v1`, and a branch `topic` with one more, which is checked out.
fn repository() -> (tempfile::TempDir, WorkTreeFacts) {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"];
        let _ = git(directory.path(), &[&identity, arguments].concat());
    };
    run(&["init", "--quiet", "--initial-branch=main"]);
    run(&["commit", "--quiet", "--allow-empty", "--message=one"]);
    run(&["tag", "--annotate", "--message=first", "v1"]);
    run(&["commit", "--quiet", "--allow-empty", "--message=two"]);
    run(&["switch", "--quiet", "--create", "topic"]);
    run(&["commit", "--quiet", "--allow-empty", "--message=three\n\nlong"]);
    let facts = WorkTreeFacts::read(directory.path()).unwrap();
    (directory, facts)
}

fn situation(facts: &WorkTreeFacts, arguments: SituationArguments) -> Result<Situation, String> {
    arguments
        .situation(facts, 3, &"registry.example.com".parse().unwrap())
        .map_err(|failure| format!("{failure:?}"))
}

#[test]
fn a_tag_need_not_exist_but_must_not_be_elsewhere() {
    let (_directory, facts) = repository();
    let tag = |name: &str| SituationArguments {
        tag: Some(name.to_owned()),
        ..SituationArguments::default()
    };
    let found = situation(&facts, tag("v2")).unwrap();
    assert_eq!((found.ref_name.as_str(), found.ref_kind), ("v2", RefKind::Tag));
    assert_eq!(found.source, PipelineSource::Push);
    assert_eq!(found.commit.before_sha, "");
    assert!(
        situation(&facts, tag("v1"))
            .unwrap_err()
            .contains("git checkout v1")
    );
    assert!(situation(&facts, tag("a b")).unwrap_err().contains("no name"));
    git(&facts.root, &["checkout", "--quiet", "v1"]);
    let facts = WorkTreeFacts::read(&facts.root).unwrap();
    assert_eq!(situation(&facts, tag("v1")).unwrap().tag_message, "first");
}

#[test]
fn a_branch_is_protected_where_that_is_known_and_a_tag_never() {
    let (_directory, mut facts) = repository();
    let protected = |facts: &WorkTreeFacts| {
        let found = situation(facts, SituationArguments::default()).unwrap();
        found.ref_protected
    };
    assert!(!protected(&facts), "`topic` is not the default branch");
    facts.ref_name = "main".to_owned();
    assert!(protected(&facts));
    facts.ref_kind = RefKind::Tag;
    assert!(!protected(&facts), "a tag with the name of the branch");
    facts.ref_kind = RefKind::Branch;
    facts.protected_branch = None;
    assert!(!protected(&facts));
    facts.ref_name = "topic".to_owned();
    let request = SituationArguments {
        merge_request: Some(String::new()),
        ..SituationArguments::default()
    };
    let found = situation(&facts, request).unwrap().merge_request.unwrap();
    assert_eq!(
        (found.target_branch.as_str(), found.target_protected),
        ("main", false)
    );
}

#[test]
fn a_merge_request_is_of_a_branch_into_another() {
    let (_directory, facts) = repository();
    let request = |target: &str| SituationArguments {
        merge_request: Some(target.to_owned()),
        ..SituationArguments::default()
    };
    let found = situation(&facts, request("")).unwrap();
    assert_eq!(found.source, PipelineSource::MergeRequestEvent);
    assert_eq!(found.commit.before_sha, "");
    let merge_request = found.merge_request.unwrap();
    assert_eq!(merge_request.target_branch, "main");
    assert_eq!(
        Some(merge_request.diff_base_sha),
        git(&facts.root, &["rev-parse", "main"])
    );
    assert_eq!(
        (merge_request.title, merge_request.description),
        ("three".into(), "long".into())
    );
    assert!(
        situation(&facts, request("topic"))
            .unwrap_err()
            .contains("into itself")
    );
    assert!(
        situation(&facts, request("gone"))
            .unwrap_err()
            .contains("no branch `gone`")
    );
}

#[test]
fn schedules_and_the_web_have_no_before() {
    let (_directory, facts) = repository();
    assert_ne!(
        situation(&facts, SituationArguments::default())
            .unwrap()
            .commit
            .before_sha,
        ""
    );
    let schedule = SituationArguments {
        schedule: Some("nightly".to_owned()),
        ..SituationArguments::default()
    };
    let found = situation(&facts, schedule).unwrap();
    assert_eq!(found.source, PipelineSource::Schedule);
    assert_eq!(
        (
            found.schedule_description.as_str(),
            found.commit.before_sha.as_str()
        ),
        ("nightly", "")
    );
    let web = SituationArguments {
        web: true,
        ..SituationArguments::default()
    };
    assert_eq!(situation(&facts, web).unwrap().source, PipelineSource::Web);
}
