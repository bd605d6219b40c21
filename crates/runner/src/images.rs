//! The images of a job: which one, with which credentials, how fresh.

use crate::configuration::DockerSettings;
use crate::credentials::JobCredentials;
use crate::outcome::{Doing, JobError, chain, root_cause};
use crate::selection::Pattern;
use crate::{ImageFreshness, RunnerContext, Trace};
use shipway_container::{Image, PullError, PullOptions, PullPolicy, PullSource};
use shipway_oci::{Platform, Reference};
use shipway_registry::ClientError;
use shipway_store::Scope;

/// What a job says about one of its images.
pub(crate) struct Wanted<'a> {
    /// Its name, variables expanded.
    pub(crate) name: &'a str,
    /// `pull_policy`, in the order to try.
    pub(crate) policy: &'a [String],
    /// `docker:platform`.
    pub(crate) platform: Option<&'a str>,
}

/// Gets an image, from where the policies say, and says so.
pub(crate) async fn pull(
    context: &RunnerContext,
    credentials: &JobCredentials,
    wanted: &Wanted<'_>,
    trace: &Trace,
) -> Result<Image, JobError> {
    let reference = Reference::parse(wanted.name).map_err(|error| JobError::ImagePull {
        image: wanted.name.to_owned(),
        source: error.into(),
    })?;
    let platform = match wanted.platform {
        None => None,
        Some(text) => Some(
            text.parse::<Platform>()
                .map_err(|error| JobError::Configuration {
                    message: format!("image:docker:platform {text}: {error}"),
                })?,
        ),
    };
    let policies = policies(wanted.policy, context.freshness, &context.settings.docker)?;
    // A credential helper is a process that is waited for.
    let found = {
        let (credentials, reference) = (credentials.clone(), reference.clone());
        let inside = as_jobs_name_it(context, &reference);
        tokio::task::spawn_blocking(move || {
            credentials
                .find(&reference)
                .or_else(|| credentials.find(&inside?))
        })
        .await
        .doing("looking for credentials")?
    };
    let containers = context.containers()?;
    let mut last = None;
    for policy in policies {
        trace.say(format!(
            "Pulling image {} ({}) ...",
            wanted.name,
            describe(policy)
        ));
        let options = PullOptions {
            platform: platform.clone(),
            credentials: found.clone(),
            policy,
        };
        match containers
            .runtime
            .images()
            .pull(&Scope::user(), &reference, options, &())
            .await
        {
            Ok(outcome) => {
                if let PullSource::Imported {
                    unreachable: Some(why),
                } = &outcome.source
                {
                    let why = match why {
                        ClientError::Unreachable { host, .. } => {
                            format!("`{host}` cannot be reached: {}", root_cause(why))
                        }
                        other => chain(other),
                    };
                    trace.warn(format!("{} is the imported image, because {why}", wanted.name));
                }
                trace.say(format!(
                    "Using image {} for {} ...",
                    outcome.image.id, wanted.name
                ));
                return Ok(outcome.image);
            }
            Err(error) => {
                let user = found.as_ref().map(|found| found.username.clone());
                if let Some(before) = last.replace(not_pulled(wanted.name, user, error)) {
                    trace.warn(chain(&before));
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| JobError::ImagePull {
        image: wanted.name.to_owned(),
        source: "no pull policy is left to try".into(),
    }))
}

/// An image of the installation's own registry under the name that jobs have for it. Outside jobs the registry has other
/// names, and what a job may pull under one it may pull under all.
fn as_jobs_name_it(context: &RunnerContext, image: &Reference) -> Option<Reference> {
    context.client.is_own(&image.registry).then(|| Reference {
        registry: context.registry_name.clone(),
        ..image.clone()
    })
}

/// What a pull as this user, or as nobody, ended with.
fn not_pulled(image: &str, user: Option<String>, error: PullError) -> JobError {
    let image = image.to_owned();
    match error {
        PullError::Registry { source, .. } => match *source {
            ClientError::Unreachable { host, source } => JobError::ImageUnreachable {
                image,
                host,
                cause: root_cause(&*source),
            },
            ClientError::Denied { registry, error } => JobError::ImageDenied {
                image,
                registry: registry.to_string(),
                user,
                source: ClientError::Denied { registry, error }.into(),
            },
            // That the image was not pulled is said already.
            other => JobError::ImagePull {
                image,
                source: other.into(),
            },
        },
        other => JobError::ImagePull {
            image,
            source: other.into(),
        },
    }
}

/// The policies to try, in order.
fn policies(
    asked: &[String],
    freshness: ImageFreshness,
    docker: &DockerSettings,
) -> Result<Vec<PullPolicy>, JobError> {
    if asked.is_empty() {
        if !docker.pull_policies.is_empty() {
            return Ok(docker.pull_policies.clone());
        }
        return Ok(vec![match freshness {
            ImageFreshness::Always => PullPolicy::Always,
            ImageFreshness::IfNotPresent => PullPolicy::IfMissing,
        }]);
    }
    let asked: Vec<PullPolicy> = asked
        .iter()
        .map(|word| {
            policy(word).ok_or_else(|| JobError::Configuration {
                message: format!("pull_policy {word} is not known: use always, if-not-present or never"),
            })
        })
        .collect::<Result<_, _>>()?;
    let allowed = &docker.allowed_pull_policies;
    let fitting: Vec<PullPolicy> = asked
        .iter()
        .copied()
        .filter(|policy| allowed.is_empty() || allowed.contains(policy))
        .collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let words = |policies: &[PullPolicy]| {
        let words: Vec<&str> = policies.iter().map(|policy| word(*policy)).collect();
        words.join(", ")
    };
    Err(JobError::Configuration {
        message: format!(
            "pull_policy {} is none of this runner's allowed_pull_policies ({})",
            words(&asked),
            words(allowed)
        ),
    })
}

/// The word for a policy.
pub(crate) fn word(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "always",
        PullPolicy::IfMissing => "if-not-present",
        PullPolicy::Never => "never",
    }
}

/// Whether an image is one of those that `allowed_images` or `allowed_services` name; an empty list names all.
pub(crate) fn check_allowed(image: &str, patterns: &[String], setting: &str) -> Result<(), JobError> {
    let fits = |pattern: &String| Pattern::parse(pattern, "").is_some_and(|pattern| pattern.matches(image));
    if patterns.is_empty() || patterns.iter().any(fits) {
        return Ok(());
    }
    Err(JobError::Configuration {
        message: format!(
            "the image {image} is not one of this runner's {setting}: {}",
            patterns.join(", ")
        ),
    })
}

/// A policy by the word for it.
pub(crate) fn policy(word: &str) -> Option<PullPolicy> {
    match word {
        "always" => Some(PullPolicy::Always),
        "if-not-present" => Some(PullPolicy::IfMissing),
        "never" => Some(PullPolicy::Never),
        _ => None,
    }
}

fn describe(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "always",
        PullPolicy::IfMissing => "if not present",
        PullPolicy::Never => "never: only what is here",
    }
}

#[cfg(test)]
mod tests {
    use super::{DockerSettings, ImageFreshness, check_allowed, not_pulled, policies};
    use crate::outcome::chain;
    use shipway_container::{PullError, PullPolicy};
    use shipway_registry::ClientError;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Between(#[source] io::Error);

    #[test]
    fn an_unreachable_registry_is_one_line_and_a_hint() {
        let error = not_pulled(
            "alpine:3",
            None,
            PullError::Registry {
                reference: Box::new("alpine:3".parse().unwrap()),
                source: Box::new(ClientError::Unreachable {
                    host: "registry-1.docker.io".into(),
                    source: Between(io::Error::other("no address")).into(),
                }),
            },
        );
        assert_eq!(
            chain(&error),
            "failed to pull image \"alpine:3\": `registry-1.docker.io` cannot be reached: no address"
        );
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("shipway image import alpine:3 ROOTFS.tar"),
            "{hint}"
        );
    }

    #[test]
    fn the_job_decides_before_the_runner() {
        let asked = ["always".to_owned(), "if-not-present".to_owned()];
        let expected = [PullPolicy::Always, PullPolicy::IfMissing];
        let unset = DockerSettings::default();
        let freshness = ImageFreshness::IfNotPresent;
        assert_eq!(policies(&asked, freshness, &unset).unwrap(), expected);
        assert_eq!(policies(&[], freshness, &unset).unwrap(), [PullPolicy::IfMissing]);
        assert!(policies(&["sometimes".to_owned()], freshness, &unset).is_err());
    }

    #[test]
    fn a_job_may_choose_what_the_runner_allows() {
        let freshness = ImageFreshness::IfNotPresent;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let docker = DockerSettings {
            pull_policies: vec![PullPolicy::Never],
            allowed_pull_policies: vec![PullPolicy::Always],
            ..DockerSettings::default()
        };
        // What the file itself says needs no leave.
        assert_eq!(policies(&[], freshness, &docker).unwrap(), [PullPolicy::Never]);
        let refused = policies(&words(&["never", "if-not-present"]), freshness, &docker).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("never, if-not-present is none of this runner's"),
            "{refused}"
        );
        let fitting = policies(&words(&["if-not-present", "always"]), freshness, &docker).unwrap();
        assert_eq!(fitting, [PullPolicy::Always]);
    }

    #[test]
    fn images_are_allowed_by_patterns() {
        let patterns = ["docker:*".to_owned(), "registry.example.com/**/*:*".to_owned()];
        for fine in ["docker:24.0.5", "registry.example.com/a/b/c:1"] {
            check_allowed(fine, &patterns, "allowed_images").unwrap();
        }
        for wrong in ["alpine:3", "evil.example.com/docker:24", "docker"] {
            assert!(
                check_allowed(wrong, &patterns, "allowed_images").is_err(),
                "{wrong}"
            );
        }
        check_allowed("anything", &[], "allowed_images").unwrap();
    }
}
