//! `shipway.toml`: what an administrator decides once. Flags and `SHIPWAY_*` go before it, the defaults after.
//!
//! An unknown key is an error with its line: a misspelt setting that is silently ignored is worse than none.

mod cache;
mod serve;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use shipway_container::{ByteSize, DiskReserve, EgressException, PodLimits};
use shipway_oci::{RegistryName, with_causes};
use shipway_registry::client::MirrorAddress;
use shipway_sandbox::{Isolation, ProcessLimit};

pub(crate) use cache::CacheSettings;
pub(crate) use serve::ServeLimits;

use crate::failure::{Failure, FailureKind};

/// The file as a whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where everything is kept.
    pub(crate) data: Option<PathBuf>,
    /// By which means steps are kept apart, in place of the strongest that this place gives.
    pub(crate) tier: Option<TierChoice>,
    pub(crate) registry: RegistrySettings,
    pub(crate) egress: EgressSettings,
    pub(crate) limits: LimitSettings,
    pub(crate) cache: CacheSettings,
}

/// `[limits]`: what a pod (a job with its services and engine, or a build) may use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitSettings {
    /// Processes and threads together: 512 to 4194304.
    pub(crate) processes: ProcessLimit,
    /// Memory of all its processes together; any amount without.
    #[serde(deserialize_with = "size")]
    pub(crate) memory: Option<ByteSize>,
    /// What jobs leave free of the disk below the data directory.
    #[serde(deserialize_with = "size")]
    pub(crate) disk_reserve: Option<ByteSize>,
}

impl LimitSettings {
    pub(crate) fn pod(&self) -> PodLimits {
        PodLimits {
            processes: self.processes,
            memory: self.memory,
            disk_reserve: self.disk_reserve.map_or(DiskReserve::Usual, DiskReserve::Of),
        }
    }
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
    #[serde(deserialize_with = "registries")]
    pub(crate) insecure: Vec<RegistryName>,
    /// Mirrors of registries, asked in this order before the registry itself; one that is `http://…` counts as insecure.
    #[serde(deserialize_with = "mirrors")]
    pub(crate) mirrors: BTreeMap<RegistryName, Vec<MirrorAddress>>,
    /// Whether anybody may pull without logging in.
    pub(crate) anonymous_pull: bool,
    pub(crate) limits: ServeLimits,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            name: "registry.shipway.internal".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            anonymous_pull: false,
            limits: ServeLimits::default(),
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

/// A tier that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TierChoice(pub(crate) Isolation);

impl FromStr for TierChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "A" | "a" => Ok(Self(Isolation::Namespaces)),
            "B" | "b" => Ok(Self(Isolation::OneId)),
            "C" | "c" => Ok(Self(Isolation::Chroot)),
            "B'" | "b'" => Ok(Self(Isolation::NoMounts)),
            "D" | "d" => Ok(Self(Isolation::Bare)),
            other => Err(format!(
                "there is no tier `{other}` to choose: write `A` (namespaces), `B` (namespaces with one id), `C` (chroot and Landlock), \
                 `B'` (the same in a user namespace) or `D` (neither: no RUN)"
            )),
        }
    }
}

impl TryFrom<String> for TierChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A mirror as a flag names it: `[REGISTRY=]MIRROR`, of Docker Hub where no registry is named.
#[derive(Debug, Clone)]
pub(crate) struct MirrorFlag {
    pub(crate) of: RegistryName,
    pub(crate) address: MirrorAddress,
}

impl FromStr for MirrorFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (of, address) = text.split_once('=').unwrap_or(("docker.io", text));
        Ok(Self {
            of: registry(of)?,
            address: address.parse().map_err(|error| with_causes(&error))?,
        })
    }
}

/// A registry's name, with the name in the error.
pub(crate) fn registry(text: &str) -> Result<RegistryName, String> {
    text.parse()
        .map_err(|error| format!("the registry `{text}`: {error}"))
}

fn registries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RegistryName>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| registry(text).map_err(D::Error::custom))
        .collect()
}

fn mirrors<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<RegistryName, Vec<MirrorAddress>>, D::Error> {
    let texts = BTreeMap::<RegistryName, Vec<String>>::deserialize(deserializer)?;
    let parse = |texts: Vec<String>| {
        let addresses = texts.iter().map(|text| text.parse());
        addresses
            .collect::<Result<Vec<MirrorAddress>, _>>()
            .map_err(|error| D::Error::custom(with_causes(&error)))
    };
    texts
        .into_iter()
        .map(|(of, texts)| Ok((of, parse(texts)?)))
        .collect()
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
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
    named_home(std::env::var_os("HOME"))
}

fn named_home(named: Option<OsString>) -> PathBuf {
    named
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

#[cfg(test)]
mod tests;
