//! Which credentials an image of a job is pulled with.
//!
//! In GitLab's order: the job's `DOCKER_AUTH_CONFIG`, then what belongs to whom the runner works for, then what the
//! job itself was given for its project's registry. The longest path that fits an image wins within one source.

use crate::HostCredentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use shipway_access::Secret;
use shipway_oci::Reference;
use shipway_pipeline::job::JobPayload;
use shipway_registry::client::RegistryCredentials;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What Docker's files call Docker Hub.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];

/// The credentials of one job.
#[derive(Clone)]
pub(crate) struct JobCredentials {
    /// From `DOCKER_AUTH_CONFIG`: normalised place, user name, password.
    configured: Vec<(String, String, Secret)>,
    host: Arc<dyn HostCredentials>,
    own: Vec<(String, String, Secret)>,
}

/// The part of Docker's configuration file that carries credentials.
#[derive(Deserialize)]
struct AuthConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// `DOCKER_AUTH_CONFIG` is not what Docker would read.
#[derive(Debug, thiserror::Error)]
#[error("DOCKER_AUTH_CONFIG is not read: it is not a Docker configuration")]
pub(crate) struct AuthConfigError {
    source: serde_json::Error,
}

impl JobCredentials {
    /// The job's credentials; a `DOCKER_AUTH_CONFIG` that cannot be read is left out and returned as an error.
    pub(crate) fn new(
        payload: &JobPayload,
        auth_config: Option<&str>,
        host: Arc<dyn HostCredentials>,
    ) -> (Self, Option<AuthConfigError>) {
        let (configured, error) = match auth_config.map(parse_auth_config) {
            None => (Vec::new(), None),
            Some(Ok(configured)) => (configured, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
        };
        let registries = payload
            .credentials
            .iter()
            .filter(|credential| credential.kind == "registry");
        let own = registries
            .map(|c| {
                (
                    normalise(&c.url),
                    c.username.clone(),
                    Secret::from(c.password.clone()),
                )
            })
            .collect();
        (
            Self {
                configured,
                host,
                own,
            },
            error,
        )
    }

    /// What to show the registry of an image.
    pub(crate) fn find(&self, image: &Reference) -> Option<RegistryCredentials> {
        let path = format!("{}/{}", image.registry, image.repository);
        let known =
            |(username, password): (&String, &Secret)| RegistryCredentials::new(username, password.clone());
        longest(&self.configured, &path)
            .map(known)
            .or_else(|| self.host.find(&image.registry))
            .or_else(|| longest(&self.own, &path).map(known))
    }
}

fn longest<'a>(entries: &'a [(String, String, Secret)], path: &str) -> Option<(&'a String, &'a Secret)> {
    entries
        .iter()
        .filter(|(place, _, _)| {
            path == place
                || path
                    .strip_prefix(place.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|(place, _, _)| place.len())
        .map(|(_, username, password)| (username, password))
}

fn parse_auth_config(text: &str) -> Result<Vec<(String, String, Secret)>, AuthConfigError> {
    let config: AuthConfig = serde_json::from_str(text).map_err(|source| AuthConfigError { source })?;
    let entries = config.auths.into_iter().filter_map(|(place, entry)| {
        let (username, password) = if entry.auth.is_empty() {
            (entry.username, entry.password)
        } else {
            let text = String::from_utf8(STANDARD.decode(entry.auth.trim()).ok()?).ok()?;
            let (username, password) = text.split_once(':')?;
            (username.to_owned(), password.to_owned())
        };
        (!username.is_empty()).then(|| (normalise(&place), username, Secret::from(password)))
    });
    Ok(entries.collect())
}

/// `https://index.docker.io/v1/` → `docker.io`, `https://registry.example.com/` → `registry.example.com`.
fn normalise(place: &str) -> String {
    let place = place
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let place = place
        .strip_suffix("/v1")
        .or_else(|| place.strip_suffix("/v2"))
        .unwrap_or(place);
    if DOCKER_HUB.contains(&place) {
        "docker.io".to_owned()
    } else {
        place.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{JobCredentials, normalise};
    use crate::HostCredentials;
    use shipway_oci::{Reference, RegistryName};
    use shipway_pipeline::job::JobPayload;
    use shipway_registry::client::RegistryCredentials;
    use std::sync::Arc;

    struct Nobody;

    impl HostCredentials for Nobody {
        fn find(&self, _: &RegistryName) -> Option<RegistryCredentials> {
            None
        }
    }

    #[test]
    fn the_longest_place_that_fits_wins() {
        let config = r#"{"auths":{
            "registry.example.com":{"auth":"YTox"},
            "registry.example.com/group":{"username":"b","password":"2"},
            "https://index.docker.io/v1/":{"auth":"aHViOjM="}}}"#;
        let (credentials, error) =
            JobCredentials::new(&JobPayload::default(), Some(config), Arc::new(Nobody));
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
}
