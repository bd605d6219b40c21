//! The images of a job: which one, with which credentials, how fresh.
//!
//! That an image is on this machine gives no job a right to it. What a pull brings has its name in a scope of the job's
//! project; beside it only what the user put here by hand is found. An image of the installation's own registry is asked
//! for with the job's own rights each time, which costs a look into the store.

mod policy;
mod windows;

pub(crate) use policy::{check_allowed, policy, word};
use policy::{describe, policies};

use crate::credentials::JobCredentials;
use crate::outcome::{Doing, JobError, root_cause};
use crate::{Containers, RunnerContext, Trace};
use shipway_container::{Image, PullError, PullOptions, PullOutcome, PullPolicy, PullSource};
use shipway_oci::{Platform, Reference, with_causes};
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
    /// Where the names of pulled images of the job's project are.
    pub(crate) scope: &'a Scope,
}

/// Gets an image, from where the policies say, and says so.
pub(crate) async fn pull(
    context: &RunnerContext,
    credentials: &JobCredentials,
    wanted: &Wanted<'_>,
    trace: &Trace,
) -> Result<Image, JobError> {
    let sibling = windows::sibling(wanted.name);
    let name = sibling.as_deref().unwrap_or(wanted.name);
    if sibling.is_some() {
        trace.warn(format!(
            "{} is for Windows: {name}, the same docker CLI for Linux, is used in its place, and the script runs in its shell",
            wanted.name
        ));
    }
    let reference = Reference::parse(name).map_err(|error| JobError::ImagePull {
        image: name.to_owned(),
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
        let inside = as_jobs_name_it(context, &reference).await;
        let (credentials, reference) = (credentials.clone(), reference.clone());
        tokio::task::spawn_blocking(move || match inside {
            Some(inside) => credentials
                .find_own(&reference)
                .or_else(|| credentials.find_own(&inside)),
            None => credentials.find(&reference),
        })
        .await
        .doing("looking for credentials")?
    };
    let containers = context.containers()?;
    let mut last = None;
    for policy in policies {
        trace.say(format!("Pulling image {name} ({}) ...", describe(policy)));
        let options = PullOptions {
            platform: platform.clone(),
            credentials: found.clone(),
            policy,
            beside: Some(Scope::user()),
        };
        match get(context, containers, wanted.scope, &reference, options).await {
            Ok(outcome) => {
                if let PullSource::Imported {
                    unreachable: Some(why),
                } = &outcome.source
                {
                    let why = match why {
                        ClientError::Unreachable { host, .. } => {
                            format!("`{host}` cannot be reached: {}", root_cause(why))
                        }
                        other => with_causes(other),
                    };
                    trace.warn(format!("{name} is the imported image, because {why}"));
                }
                trace.say(format!("Using image {} for {name} ...", outcome.image.id));
                return Ok(outcome.image);
            }
            Err(error) => {
                let user = found.as_ref().map(|found| found.username.clone());
                if let Some(before) = last.replace(not_pulled(name, user, error)) {
                    trace.warn(with_causes(&before));
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| JobError::ImagePull {
        image: name.to_owned(),
        source: "no pull policy is left to try".into(),
    }))
}

/// Gets an image by one policy.
///
/// The installation's own registry is asked whatever the policy: it moves no byte, and only it knows the job's rights. What
/// it does not have to a job that may read there is looked for on the machine, unless the policy is against that.
async fn get(
    context: &RunnerContext,
    containers: &Containers,
    scope: &Scope,
    reference: &Reference,
    options: PullOptions,
) -> Result<PullOutcome, PullError> {
    let images = containers.runtime.images();
    if !context.client.is_own(&reference.registry).await {
        return images.pull(scope, reference, options, &()).await;
    }
    let asked = PullOptions {
        policy: PullPolicy::Always,
        ..options.clone()
    };
    match images.pull(scope, reference, asked, &()).await {
        Err(PullError::Registry { source, .. })
            if options.policy != PullPolicy::Always && matches!(*source, ClientError::NotFound { .. }) =>
        {
            let here = PullOptions {
                policy: PullPolicy::Never,
                ..options
            };
            let found = images.pull(scope, reference, here, &()).await;
            found.map_err(|error| match error {
                PullError::Absent { reference } => PullError::Registry { reference, source },
                other => other,
            })
        }
        answered => answered,
    }
}

/// An image of the installation's own registry under the name that jobs have for it. Outside jobs the registry has other
/// names, and what a job may pull under one it may pull under all.
async fn as_jobs_name_it(context: &RunnerContext, image: &Reference) -> Option<Reference> {
    let own = context.client.is_own(&image.registry).await;
    own.then(|| Reference {
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

#[cfg(test)]
mod tests {
    use super::not_pulled;
    use shipway_container::PullError;
    use shipway_oci::with_causes;
    use shipway_registry::ClientError;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Between(#[source] io::Error);

    fn unreachable(image: &str) -> crate::outcome::JobError {
        let error = PullError::Registry {
            reference: Box::new(image.parse().unwrap()),
            source: Box::new(ClientError::Unreachable {
                host: "registry-1.docker.io".into(),
                source: Between(io::Error::other("no address")).into(),
            }),
        };
        not_pulled(image, None, error)
    }

    #[test]
    fn the_hint_for_a_docker_client_names_what_its_image_needs_as_the_manual_does() {
        let hint = unreachable("docker:24.0.5-cli").hint().unwrap();
        let manual = include_str!("../../../README.md");
        let command = manual
            .lines()
            .filter_map(|line| line.strip_suffix(" rootfs.tar"))
            .find(|line| line.starts_with("shipway image import -c"));
        let command = command.expect("the manual imports a docker CLI");
        assert!(hint.contains(&format!("`{command} ROOTFS.tar`")), "{hint}");
    }

    #[test]
    fn an_unreachable_registry_is_one_line_and_a_hint() {
        let error = unreachable("alpine:3");
        assert_eq!(
            with_causes(&error),
            "failed to pull image \"alpine:3\": `registry-1.docker.io` cannot be reached: no address"
        );
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("shipway image import alpine:3 ROOTFS.tar"),
            "{hint}"
        );
    }
}
