//! `shipway.toml`: what an administrator decides once. Flags and `SHIPWAY_*` go before it, the defaults after.
//!
//! An unknown key is an error with its line: a misspelt setting that is silently ignored is worse than none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use shipway_container::EgressException;
use shipway_sandbox::ProcessLimit;

use crate::failure::{Failure, FailureKind};

/// The file as a whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where everything is kept.
    pub(crate) data: Option<PathBuf>,
    pub(crate) registry: RegistrySettings,
    pub(crate) egress: EgressSettings,
    pub(crate) limits: LimitSettings,
}

/// `[limits]`: what a pod (a job with its services and engine, or a build) may use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitSettings {
    /// Processes and threads together: 512 to 4194304.
    pub(crate) processes: ProcessLimit,
}

/// `[registry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistrySettings {
    /// The registry's name inside jobs: `CI_REGISTRY`.
    pub(crate) name: String,
    /// Where `shipway serve` listens.
    pub(crate) listen: SocketAddr,
    /// Registries that are spoken to without TLS.
    pub(crate) insecure: Vec<String>,
    /// Whether anybody may pull without logging in.
    pub(crate) anonymous_pull: bool,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            name: "registry.shipway.internal".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            insecure: Vec::new(),
            anonymous_pull: false,
        }
    }
}

/// `[egress]`: what jobs may reach besides the public network and private ranges.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EgressSettings {
    /// What jobs may reach although it is denied by default: `ADDRESS`, `ADDRESS:PORT` or `ADDRESS/PREFIX`.
    #[serde(deserialize_with = "exceptions")]
    pub(crate) allow: Vec<EgressException>,
}

fn exceptions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EgressException>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(D::Error::custom))
        .collect()
}

impl Settings {
    /// Reads the file: the one named, else the usual one if it is there, else the defaults.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let (path, required) = match named {
            Some(path) => (path.to_path_buf(), true),
            None => (usual_path(), false),
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failure::caused(
                    FailureKind::Use,
                    &format!("reading `{}`", path.display()),
                    &error,
                ));
            }
        };
        toml::from_str(&text).map_err(|error| {
            Failure::new(
                FailureKind::Use,
                format!("`{}` is not a configuration of Shipway: {error}", path.display()),
            )
        })
    }
}

fn usual_path() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/etc/shipway/shipway.toml");
    }
    match std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
        Some(home) => PathBuf::from(home).join("shipway/shipway.toml"),
        None => home().join(".config/shipway/shipway.toml"),
    }
}

/// The user's home directory, `/` when the environment names none.
pub(crate) fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shipway.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(Some(&path))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = read("").unwrap();
        assert_eq!(settings.registry.name, "registry.shipway.internal");
        assert_eq!(settings.registry.listen.port(), 5000);
    }

    #[test]
    fn limits_are_read_and_bounded() {
        assert_eq!(read("").unwrap().limits.processes.get(), 8192);
        assert_eq!(
            read("[limits]\nprocesses = 600\n")
                .unwrap()
                .limits
                .processes
                .get(),
            600
        );
        let failure = read("[limits]\nprocesses = 5\n").unwrap_err();
        assert!(format!("{failure:?}").contains("choose between 512"));
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_it() {
        let failure = read("[registry]\nlisten_on = \"127.0.0.1:1\"\n").unwrap_err();
        assert!(format!("{failure:?}").contains("listen_on"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        assert!(Settings::read(Some(Path::new("/nonexistent/shipway.toml"))).is_err());
    }
}
