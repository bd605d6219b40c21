//! The credentials clients send along: `X-Registry-Auth`, `X-Registry-Config` and the body of `/auth`.
//!
//! Apart so that passwords have one door in and no way into a log: the type shows none of them. Both base64 alphabets and
//! missing padding are taken, and what cannot be read counts as absent, as Docker does: the registry then says 401.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use serde::Deserialize;

use crate::model::nullable;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// One registry's credentials as Docker's clients know them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct AuthConfig {
    #[serde(deserialize_with = "nullable")]
    pub(crate) username: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) password: String,
    /// `user:password` in base64: what the client's configuration file holds.
    #[serde(deserialize_with = "nullable")]
    auth: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) serveraddress: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) identitytoken: String,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// Takes user and password out of `auth` where they are nowhere else.
    fn resolved(mut self) -> AuthConfig {
        if self.username.is_empty()
            && self.password.is_empty()
            && let Some(text) = decode(&self.auth)
            && let Ok(text) = String::from_utf8(text)
            && let Some((username, password)) = text.split_once(':')
        {
            self.username = username.to_owned();
            self.password = password.trim_end_matches('\0').to_owned();
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty() && self.identitytoken.is_empty()
    }

    /// The credentials of a pull or push; `None` when the client has none.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<AuthConfig> {
        let config: AuthConfig = header_json(headers, "x-registry-auth")?;
        Some(config.resolved()).filter(|config| !config.is_empty())
    }

    /// The credentials of a build, by registry.
    pub(crate) fn map_from_headers(headers: &HeaderMap) -> BTreeMap<String, AuthConfig> {
        let map: BTreeMap<String, AuthConfig> = header_json(headers, "x-registry-config").unwrap_or_default();
        map.into_iter()
            .map(|(address, config)| (registry_host(&address).to_owned(), config.resolved()))
            .filter(|(_, config)| !config.is_empty())
            .collect()
    }

    /// The body of `/auth`.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<AuthConfig, serde_json::Error> {
        serde_json::from_slice::<AuthConfig>(bytes).map(AuthConfig::resolved)
    }
}

/// The registry an address means: `https://index.docker.io/v1/` and its relatives are docker.io.
pub(crate) fn registry_host(address: &str) -> &str {
    let host = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    let host = host.split('/').next().unwrap_or(host);
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

fn header_json<T: serde::de::DeserializeOwned>(headers: &HeaderMap, name: &str) -> Option<T> {
    let text = headers.get(name)?.to_str().ok()?;
    serde_json::from_slice(&decode(text)?).ok()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

#[cfg(test)]
mod tests;
