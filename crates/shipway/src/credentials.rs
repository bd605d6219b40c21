//! The user's docker credentials: `$DOCKER_CONFIG/config.json`, read and written as the docker CLI does.
//!
//! One file for both tools, so that a `docker login` is good for Shipway and the other way round. A broken entry is no
//! reason to fail a build that does not need it: reading warns and goes on, writing refuses. Where the file names a credential
//! helper, passwords go there and never into the file.

mod environment;
mod helper;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use shipway_access::Secret;
use shipway_oci::RegistryName;
use shipway_registry::client::{Audience, RegistryCredentials};

pub(crate) use self::environment::UserCredentials;
use self::helper::Helper;
use crate::failure::{Failure, FailureKind};
use crate::{screen, settings};

/// What the docker CLI calls Docker Hub in its file.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// A configuration larger than this is not one.
const LARGEST_FILE: u64 = 1 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfiguration {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    auths: BTreeMap<String, Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creds_store: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, String>,
    /// Everything else in the file, which is the docker CLI's business and stays as it is.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty", rename = "identitytoken")]
    identity_token: String,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl DockerConfiguration {
    /// Reads the bytes of the file. The parser's own words are left out of what is wrong: they quote what is there, and that
    /// may be a password.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("it is no configuration of docker's from line {line}, column {column} on")
        })
    }

    /// What its helper knows of a registry, else what it says itself.
    fn find(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        let keys = keys(registry);
        let helped = self
            .helper(&keys)
            .and_then(|name| DockerCredentials::from_helper(name, registry));
        helped.or_else(|| {
            let mut entries = keys.iter().filter_map(|key| self.auths.get(key));
            entries.find_map(decode)
        })
    }

    /// The helper that keeps the credentials of a registry: its own, else the one for all. An empty name switches it off.
    fn helper(&self, keys: &[String]) -> Option<&str> {
        keys.iter()
            .find_map(|key| self.cred_helpers.get(key))
            .or(self.creds_store.as_ref())
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

/// The credentials of the user who runs this.
#[derive(Debug, Clone)]
pub(crate) struct DockerCredentials {
    path: PathBuf,
}

impl DockerCredentials {
    /// The file that `DOCKER_CONFIG` names, else `~/.docker/config.json`.
    pub(crate) fn of_this_user() -> Self {
        let directory = std::env::var_os("DOCKER_CONFIG")
            .filter(|value| !value.is_empty())
            .map_or_else(|| settings::home().join(".docker"), PathBuf::from);
        Self {
            path: directory.join("config.json"),
        }
    }

    /// The credentials for a registry, if there are any.
    pub(crate) fn find(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        let configuration = match self.read() {
            Ok(configuration) => configuration,
            Err(problem) => {
                screen::warning(&format!(
                    "credentials in `{}` are not used: {problem}",
                    self.path.display()
                ));
                return None;
            }
        };
        configuration.find(registry)
    }

    /// What a credential helper knows of a registry, whatever the file says. One that fails is said and passed over.
    pub(crate) fn from_helper(helper: &str, registry: &RegistryName) -> Option<RegistryCredentials> {
        let found = Helper::named(helper).and_then(|helper| first_known(&helper, &keys(registry)));
        found.unwrap_or_else(|problem| {
            screen::warning(&format!(
                "no credentials for {registry} from its helper: {problem}"
            ));
            None
        })
    }

    /// Keeps credentials that a registry has accepted.
    pub(crate) fn store(
        &self,
        registry: &RegistryName,
        username: &str,
        password: &Secret,
    ) -> Result<(), Failure> {
        let mut configuration = self.read_to_change()?;
        let keys = keys(registry);
        let entry = match configuration.helper(&keys) {
            Some(name) => {
                Helper::named(name)
                    .and_then(|helper| helper.store(&keys[0], username, password))
                    .map_err(|error| unhelpful("keeping the credentials", &error))?;
                // As docker writes it: the registry is known, its password is elsewhere.
                Entry::default()
            }
            None => Entry {
                auth: STANDARD.encode(format!("{username}:{}", password.expose())),
                ..Entry::default()
            },
        };
        // An older entry under another spelling may hold a password in plain text.
        for key in &keys[1..] {
            configuration.auths.remove(key);
        }
        configuration.auths.insert(keys[0].clone(), entry);
        self.write(&configuration)
    }

    /// Forgets the credentials of a registry; says whether there were any.
    pub(crate) fn forget(&self, registry: &RegistryName) -> Result<bool, Failure> {
        let mut configuration = self.read_to_change()?;
        let keys = keys(registry);
        let mut found = false;
        if let Some(name) = configuration.helper(&keys) {
            let erased = Helper::named(name).and_then(|helper| {
                for key in &keys {
                    if helper.get(key)?.is_some() {
                        helper.erase(key)?;
                        found = true;
                    }
                }
                Ok(())
            });
            erased.map_err(|error| unhelpful("forgetting the credentials", &error))?;
        }
        for key in &keys {
            found |= configuration.auths.remove(key).is_some();
        }
        if found {
            self.write(&configuration)?;
        }
        Ok(found)
    }

    fn read(&self) -> Result<DockerConfiguration, String> {
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(DockerConfiguration::default());
            }
            Err(error) => return Err(error.to_string()),
            Ok(metadata) if metadata.len() > LARGEST_FILE => return Err("larger than 1 MiB".to_owned()),
            Ok(_) => {}
        }
        let bytes = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        DockerConfiguration::parse(&bytes)
    }

    fn read_to_change(&self) -> Result<DockerConfiguration, Failure> {
        self.read().map_err(|problem| {
            Failure::new(
                FailureKind::Use,
                format!("`{}` cannot be changed: {problem}", self.path.display()),
            )
        })
    }

    /// Replaces the file in one step, readable by its owner only: it holds passwords. A link to it goes on leading there.
    fn write(&self, configuration: &DockerConfiguration) -> Result<(), Failure> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::caused(
                FailureKind::Place,
                &format!("writing `{}`", self.path.display()),
                error,
            )
        };
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let partial = directory.join(format!(".config.json.{}", std::process::id()));
        let text = serde_json::to_vec_pretty(configuration).map_err(|error| failed(&error))?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|error| failed(&error))?;
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&partial, &path));
        written.map_err(|error| {
            // Nobody would look for a password there.
            let _ = std::fs::remove_file(&partial);
            failed(&error)
        })
    }
}

/// The keys under which the docker CLI may have filed a registry, the one it writes today first.
fn keys(registry: &RegistryName) -> Vec<String> {
    let name = registry.to_string();
    if name == "docker.io" {
        return vec![DOCKER_HUB_KEY.to_owned(), "index.docker.io".to_owned(), name];
    }
    vec![
        name.clone(),
        format!("https://{name}"),
        format!("http://{name}"),
        format!("https://{name}/v2/"),
    ]
}

fn decode(entry: &Entry) -> Option<RegistryCredentials> {
    let decoded = STANDARD.decode(&entry.auth).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    let identity_token =
        (!entry.identity_token.is_empty()).then(|| Secret::from(entry.identity_token.clone()));
    Some(RegistryCredentials {
        username: username.to_owned(),
        password: Secret::from(password.trim_end_matches('\0').to_owned()),
        identity_token,
        audience: Audience::Anybody,
    })
}

/// What a helper knows under the first of these keys that it knows.
fn first_known(helper: &Helper, keys: &[String]) -> Result<Option<RegistryCredentials>, helper::HelperError> {
    for key in keys {
        if let Some(found) = helper.get(key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn unhelpful(doing: &str, error: &helper::HelperError) -> Failure {
    Failure::caused(FailureKind::Place, doing, error)
        .hint("`credsStore` and `credHelpers` in docker's configuration name the helper")
}

#[cfg(test)]
mod tests;
