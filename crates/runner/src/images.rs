//! The images of a job: which one, with which credentials, how fresh.

use crate::credentials::JobCredentials;
use crate::outcome::{JobError, chain, root_cause};
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
    let policies = policies(wanted.policy, context.freshness)?;
    let mut last = None;
    for policy in policies {
        trace.say(format!(
            "Pulling image {} ({}) ...",
            wanted.name,
            describe(policy)
        ));
        let options = PullOptions {
            platform: platform.clone(),
            credentials: credentials.find(&reference),
            policy,
        };
        match context
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
                if let Some(before) = last.replace(not_pulled(wanted.name, error)) {
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

fn not_pulled(image: &str, error: PullError) -> JobError {
    let image = image.to_owned();
    match error {
        PullError::Registry { source, .. } => match *source {
            ClientError::Unreachable { host, source } => JobError::ImageUnreachable {
                image,
                host,
                cause: root_cause(&*source),
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
fn policies(asked: &[String], freshness: ImageFreshness) -> Result<Vec<PullPolicy>, JobError> {
    if asked.is_empty() {
        return Ok(vec![match freshness {
            ImageFreshness::Always => PullPolicy::Always,
            ImageFreshness::IfNotPresent => PullPolicy::IfMissing,
        }]);
    }
    asked
        .iter()
        .map(|policy| match policy.as_str() {
            "always" => Ok(PullPolicy::Always),
            "if-not-present" => Ok(PullPolicy::IfMissing),
            "never" => Ok(PullPolicy::Never),
            other => Err(JobError::Configuration {
                message: format!("pull_policy {other} is not known: use always, if-not-present or never"),
            }),
        })
        .collect()
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
    use super::{ImageFreshness, not_pulled, policies};
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
        assert_eq!(policies(&asked, ImageFreshness::IfNotPresent).unwrap(), expected);
        assert_eq!(
            policies(&[], ImageFreshness::IfNotPresent).unwrap(),
            [PullPolicy::IfMissing]
        );
        assert!(policies(&["sometimes".to_owned()], ImageFreshness::Always).is_err());
    }
}
