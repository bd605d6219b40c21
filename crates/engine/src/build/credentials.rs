//! The credentials that came with a build, by registry.

use std::collections::BTreeMap;

use shipway_build::CredentialSource;
use shipway_oci::RegistryName;
use shipway_registry::RegistryCredentials;

use crate::credential::AuthConfig;
use crate::system;

/// What the client's `X-Registry-Config` held.
pub(super) struct SentCredentials {
    by_host: BTreeMap<String, AuthConfig>,
}

impl SentCredentials {
    pub(super) fn new(by_host: BTreeMap<String, AuthConfig>) -> SentCredentials {
        SentCredentials { by_host }
    }
}

impl CredentialSource for SentCredentials {
    fn credentials(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        self.by_host
            .get(registry.as_str())
            .cloned()
            .map(system::credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_registry_s_own_credentials_are_shown_to_it() {
        let config = AuthConfig::from_json(br#"{"username":"u","password":"p"}"#).unwrap();
        let sent = SentCredentials::new(BTreeMap::from([("r.example:5000".to_owned(), config)]));
        let name = |text: &str| text.parse::<RegistryName>().unwrap();
        assert_eq!(sent.credentials(&name("r.example:5000")).unwrap().username, "u");
        assert!(sent.credentials(&name("r.example")).is_none());
        assert!(sent.credentials(&RegistryName::docker_hub()).is_none());
    }
}
