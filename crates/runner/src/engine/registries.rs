//! Registries as a Docker daemon's flags and file have them: mirrors of Docker Hub, and names that may go without TLS.
//!
//! They hold for the one engine that takes the daemon's place, as they would for the daemon: its image names end with the
//! job, and build steps are remembered by what their base *is*, so no other job finds anything under a name because a
//! mirror of this one said so. The egress policy of the job is asked about mirrors as about everything else, and they see
//! no credentials.

use crate::Trace;
use shipway_oci::{RegistryName, with_causes};
use shipway_registry::client::{Client, Mirror, MirrorAddress};
use std::sync::Arc;

/// What an engine does about registries besides what its installation does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineRegistries {
    /// Asked in this order before those of the installation.
    pub(crate) mirrors: Vec<Mirror>,
    /// Registries that may speak plain HTTP or show any certificate.
    pub(crate) insecure: Vec<RegistryName>,
}

impl EngineRegistries {
    /// From the values of `--registry-mirror` and `--insecure-registry`, or what stands for them in a `daemon.json`; what
    /// makes no sense is said and passed over.
    pub(super) fn of_daemon(mirrors: &[String], insecure: &[String]) -> (Self, Vec<String>) {
        let (mut registries, mut notes) = (Self::default(), Vec::new());
        for text in mirrors {
            match text.parse() {
                Ok(MirrorAddress { at, plain }) => {
                    if plain {
                        registries.insecure.push(at.clone());
                    }
                    let of = RegistryName::docker_hub();
                    registries.mirrors.push(Mirror { of, at });
                }
                Err(error) => notes.push(format!(
                    "passed over for the Docker service: {}",
                    with_causes(&error)
                )),
            }
        }
        for text in insecure {
            match text.parse() {
                Ok(name) => registries.insecure.push(name),
                Err(error) => notes.push(format!(
                    "passed over for the Docker service, as ranges of addresses are: the insecure registry {text}: {error}"
                )),
            }
        }
        (registries, notes)
    }

    /// A client that does so, and tells the job's trace of registries that it speaks to without protection.
    pub(super) fn apply(&self, client: &Client, trace: &Trace) -> Client {
        if *self == Self::default() {
            return client.clone();
        }
        let trace = trace.clone();
        let warn = Arc::new(move |warning: &str| trace.warn(warning));
        client.with_registries(self.mirrors.clone(), self.insecure.clone(), warn)
    }
}

#[cfg(test)]
mod tests {
    use super::EngineRegistries;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn addresses_become_mirrors_of_docker_hub_and_insecure_registries() {
        let mirrors = texts(&["https://m.example/", "http://n.example:5000", "ftp://o.example"]);
        let insecure = texts(&["registry.local:5000", "192.0.2.0/24"]);
        let (registries, notes) = EngineRegistries::of_daemon(&mirrors, &insecure);
        let found: Vec<_> = registries
            .mirrors
            .iter()
            .map(|mirror| (mirror.of.as_str(), mirror.at.as_str()))
            .collect();
        assert_eq!(
            found,
            [("docker.io", "m.example"), ("docker.io", "n.example:5000")]
        );
        let insecure: Vec<_> = registries.insecure.iter().map(|name| name.as_str()).collect();
        assert_eq!(insecure, ["n.example:5000", "registry.local:5000"]);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(
            notes[0].contains("ftp://o.example") && notes[1].contains("192.0.2.0/24"),
            "{notes:?}"
        );
    }
}
