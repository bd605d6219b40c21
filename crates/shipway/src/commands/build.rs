//! `shipway build`: a Dockerfile to an image, under the flags of `docker build` and `docker buildx build`.
//!
//! The flags are grouped by what they are about, a file for each group.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use shipway_build::git::GitError;
use shipway_build::{
    BuildError, BuildRequest, Builder, CacheMounts, CredentialSource, ExportError, StepError,
};
use shipway_oci::{Reference, RegistryName};
use shipway_registry::client::RegistryCredentials;

use crate::credentials::UserCredentials as Credentials;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;

mod accepted;
mod agents;
mod attestations;
mod cache;
mod call;
mod contexts;
mod files;
mod interrupt;
mod output;
pub(crate) mod progress;
mod reproducible;
mod secrets;
mod steps;

pub(crate) use files::{LARGEST_DOCKERFILE, read_small_file, read_stdin};

/// Build an image from a Dockerfile, without a daemon
#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    #[command(flatten)]
    call: call::CallArguments,
    #[command(flatten)]
    files: files::FileArguments,
    #[command(flatten)]
    output: output::OutputArguments,
    #[command(flatten)]
    steps: steps::StepArguments,
    #[command(flatten)]
    secrets: secrets::SecretArguments,
    #[command(flatten)]
    attestations: attestations::AttestationArguments,
    #[command(flatten)]
    cache: cache::CacheArguments,
    #[command(flatten)]
    reproducible: reproducible::ReproducibleArguments,
    #[command(flatten)]
    accepted: accepted::AcceptedArguments,
    /// How the build is shown on standard error
    #[arg(
        long,
        value_name = "MODE",
        env = "BUILDKIT_PROGRESS",
        default_value = "auto",
        value_enum
    )]
    progress: progress::ProgressMode,
    /// Bytes that are shown of each of a step's two outputs, such as 10m; -1 is no limit. What is left out is said, and its end is
    /// shown when the step ends
    #[arg(
        long,
        value_name = "SIZE",
        env = "BUILDKIT_STEP_LOG_MAX_SIZE",
        default_value = progress::LogLimit::SIZE,
        value_parser = |text: &str| progress::LogLimit::parse(text, progress::LogLimit::SIZE),
        allow_hyphen_values = true
    )]
    step_log_max_size: progress::LogLimit,
    /// The same for each second that the step has run
    #[arg(
        long,
        value_name = "SIZE",
        env = "BUILDKIT_STEP_LOG_MAX_SPEED",
        default_value = progress::LogLimit::SPEED,
        value_parser = |text: &str| progress::LogLimit::parse(text, progress::LogLimit::SPEED),
        allow_hyphen_values = true
    )]
    step_log_max_speed: progress::LogLimit,
    /// Print only the image's id, and what fails
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn execute(
    arguments: BuildArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let mut output = arguments.output.output()?;
    arguments.reproducible.check()?;
    let (context, dockerfile) = arguments.files.read(&installation.data)?;
    let mut request = BuildRequest::new(context);
    request.dockerfile = dockerfile;
    request.contexts = arguments.files.named_contexts()?;
    arguments.steps.apply(&mut request)?;
    // Held until the image is built.
    let lent = arguments.secrets.apply(&mut request)?;
    arguments.accepted.tell();
    output.apply(&mut request);
    arguments
        .attestations
        .apply(&mut request, arguments.files.directory())?;
    arguments.cache.apply(&mut request)?;
    request.egress = Some(installation.egress.clone());
    request.credentials = Arc::new(UserCredentials);
    request.parallel_stages = parallel_stages();
    let interrupts = interrupt::Interrupts::listen()?;
    request.cancellation = interrupts.cancellation.clone();
    let runtime = installation.build_runtime(installation.client.clone()).await?;
    let mounts = CacheMounts::of(&runtime);
    let builder = Builder::new(runtime, installation.store.clone(), installation.client.clone());
    if arguments.call.asks() {
        return arguments.call.answer(&builder, request).await;
    }
    let mode = if arguments.quiet {
        progress::ProgressMode::Quiet
    } else {
        arguments.progress
    };
    let limits = progress::LogLimits {
        size: arguments.step_log_max_size,
        speed: arguments.step_log_max_speed,
    };
    let show = || progress::Progress::new(mode, lent.masked.clone(), limits);
    let progress = show();
    let begun = output.begin(&installation);
    let built = builder.build(request.clone(), &progress).await;
    let finished = match built {
        Ok(built) => {
            let built = Arc::new(built);
            let quiet = arguments.quiet;
            if arguments.reproducible.is_wanted() {
                // The second build has a screen of its own.
                progress.finish();
            }
            let verifying =
                arguments
                    .reproducible
                    .verify(&installation, &builder, request, &built, quiet, show);
            // A build like the first: it hears of an interruption by itself, and ends what it has started.
            let verified = verifying.await;
            let finishing = async {
                verified?;
                let finished = output.finish(&installation, &builder, &built, begun, &progress);
                finished.await?;
                let exported = arguments.cache.export(&installation, &builder, &built, &progress);
                exported.await
            };
            tokio::select! {
                // Nothing begins any more once that is known.
                biased;
                () = interrupts.cancellation.cancelled() => Ok(()),
                finished = finishing => finished,
            }
        }
        Err(error) => Err(failure(error)),
    };
    progress.finish();
    if let Some(code) = interrupts.code() {
        return Ok(code);
    }
    keep_within(&installation, mounts).await;
    finished.map(|()| ExitCode::SUCCESS)
}

/// The last thing, when everything that a user waits for is told.
async fn keep_within(installation: &Installation, mounts: CacheMounts) {
    let (store, limits) = (installation.store.clone(), installation.settings.cache.clone());
    // What the limits could not do is in the log.
    let keeping = move || super::cache::keep_within(&store, Some(&mounts), &limits);
    let _ = tokio::task::spawn_blocking(keeping).await;
}

/// Two at least: one stage fetches what another one does not wait for.
fn parallel_stages() -> usize {
    std::thread::available_parallelism().map_or(2, |number| number.get().max(2))
}

/// A reference as the user wrote it, or what is wrong with it.
pub(crate) fn parse_reference(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text)
        .map_err(|error| Failure::caused(FailureKind::Use, &format!("the image name `{text}`"), &error))
}

fn failure(error: BuildError) -> Failure {
    let kind = match &error {
        BuildError::Export { source } if matches!(**source, ExportError::Conflict { .. }) => FailureKind::Use,
        BuildError::Dockerfile(_)
        | BuildError::NoDockerfile { .. }
        | BuildError::Ignore { .. }
        | BuildError::Epoch { .. }
        | BuildError::Checks { .. } => FailureKind::Use,
        BuildError::Step { source, .. } if matches!(**source, StepError::NoRun { .. }) => FailureKind::Place,
        error if needs_another_way(error) => FailureKind::Place,
        _ => FailureKind::Work,
    };
    Failure::caused(kind, "the build failed", &error)
}

/// Whether a repository is reached by a way that is not gone from here.
fn needs_another_way(error: &BuildError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        if let Some(GitError::Unsupported { .. }) = current.downcast_ref() {
            return true;
        }
        cause = current.source();
    }
    false
}

/// The user's credentials, looked up for each registry that a build touches.
struct UserCredentials;

impl CredentialSource for UserCredentials {
    fn credentials(&self, registry: &RegistryName) -> Option<RegistryCredentials> {
        let found = Credentials::of_this_process().find(registry);
        // At a registry of this installation whoever may open the store needs no password; elsewhere it is nobody's right.
        Some(found.unwrap_or_else(RegistryCredentials::of_the_owner))
    }
}
