//! What is stored is found, and the rest of docker's file stays as it was.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn in_directory(directory: &Path) -> DockerCredentials {
    DockerCredentials {
        path: directory.join("config.json"),
    }
}

#[test]
fn what_is_stored_is_found_and_the_rest_of_the_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = in_directory(directory.path());
    std::fs::write(
        &credentials.path,
        r#"{"currentContext":"x","auths":{"a.example":{"auth":"dTpw"}}}"#,
    )
    .unwrap();
    let registry: RegistryName = "b.example:5000".parse().unwrap();
    credentials
        .store(&registry, "me", &Secret::from("pass:word".to_owned()))
        .unwrap();

    let found = credentials.find(&registry).unwrap();
    assert_eq!(
        (found.username.as_str(), found.password.expose()),
        ("me", "pass:word")
    );
    let text = std::fs::read_to_string(&credentials.path).unwrap();
    assert!(
        text.contains("currentContext") && text.contains("a.example"),
        "{text}"
    );
    let mode = std::fs::metadata(&credentials.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert!(credentials.forget(&registry).unwrap());
    assert!(credentials.find(&registry).is_none());
    assert!(!credentials.forget(&registry).unwrap());
}

/// As the docker CLI does: the file may be kept elsewhere, with a link to it here.
#[test]
fn a_link_to_the_file_stays_one() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let credentials = in_directory(here.path());
    let kept = elsewhere.path().join("docker.json");
    std::fs::write(&kept, "{}").unwrap();
    std::os::unix::fs::symlink(&kept, &credentials.path).unwrap();
    let registry: RegistryName = "b.example".parse().unwrap();
    let password = Secret::from("p".to_owned());
    credentials.store(&registry, "me", &password).unwrap();
    assert_eq!(std::fs::read_link(&credentials.path).unwrap(), kept);
    assert!(std::fs::read_to_string(&kept).unwrap().contains("b.example"));
    assert!(credentials.find(&registry).is_some());
}

#[test]
fn what_cannot_be_put_in_place_leaves_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = in_directory(directory.path());
    // A file does not take the place of a directory.
    std::fs::create_dir(&credentials.path).unwrap();
    assert!(credentials.write(&DockerConfiguration::default()).is_err());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_broken_file_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = in_directory(directory.path());
    std::fs::write(&credentials.path, "{ broken").unwrap();
    let registry: RegistryName = "b.example".parse().unwrap();
    assert!(credentials.find(&registry).is_none());
    assert!(
        credentials
            .store(&registry, "me", &Secret::from("p".to_owned()))
            .is_err()
    );
    assert_eq!(std::fs::read_to_string(&credentials.path).unwrap(), "{ broken");
}

/// What is read is written so that it is read as the same; what is wrong is said without a word of the file.
#[test]
fn foreign_configurations() {
    let seeds = [
        r#"{"currentContext":"x","auths":{"a.example":{"auth":"dTpw","email":"e"}},"credHelpers":{"b.example":"c"}}"#,
        r#"{"auths":{"a.example":"dTpzd29yZGZpc2g="},"credsStore":"desktop"}"#,
    ];
    let registry: RegistryName = "a.example".parse().unwrap();
    shipway_testkit::Foreign::near(seeds)
        .with_words(&["\"auths\":", "\"auth\":", "\"identitytoken\":", "{}", "null"])
        .check(|bytes| match DockerConfiguration::parse(bytes) {
            Err(problem) => {
                let digits = |character: char| character.is_ascii_digit();
                assert_eq!(
                    problem.replace(digits, ""),
                    "it is no configuration of docker's from line , column  on"
                );
            }
            Ok(configuration) => {
                let written = serde_json::to_vec(&configuration).unwrap();
                let again = DockerConfiguration::parse(&written).unwrap();
                assert_eq!(serde_json::to_vec(&again).unwrap(), written);
                let _ = configuration.helper(&keys(&registry));
                for entry in configuration.auths.values() {
                    let _ = decode(entry);
                }
            }
        });
}
