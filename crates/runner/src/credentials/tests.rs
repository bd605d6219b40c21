//! The order of the sources of credentials, and which place fits.

use super::{JobCredentials, normalise};
use crate::HostCredentials;
use shipway_oci::{Reference, RegistryName};
use shipway_pipeline::job::{Credential, JobPayload};
use shipway_registry::client::RegistryCredentials;
use std::sync::Arc;

struct Nobody;

impl HostCredentials for Nobody {
    fn find(&self, _: &RegistryName) -> Option<RegistryCredentials> {
        None
    }

    fn ask_helper(&self, _: &str, _: &RegistryName) -> Option<RegistryCredentials> {
        None
    }
}

/// Says by its user names who was asked.
struct Everybody;

impl HostCredentials for Everybody {
    fn find(&self, _: &RegistryName) -> Option<RegistryCredentials> {
        Some(RegistryCredentials::new("host", "".to_owned().into()))
    }

    fn ask_helper(&self, helper: &str, registry: &RegistryName) -> Option<RegistryCredentials> {
        let known = registry.to_string() != "unknown.example.com";
        known.then(|| RegistryCredentials::new(helper, "".to_owned().into()))
    }
}

#[test]
fn sources_are_asked_in_gitlabs_order() {
    let config = r#"{"credHelpers":{"https://helped.example.com/":"one"},"credsStore":"all",
        "auths":{"helped.example.com":{"auth":"YTox"},"unknown.example.com":{"auth":"YTox"}}}"#;
    let found = |config: Option<&str>, image: &str| {
        let (credentials, error) = JobCredentials::new(&JobPayload::default(), config, Arc::new(Everybody));
        assert!(error.is_none());
        let image = Reference::parse(image).unwrap();
        credentials.find(&image).map(|found| found.username).unwrap()
    };
    assert_eq!(found(Some(config), "helped.example.com/a"), "one");
    assert_eq!(found(Some(config), "alpine"), "all");
    assert_eq!(found(Some(config), "unknown.example.com/a"), "a");
    assert_eq!(found(None, "unknown.example.com/a"), "host");
}

#[test]
fn at_the_own_registry_a_job_has_only_what_it_says_or_was_given() {
    let payload = JobPayload {
        credentials: vec![Credential {
            kind: "registry".to_owned(),
            url: "registry.own:5000".to_owned(),
            username: "job".to_owned(),
            password: "token".to_owned(),
        }],
        ..JobPayload::default()
    };
    let found = |config: Option<&str>, image: &str| {
        let (credentials, error) = JobCredentials::new(&payload, config, Arc::new(Everybody));
        assert!(error.is_none());
        let image = Reference::parse(image).unwrap();
        credentials.find_own(&image).map(|found| found.username)
    };
    let image = "registry.own:5000/group/app";
    assert_eq!(found(None, image).as_deref(), Some("job"));
    assert_eq!(found(None, "localhost:5000/group/app"), None);
    let helpers = r#"{"credHelpers":{"registry.own:5000":"one"},"credsStore":"all"}"#;
    assert_eq!(found(Some(helpers), image).as_deref(), Some("job"));
    let entry = r#"{"credsStore":"all","auths":{"registry.own:5000":{"auth":"YTox"}}}"#;
    assert_eq!(found(Some(entry), image).as_deref(), Some("a"));
}

#[test]
fn the_longest_place_that_fits_wins() {
    let config = r#"{"auths":{
        "registry.example.com":{"auth":"YTox"},
        "registry.example.com/group":{"username":"b","password":"2"},
        "https://index.docker.io/v1/":{"auth":"aHViOjM="}}}"#;
    let (credentials, error) = JobCredentials::new(&JobPayload::default(), Some(config), Arc::new(Nobody));
    assert!(error.is_none());
    let table = [
        ("registry.example.com/other/app", Some("a")),
        ("registry.example.com/group/app:1", Some("b")),
        ("registry.example.com/group2/app", Some("a")),
        ("alpine", Some("hub")),
        ("ghcr.io/x/y", None),
    ];
    for (image, expected) in table {
        let found = credentials
            .find(&Reference::parse(image).unwrap())
            .map(|found| found.username);
        assert_eq!(found.as_deref(), expected, "{image}");
    }
}

#[test]
fn a_broken_configuration_is_said_and_left_out() {
    let (credentials, error) = JobCredentials::new(&JobPayload::default(), Some("{"), Arc::new(Nobody));
    assert!(error.is_some());
    assert!(credentials.find(&Reference::parse("alpine").unwrap()).is_none());
}

#[test]
fn places_are_compared_without_scheme_and_version() {
    assert_eq!(normalise("https://index.docker.io/v1/"), "docker.io");
    assert_eq!(normalise("http://registry.local:5000/v2/"), "registry.local:5000");
}

/// What cannot be read gives nothing to anybody, and says none of it.
#[test]
fn foreign_auth_configurations() {
    const WHOLE: &str = r#"{"credHelpers":{"https://helped.example.com/":"one"},"credsStore":"all","auths":{"helped.example.com":{"auth":"YTox"},"b.example.com/x":{"username":"u","password":"p"}}}"#;
    let image = Reference::parse("b.example.com/x/y:1").unwrap();
    shipway_testkit::Foreign::near([WHOLE, r#"{"auths":{"b.example.com":"YTpzd29yZGZpc2g="}}"#])
        .with_words(&["\"auths\":", "\"auth\":", "{}", "null", "[]", "https://", "/v1/"])
        .check_text(|text| {
            let (credentials, error) =
                JobCredentials::new(&JobPayload::default(), Some(text), Arc::new(Nobody));
            let found = credentials.find_own(&image);
            if let Some(error) = error {
                assert!(found.is_none());
                let said = shipway_oci::with_causes(&error);
                let digits = |character: char| character.is_ascii_digit();
                assert_eq!(
                    said.replace(digits, ""),
                    "DOCKER_AUTH_CONFIG is not read: it is no Docker configuration from line , column  on"
                );
            }
        });
}
