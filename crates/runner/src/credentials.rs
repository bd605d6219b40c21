//! Which credentials an image of a job is pulled with.
//!
//! In GitLab's order: the job's `DOCKER_AUTH_CONFIG`, then what belongs to whom the runner works for, then what the
//! job itself was given for its project's registry. The longest path that fits an image wins within one source; a
//! credential helper that `DOCKER_AUTH_CONFIG` names for a registry is asked before its entries are looked at.
//!
//! The installation's own registry knows the job. There the logins and helpers of the machine's user are left out: they
//! would lift a job, which may say any image's name, to what the user may read, and an outdated one would take from the
//! job what is its own.

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
    /// From `DOCKER_AUTH_CONFIG`: normalised registry, helper.
    helpers: BTreeMap<String, String>,
    /// The helper for all other registries.
    store: Option<String>,
    host: Arc<dyn HostCredentials>,
    own: Vec<(String, String, Secret)>,
}

/// The part of Docker's configuration file that carries credentials.
#[derive(Default, Deserialize)]
struct AuthConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
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

/// `DOCKER_AUTH_CONFIG` is not what Docker would read. The parser's own words are left out: they quote what is there, and
/// the trace would have a password in them.
#[derive(Debug, thiserror::Error)]
#[error("DOCKER_AUTH_CONFIG is not read: it is no Docker configuration from line {line}, column {column} on")]
pub(crate) struct AuthConfigError {
    line: usize,
    column: usize,
}

impl JobCredentials {
    /// The job's credentials; a `DOCKER_AUTH_CONFIG` that cannot be read is left out and returned as an error.
    pub(crate) fn new(
        payload: &JobPayload,
        auth_config: Option<&str>,
        host: Arc<dyn HostCredentials>,
    ) -> (Self, Option<AuthConfigError>) {
        let read = auth_config.map(serde_json::from_str::<AuthConfig>).transpose();
        let (config, error) = match read {
            Ok(config) => (config.unwrap_or_default(), None),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                (AuthConfig::default(), Some(AuthConfigError { line, column }))
            }
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
                configured: entries(config.auths),
                helpers: config
                    .helpers
                    .into_iter()
                    .map(|(place, helper)| (normalise(&place), helper))
                    .collect(),
                store: config.store.filter(|store| !store.is_empty()),
                host,
                own,
            },
            error,
        )
    }

    /// What to show the registry of an image, which is somebody else's. May wait for a helper.
    pub(crate) fn find(&self, image: &Reference) -> Option<RegistryCredentials> {
        let helper = self
            .helpers
            .get(&image.registry.to_string())
            .or(self.store.as_ref());
        helper
            .and_then(|helper| self.host.ask_helper(helper, &image.registry))
            .or_else(|| longest(&self.configured, image))
            .or_else(|| self.host.find(&image.registry))
            .or_else(|| longest(&self.own, image))
    }

    /// What to show the installation's own registry: what the job itself says or was given.
    pub(crate) fn find_own(&self, image: &Reference) -> Option<RegistryCredentials> {
        longest(&self.configured, image).or_else(|| longest(&self.own, image))
    }
}

fn longest(entries: &[(String, String, Secret)], image: &Reference) -> Option<RegistryCredentials> {
    let path = format!("{}/{}", image.registry, image.repository);
    entries
        .iter()
        .filter(|(place, _, _)| {
            path == *place
                || path
                    .strip_prefix(place.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|(place, _, _)| place.len())
        .map(|(_, username, password)| RegistryCredentials::new(username, password.clone()))
}

fn entries(auths: BTreeMap<String, AuthEntry>) -> Vec<(String, String, Secret)> {
    let entries = auths.into_iter().filter_map(|(place, entry)| {
        let (username, password) = if entry.auth.is_empty() {
            (entry.username, entry.password)
        } else {
            let text = String::from_utf8(STANDARD.decode(entry.auth.trim()).ok()?).ok()?;
            let (username, password) = text.split_once(':')?;
            (username.to_owned(), password.to_owned())
        };
        (!username.is_empty()).then(|| (normalise(&place), username, Secret::from(password)))
    });
    entries.collect()
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
mod tests;
