//! What a job needs before there is anything to run in.

use super::claim::JobClaim;
use crate::configuration::Executor;
use crate::outcome::{Doing, JobError};
use crate::variables::{Variables, fact};
use crate::{RunnerContext, Sources, Trace};
use shipway_container::{ExcessSignal, Pod, PodOptions};
use shipway_pipeline::job::JobPayload;
use shipway_pipeline::variables::Variable;
use shipway_store::Meter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a workplace is made from.
pub(crate) struct Preparation<'a> {
    pub(crate) context: &'a RunnerContext,
    pub(crate) payload: &'a JobPayload,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) trace: &'a Trace,
    pub(crate) pod: Pod,
    pub(crate) image: &'a str,
    pub(crate) variables: &'a mut Variables,
}

/// A pod with a network.
pub(super) async fn pod(
    context: &RunnerContext,
    payload: &JobPayload,
    excess: ExcessSignal,
) -> Result<Pod, JobError> {
    let options = PodOptions {
        name: format!("job-{}", payload.id),
        egress: context.egress.clone(),
        excess,
        written: Meter::default(),
    };
    let pod = context
        .containers()?
        .runtime
        .start_pod(options)
        .await
        .doing("starting the job's pod")?;
    pod.ensure_network().await.doing("starting the job's network")?;
    Ok(pod)
}

/// The job's variables with what only the runner knows; the project's directory will lie below `builds`.
pub(super) fn variables(
    context: &RunnerContext,
    payload: &JobPayload,
    limit: Duration,
    builds: &Path,
) -> Variables {
    let builds = builds.display().to_string();
    let project = format!("{builds}/{}", payload.job_info.project_full_path);
    let mut before = vec![
        Variable {
            file: true,
            ..fact("CI_SERVER_TLS_CA_FILE", context.certificates.ca_pem())
        },
        fact("CI_BUILDS_DIR", builds),
        fact("CI_PROJECT_DIR", &project),
        fact("CI_CONCURRENT_ID", "0"),
        fact("CI_CONCURRENT_PROJECT_ID", "0"),
        fact("CI_SERVER", "yes"),
        fact("CI_JOB_STATUS", "running"),
        fact("CI_JOB_TIMEOUT", limit.as_secs().to_string()),
        // The files belong to the container's root; git refuses other users' repositories unless told.
        fact("GIT_CONFIG_COUNT", "1"),
        fact("GIT_CONFIG_KEY_0", "safe.directory"),
        fact("GIT_CONFIG_VALUE_0", &project),
    ];
    before.extend(context.settings.environment.iter().cloned());
    let environment = match context.settings.executor {
        Executor::Container => "CI_DISPOSABLE_ENVIRONMENT",
        Executor::Shell => "CI_SHARED_ENVIRONMENT",
    };
    let mut after = vec![
        fact(environment, "true"),
        fact("RUNNER_TEMP_PROJECT_DIR", format!("{project}.tmp")),
        fact("CI_RUNNER_VERSION", env!("CARGO_PKG_VERSION")),
        fact("CI_RUNNER_EXECUTABLE_ARCH", format!("linux/{}", architecture())),
    ];
    if !payload.image.name.is_empty() {
        after.push(fact("CI_JOB_IMAGE", payload.image.name.clone()));
    }
    Variables::new(before, &payload.variables, after, &format!("{project}.tmp"))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The names of the job's images go, and its mark with them. If they cannot go, the mark stays for the next run to try.
pub(super) async fn forget(context: &RunnerContext, claim: JobClaim) {
    let (store, job) = (context.store.clone(), claim.job());
    let forgetting = tokio::task::spawn_blocking(move || claim.end(&store));
    if let Ok(Err(error)) = forgetting.await {
        tracing::warn!(%error, job, "the image names of a job stay until the next run");
    }
}

/// This machine's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
