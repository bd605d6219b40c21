//! What the short and the long form tell, and what neither does.

use super::*;

fn provenance(detail: Detail) -> Provenance {
    let mut facts = Facts {
        builder_platform: "linux/amd64".to_owned(),
        dockerfile: b"FROM scratch\n".to_vec(),
        ..Facts::default()
    };
    facts.source.path = "Dockerfile".to_owned();
    facts.parameters = Parameters {
        target: Some("release".to_owned()),
        build_args: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        labels: BTreeMap::from([("a".to_owned(), "private-label".to_owned())]),
        secrets: BTreeMap::from([("npmrc".to_owned(), false)]),
        locals: vec!["context".to_owned(), "dockerfile".to_owned()],
        compatibility: 1,
        ..Parameters::default()
    };
    facts.materials = vec![Material::new("pkg:docker/alpine@3", &Digest::sha256(b"alpine"))];
    facts.steps = vec![Step {
        number: 2,
        stage: "release".to_owned(),
        line: 3,
        instruction: "RUN make secret-make".to_owned(),
        cached: true,
        layer: Some(Digest::sha256(b"layer")),
    }];
    Provenance {
        detail,
        builder_id: "https://gitlab.example.com/a/b/-/jobs/1".to_owned(),
        invocation_id: "id".to_owned(),
        started_on: "2026-01-01T00:00:00Z".to_owned(),
        finished_on: "2026-01-01T00:00:01Z".to_owned(),
        revision: SourceRevision {
            source: Some("https://gitlab.example.com/a/b.git".to_owned()),
            revision: Some("0".repeat(40)),
        },
        reproducible: false,
        facts,
    }
}

#[test]
fn the_short_form_gives_nothing_away() {
    let predicate = provenance(Detail::Min).predicate();
    let text = predicate.to_string();
    for hidden in [
        "hunter2",
        "TOKEN",
        "private-label",
        "npmrc",
        "secret-make",
        "steps",
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let definition = &predicate["buildDefinition"];
    assert_eq!(definition["buildType"], BUILD_TYPE);
    assert_eq!(
        definition["externalParameters"]["configSource"],
        serde_json::json!({"path": "Dockerfile"})
    );
    let request = &definition["externalParameters"]["request"];
    assert_eq!(request["args"], serde_json::json!({"target": "release"}));
    assert_eq!(request["locals"][0]["name"], "context");
    let material = &definition["resolvedDependencies"][0];
    assert_eq!(material["digest"]["sha256"], Digest::sha256(b"alpine").hex());
    let metadata = &predicate["runDetails"]["metadata"];
    assert_eq!(
        metadata["shipway_completeness"],
        serde_json::json!({"request": false, "resolvedDependencies": false})
    );
    assert_eq!(
        metadata["shipway_metadata"]["vcs"]["source"],
        "https://gitlab.example.com/a/b.git"
    );
    // What is not so is not said.
    assert!(metadata.get("shipway_hermetic").is_none());
    assert!(metadata.get("shipway_reproducible").is_none());
}

#[test]
fn the_long_form_tells_all() {
    let predicate = provenance(Detail::Max).predicate();
    let request = &predicate["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:TOKEN"], "hunter2");
    assert_eq!(request["args"]["label:a"], "private-label");
    assert_eq!(request["secrets"], serde_json::json!([{"id": "npmrc"}]));
    let step = &predicate["buildDefinition"]["internalParameters"]["buildConfig"]["steps"][0];
    assert_eq!((&step["id"], &step["cached"]), (&"step2".into(), &true.into()));
    let metadata = &predicate["runDetails"]["metadata"];
    assert_eq!(metadata["shipway_completeness"]["request"], true);
    assert_eq!(
        metadata["shipway_metadata"]["source"]["infos"][0]["data"],
        "RlJPTSBzY3JhdGNoCg=="
    );
}

#[test]
fn a_request_without_what_is_hidden_is_complete_in_the_short_form() {
    let mut plain = provenance(Detail::Min);
    plain.facts.parameters = Parameters::default();
    plain.facts.completeness.hermetic = true;
    let metadata = &plain.predicate()["runDetails"]["metadata"];
    assert_eq!(metadata["shipway_completeness"]["request"], true);
    assert_eq!(metadata["shipway_hermetic"], true);
}
