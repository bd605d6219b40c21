//! The order of notes, what is called complete, and what is told nobody.

use super::*;
use crate::context::Context;
use shipway_attest::Detail;

fn request() -> BuildRequest {
    let mut request = BuildRequest::new(Context::directory("/nonexistent"));
    request.build_args = BTreeMap::from([
        ("A".to_owned(), Some("b".to_owned())),
        ("NONE".to_owned(), None),
        (
            "https_proxy".to_owned(),
            Some("http://user:word@proxy:3128".to_owned()),
        ),
    ]);
    request
}

fn step(number: usize) -> Step {
    Step {
        number,
        stage: "0".to_owned(),
        line: 1,
        instruction: "RUN true".to_owned(),
        cached: false,
        layer: None,
    }
}

#[test]
fn notes_of_stages_side_by_side_come_out_in_order() {
    let recorder = Recorder::new(&request(), &Invocation::begin());
    recorder.cached(3);
    recorder.step(step(3));
    recorder.step(step(2));
    let provenance = recorder.provenance(
        &ProvenanceRequest::default(),
        &request(),
        "Dockerfile",
        b"FROM scratch",
    );
    let told: Vec<(usize, bool)> = provenance
        .facts
        .steps
        .iter()
        .map(|step| (step.number, step.cached))
        .collect();
    assert_eq!(told, [(2, false), (3, true)]);
    assert!(!provenance.started_on.contains('.'));
}

#[test]
fn a_password_for_a_proxy_is_told_nobody() {
    let wanted = ProvenanceRequest {
        detail: Detail::Max,
        ..ProvenanceRequest::default()
    };
    let provenance =
        Recorder::new(&request(), &Invocation::begin()).provenance(&wanted, &request(), "Dockerfile", b"");
    let arguments = &provenance.facts.parameters.build_args;
    assert_eq!(arguments["https_proxy"], "http://proxy:3128");
    assert_eq!(arguments.len(), 2);
    assert!(!provenance.predicate().to_string().contains("word"));
}

#[test]
fn only_a_build_that_is_known_whole_is_called_so() {
    let complete = |source: bool, network: bool| {
        let recorder = Recorder::new(&request(), &Invocation::begin());
        if network {
            recorder.network();
        }
        let wanted = ProvenanceRequest {
            source: source.then(|| super::super::RemoteSource {
                uri: "https://example.org/a.git".to_owned(),
                algorithm: "sha1".to_owned(),
                digest: "0".repeat(40),
            }),
            ..ProvenanceRequest::default()
        };
        let provenance = recorder.provenance(&wanted, &request(), "Dockerfile", b"");
        assert_eq!(provenance.facts.materials.len(), usize::from(source));
        provenance.facts.completeness.hermetic
    };
    assert!(complete(true, false));
    assert!(!complete(true, true));
    assert!(!complete(false, false));
}

#[test]
fn a_secret_is_optional_when_nobody_requires_it() {
    let recorder = Recorder::new(&request(), &Invocation::begin());
    recorder.secret("a", false);
    recorder.secret("b", false);
    recorder.secret("b", true);
    recorder.ssh("default", true);
    let provenance = recorder.provenance(&ProvenanceRequest::default(), &request(), "Dockerfile", b"");
    let parameters = provenance.facts.parameters;
    assert_eq!(
        parameters.secrets,
        BTreeMap::from([("a".to_owned(), true), ("b".to_owned(), false)])
    );
    assert_eq!(parameters.ssh, BTreeMap::from([("default".to_owned(), false)]));
}
