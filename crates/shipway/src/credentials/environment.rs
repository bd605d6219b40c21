//! Credentials that a CI job has in its environment, so that it logs in nowhere.
//!
//! A registry's credentials are looked for in this order, and the first found are used:
//!
//! 1. `DOCKER_AUTH_CONFIG`: the content of a docker configuration, helpers included;
//! 2. the user's own docker configuration (`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`), helpers included;
//! 3. what GitLab gives every job: `CI_REGISTRY_USER` and `CI_REGISTRY_PASSWORD` for `CI_REGISTRY`, else `CI_JOB_TOKEN` for it;
//!    `CI_DEPENDENCY_PROXY_USER` and `CI_DEPENDENCY_PROXY_PASSWORD` for `CI_DEPENDENCY_PROXY_SERVER`, else `CI_JOB_TOKEN` for it.
//!
//! What stands in the environment is never written anywhere.

use shipway_access::Secret;
use shipway_oci::RegistryName;
use shipway_registry::client::{Audience, RegistryCredentials};

use super::{DockerConfiguration, DockerCredentials};
use crate::screen;

/// Whom GitLab's registry and dependency proxy take a job's token from.
const JOB_USER: &str = "gitlab-ci-token";

/// The credentials of whoever runs this: a user, or a job.
pub(crate) struct UserCredentials<F = fn(&str) -> Option<String>> {
    file: DockerCredentials,
    variable: F,
}

impl UserCredentials {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        Self {
            file: DockerCredentials::of_this_user(),
            variable: |name| std::env::var(name).ok(),
        }
    }
}

impl<F: Fn(&str) -> Option<String>> UserCredentials<F> {
    /// The credentials for a registry, if there are any.
    pub(crate) fn find(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        self.configured(registry)
            .or_else(|| self.file.find(registry))
            .or_else(|| self.of_the_job(registry))
    }

    fn given(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn configured(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        let text = self.given("DOCKER_AUTH_CONFIG")?;
        match DockerConfiguration::parse(text.as_bytes()) {
            Ok(configuration) => configuration.find(registry),
            Err(problem) => {
                screen::warning(&format!("DOCKER_AUTH_CONFIG is not used: {problem}"));
                None
            }
        }
    }

    fn of_the_job(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        let of = |server: &str, user: &str, password: &str| {
            let server = self.given(server)?;
            if !is_same(&server, registry) {
                return None;
            }
            let own = self.given(user).zip(self.given(password));
            let token = || Some((JOB_USER.to_owned(), self.given("CI_JOB_TOKEN")?));
            own.or_else(token)
        };
        let (username, password) =
            of("CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD").or_else(|| {
                of(
                    "CI_DEPENDENCY_PROXY_SERVER",
                    "CI_DEPENDENCY_PROXY_USER",
                    "CI_DEPENDENCY_PROXY_PASSWORD",
                )
            })?;
        Some(RegistryCredentials {
            username,
            password: Secret::from(password),
            identity_token: None,
            audience: Audience::Anybody,
        })
    }
}

/// Whether a server of GitLab's is that registry. The dependency proxy's is named with its port, also with the usual one.
fn is_same(server: &str, registry: &RegistryName) -> bool {
    let plain = |name: &str| name.trim_end_matches(":443").to_ascii_lowercase();
    plain(server) == plain(registry.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn found(file: &str, variables: &[(&str, &str)], registry: &str) -> Option<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, file).unwrap();
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let credentials = UserCredentials {
            file: DockerCredentials { path },
            variable: |name: &str| variables.get(name).cloned(),
        };
        let found = credentials.find(&registry.parse().unwrap())?;
        Some((found.username, found.password.expose().to_owned()))
    }

    const REGISTRY: &[(&str, &str)] = &[
        ("CI_REGISTRY", "registry.example.com:5050"),
        ("CI_REGISTRY_USER", "of-the-registry"),
        ("CI_REGISTRY_PASSWORD", "p"),
        ("CI_JOB_TOKEN", "token"),
        ("CI_DEPENDENCY_PROXY_SERVER", "GitLab.example.com:443"),
    ];

    #[test]
    fn a_job_needs_no_login() {
        let both = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        let registry = "registry.example.com:5050";
        assert_eq!(found("{}", REGISTRY, registry), both("of-the-registry", "p"));
        let proxy = "gitlab.example.com:443";
        assert_eq!(found("{}", REGISTRY, proxy), both("gitlab-ci-token", "token"));
        assert_eq!(
            found("{}", REGISTRY, "gitlab.example.com"),
            both("gitlab-ci-token", "token")
        );
        assert_eq!(found("{}", REGISTRY, "registry.example.com"), None);
        assert_eq!(found("{}", &REGISTRY[..1], registry), None);
        let own = [
            REGISTRY,
            &[
                ("CI_DEPENDENCY_PROXY_USER", "u"),
                ("CI_DEPENDENCY_PROXY_PASSWORD", "q"),
            ],
        ];
        assert_eq!(found("{}", &own.concat(), proxy), both("u", "q"));
    }

    #[test]
    fn the_nearest_credentials_go_first() {
        let registry = "registry.example.com:5050";
        // `file:f` and `variable:v`.
        let file = r#"{"auths":{"registry.example.com:5050":{"auth":"ZmlsZTpm"}}}"#;
        let config = r#"{"auths":{"registry.example.com:5050":{"auth":"dmFyaWFibGU6dg=="}}}"#;
        let user = |variables: &[(&str, &str)], file: &str| found(file, variables, registry).unwrap().0;
        let all = [REGISTRY, &[("DOCKER_AUTH_CONFIG", config)]].concat();
        assert_eq!(user(&all, file), "variable");
        assert_eq!(user(REGISTRY, file), "file");
        assert_eq!(user(REGISTRY, "{}"), "of-the-registry");
        let broken = [REGISTRY, &[("DOCKER_AUTH_CONFIG", "{")]].concat();
        assert_eq!(user(&broken, file), "file", "what cannot be read is passed over");
    }
}
