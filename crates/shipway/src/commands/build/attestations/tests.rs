//! The spellings of buildx, and what is refused.

use super::*;
use clap::Parser;
use shipway_build::Context;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: AttestationArguments,
}

fn request(arguments: &[&str]) -> Result<BuildRequest, Failure> {
    let line = Line::try_parse_from(std::iter::once("build").chain(arguments.iter().copied())).unwrap();
    let mut request = BuildRequest::new(Context::directory("/nonexistent"));
    line.arguments.apply(&mut request, None)?;
    Ok(request)
}

#[test]
fn nothing_is_said_without_being_asked_for() {
    let request = request(&[]).unwrap();
    assert!(!request.sbom && request.provenance.is_none());
}

#[test]
fn the_forms_of_buildx_mean_what_they_mean_there() {
    for (arguments, sbom, detail) in [
        (&["--sbom=true"][..], true, None),
        (&["--sbom=false"], false, None),
        (&["--attest", "type=sbom"], true, None),
        (&["--attest", "type=sbom", "--sbom=false"], false, None),
        (&["--attest=type=sbom,disabled=true"], false, None),
        (&["--provenance=true"], false, Some(Detail::Min)),
        (&["--provenance=false"], false, None),
        (
            &["--provenance=mode=max,version=v1,inline-only=true"],
            false,
            Some(Detail::Max),
        ),
        (
            &["--attest", "type=provenance,mode=max", "--sbom", "true"],
            true,
            Some(Detail::Max),
        ),
        (
            &["--attest", "type=provenance,mode=max", "--provenance=false"],
            false,
            None,
        ),
    ] {
        let request = request(arguments).unwrap();
        let provenance = request.provenance.map(|provenance| provenance.detail);
        assert_eq!((request.sbom, provenance), (sbom, detail), "{arguments:?}");
    }
    let named = request(&[
        "--provenance=builder-id=https://a/b,reproducible=true",
        "--builder-id=https://c",
    ])
    .unwrap();
    let provenance = named.provenance.unwrap();
    assert_eq!(
        (provenance.builder_id.as_str(), provenance.reproducible),
        ("https://a/b", true)
    );
}

#[test]
fn what_has_no_effect_is_refused() {
    for arguments in [
        ["--sbom=maybe"],
        ["--sbom=true,scan=all"],
        ["--provenance=mode=most"],
        ["--provenance=version=v0.2"],
        ["--provenance=filename=x"],
        ["--attest=type=other"],
        ["--attest=mode=max"],
        ["--builder-id=x y"],
    ] {
        let refused = request(&arguments);
        // An id is looked at when there is something to say it in.
        assert_eq!(
            refused.is_err(),
            arguments != ["--builder-id=x y"],
            "{arguments:?}"
        );
    }
    assert!(request(&["--builder-id=x y", "--provenance=true"]).is_err());
}
