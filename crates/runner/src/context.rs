//! What a runner works with, whatever the job.

use crate::configuration::RunnerSettings;
use crate::outcome::{Doing, JobError};
use shipway_build::Builder;
use shipway_container::{Egress, Runtime};
use shipway_engine::certificates::CertificateAuthority;
use shipway_oci::RegistryName;
use shipway_registry::authority::Authority;
use shipway_registry::client::{Client, RegistryCredentials};
use shipway_store::Store;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The credentials of the person or the machine that the runner works for.
pub trait HostCredentials: Send + Sync {
    /// What to show this registry, if anything.
    fn find(&self, registry: &RegistryName) -> Option<RegistryCredentials>;

    /// What the credential helper of that name (`docker-credential-NAME`) knows of this registry: a job's
    /// `DOCKER_AUTH_CONFIG` may name helpers of the machine. May wait for the helper.
    fn ask_helper(&self, helper: &str, registry: &RegistryName) -> Option<RegistryCredentials>;
}

/// What to do with a service that is a Docker daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitution {
    /// An engine of ours takes its place; so does one behind `/var/run/docker.sock` where no daemon is asked for.
    Engine,
    /// The job is refused: its daemon would need a privileged container.
    Refuse,
}

/// When an image that is here is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFreshness {
    /// The registry is asked each time, as GitLab's runner does by default.
    Always,
    /// What is here is good enough, unless the job says otherwise.
    IfNotPresent,
}

/// What containers are made with. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    /// Pods and images.
    pub runtime: Runtime,
    /// Builds images for the engines of jobs.
    pub builder: Builder,
}

/// Why this place makes no containers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("this place makes no containers")]
pub struct NoContainers {
    /// What it lacks.
    pub source: Arc<dyn Error + Send + Sync>,
}

/// What a runner works with. Cheap to clone.
#[derive(Clone)]
pub struct RunnerContext {
    /// The data directory.
    pub data: PathBuf,
    /// Containers. Jobs of the shell executor do without.
    pub containers: Result<Containers, NoContainers>,
    /// Bytes and names.
    pub store: Store,
    /// Reaches other registries, and our own without a network.
    pub client: Client,
    /// What jobs may reach.
    pub egress: Egress,
    /// The registry that jobs find under `registry_name`.
    pub authority: Authority,
    /// Its name inside jobs.
    pub registry_name: RegistryName,
    /// Signs its certificate.
    pub certificates: Arc<CertificateAuthority>,
    /// Credentials for images of jobs that bring none.
    pub credentials: Arc<dyn HostCredentials>,
    /// About Docker daemons.
    pub substitution: Substitution,
    /// About images.
    pub freshness: ImageFreshness,
    /// The image of a job that names none.
    pub default_image: String,
    /// What a `config.toml` says about jobs; the default where there is none.
    pub settings: RunnerSettings,
}

impl RunnerContext {
    /// What containers are made with, for who cannot do without.
    pub(crate) fn containers(&self) -> Result<&Containers, JobError> {
        self.containers
            .as_ref()
            .map_err(Clone::clone)
            .doing("making a container")
    }
}
