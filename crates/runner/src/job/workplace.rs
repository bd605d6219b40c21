//! The pod of a job with everything in it: registry, services, engine, the project's directory, the container.

use super::configured::{self, SharedVolume};
use super::fetch::{self, Fetched, fetch};
use super::prepare::Preparation;
use crate::builds::{Builds, PodBuilds, directory_of};
use crate::configuration::DockerSettings;
use crate::credentials::JobCredentials;
use crate::engine::{DaemonFile, EnginePlan, EngineScopes, JobEngine, is_docker_daemon};
use crate::execution::run_script;
use crate::images::{Wanted, check_allowed, pull};
use crate::outcome::{Doing, JobError};
use crate::registry::{RegistryEndpoint, trust_directories};
use crate::script::shell_command;
use crate::services::{self, Names, Service, Shared, effective_entrypoint};
use crate::shell::Shell;
use crate::variables::Variables;
use crate::{RunnerContext, Substitution, Trace};
use futures::future::try_join_all;
use shipway_container::{Container, ContainerOptions, Image, Pod, VolumeMount};
use shipway_engine::HostPaths;
use shipway_oci::with_causes;
use shipway_pipeline::job::{JobPayload, JobService};
use shipway_sandbox::{Mount, MountSource};
use shipway_store::Scope;

const NAMING: &str = "naming the project's images";

/// Where a job runs.
pub(crate) struct Workplace {
    pub(super) builds: Builds,
    pub(super) ground: Ground,
    pub(super) engine: Option<JobEngine>,
    /// What fetching gave, until its stage says so.
    pub(super) fetched: Option<Result<Fetched, JobError>>,
}

/// What its scripts run in.
pub(super) enum Ground {
    /// A container of the pod.
    Container {
        container: Container,
        /// Held: a container that nobody holds is forgotten.
        services: Vec<Service>,
        _registry: RegistryEndpoint,
    },
    /// This machine.
    Shell(Shell),
}

/// A service with its image's name, as it will be started or replaced.
enum Beside<'a> {
    Daemon(&'a JobService, String),
    Container(&'a JobService, String),
}

impl Workplace {
    /// Makes all of it. Files are fetched meanwhile: nobody needs them before the script.
    pub(crate) async fn prepare(preparation: Preparation<'_>) -> Result<Self, JobError> {
        let Preparation {
            context,
            payload,
            sources,
            trace,
            pod,
            image,
            variables,
        } = preparation;
        let docker = &context.settings.docker;
        if !variables.expand(&payload.image.name).is_empty() {
            check_allowed(image, &docker.allowed_images, "allowed_images")?;
        }
        let all_services = configured::services(docker, payload);
        let services = sort(context, &all_services, variables)?;
        for Beside::Daemon(_, name) | Beside::Container(_, name) in &services {
            // What the administrator has every job use needs no leave.
            if !docker.services.iter().any(|service| service.name == *name) {
                check_allowed(name, &docker.allowed_services, "allowed_services")?;
            }
        }
        let registry = RegistryEndpoint::open(context, &pod).await?;
        let builds = Builds::Pod(PodBuilds::create(&pod, &payload.job_info.project_full_path).await?);
        let mut mounts = Vec::from_iter(builds.mount());
        mounts.extend(trust(context, &pod).await?);
        let configured = docker.clone();
        let found = tokio::task::spawn_blocking(move || configured::mounts(&configured)).await;
        mounts.extend(found.doing("looking for the runner's volumes")??);

        let auth_config = variables.get_filled("DOCKER_AUTH_CONFIG");
        let (credentials, problem) =
            JobCredentials::new(payload, auth_config.as_deref(), context.credentials.clone());
        if let Some(problem) = problem {
            trace.warn(with_causes(&problem));
        }
        let wanted = fetch::is_wanted(variables);
        let around = async {
            let (image, service_images) =
                pull_all(context, payload, &credentials, image, &services, variables, trace).await?;
            let engine = start_engine(context, &pod, payload, &services, variables, trace).await?;
            if let Some(engine) = &engine {
                mounts.extend_from_slice(engine.mounts());
            }
            let shared = Shared {
                volumes: volumes(&pod, payload, configured::volumes(docker, &mounts)).await?,
                mounts,
                network: docker.network,
                disable_entrypoint_overwrite: docker.disable_entrypoint_overwrite,
            };
            let mut started =
                start_services(&pod, &services, service_images, variables, &shared, trace).await?;
            services::wait_for_all(&mut started, &pod, docker.wait_for_services, trace).await;
            let container = make_container(&pod, docker, payload, image, variables, shared).await?;
            if let Some(engine) = &engine {
                engine.set_view(&container);
            }
            Ok((container, started, engine))
        };
        let (around, fetched) = tokio::join!(around, fetch(&builds, sources, wanted));
        let (container, started, engine) = around?;
        let fetched = Some(fetched);
        Ok(Self {
            builds,
            ground: Ground::Container {
                container,
                services: started,
                _registry: registry,
            },
            engine,
            fetched,
        })
    }

    /// The project's directory.
    pub(crate) fn builds(&self) -> &Builds {
        &self.builds
    }

    /// Runs a script; when `stop` returns first, its processes are killed and what `stop` says is the error.
    pub(crate) async fn run(
        &self,
        script: String,
        trace: &Trace,
        stop: impl Future<Output = JobError>,
    ) -> Result<(), JobError> {
        match &self.ground {
            Ground::Container { container, .. } => run_script(container, script, trace, stop).await,
            Ground::Shell(shell) => shell.run(script, trace, stop).await,
        }
    }

    /// What fetching the sources gave; asked for once.
    pub(crate) fn take_fetched(&mut self) -> Result<Fetched, JobError> {
        self.fetched.take().unwrap_or(Ok(Fetched::Nothing))
    }

    /// Ends the engine with its containers; the pod's end takes the rest.
    pub(crate) async fn close(self) {
        if let Some(engine) = &self.engine {
            engine.close().await;
        }
        if let Ground::Container { services, .. } = self.ground {
            services::close_all(services).await;
        }
    }
}

/// Divides the services into daemons and others, and refuses what may not be replaced.
fn sort<'a>(
    context: &RunnerContext,
    services: &'a [JobService],
    variables: &Variables,
) -> Result<Vec<Beside<'a>>, JobError> {
    services
        .iter()
        .map(|service| {
            let name = variables.expand(&service.name);
            if !is_docker_daemon(&name) {
                return Ok(Beside::Container(service, name));
            }
            match context.substitution {
                Substitution::Engine => Ok(Beside::Daemon(service, name)),
                Substitution::Refuse => Err(JobError::Configuration {
                    message: format!(
                        "the service {name} needs a privileged container, which this runner never gives; allow Shipway's \
                         engine to take its place, or remove the service"
                    ),
                }),
            }
        })
        .collect()
}

/// The root of the registry's certificate, where tools look for it.
async fn trust(context: &RunnerContext, pod: &Pod) -> Result<Vec<Mount>, JobError> {
    let source = directory_of(pod, "registry-ca", &[("ca.crt", context.certificates.ca_pem())]).await?;
    let mount = |target: String| Mount {
        target: target.into(),
        source: MountSource::Keeper(source.clone()),
        read_only: true,
    };
    Ok(trust_directories(context).into_iter().map(mount).collect())
}

async fn pull_all(
    context: &RunnerContext,
    payload: &JobPayload,
    credentials: &JobCredentials,
    image: &str,
    services: &[Beside<'_>],
    variables: &Variables,
    trace: &Trace,
) -> Result<(Image, Vec<Image>), JobError> {
    let platform = payload
        .image
        .executor_opts
        .docker
        .platform
        .as_deref()
        .map(|text| variables.expand(text));
    let scope = &Scope::pulled(&project_class(payload)).doing(NAMING)?;
    let wanted = Wanted {
        name: image,
        policy: &payload.image.pull_policy,
        platform: platform.as_deref(),
        scope,
    };
    let of_services = services.iter().filter_map(|beside| match beside {
        Beside::Daemon(..) => None,
        Beside::Container(service, name) => Some((*service, name)),
    });
    let of_services = try_join_all(of_services.map(|(service, name)| async move {
        let platform = service.executor_opts.docker.platform.as_deref();
        let platform = platform.map(|platform| variables.expand(platform));
        pull(
            context,
            credentials,
            &Wanted {
                name,
                policy: &service.pull_policy,
                platform: platform.as_deref(),
                scope,
            },
            trace,
        )
        .await
    }));
    tokio::try_join!(pull(context, credentials, &wanted, trace), of_services)
}

/// The engine that a job asks for: by a daemon service, or by expecting the machine's socket.
async fn start_engine(
    context: &RunnerContext,
    pod: &Pod,
    payload: &JobPayload,
    services: &[Beside<'_>],
    variables: &mut Variables,
    trace: &Trace,
) -> Result<Option<JobEngine>, JobError> {
    let kept = kept_scope(payload)?;
    let daemon = services.iter().find_map(|beside| match beside {
        Beside::Daemon(service, name) => Some((*service, name)),
        Beside::Container(..) => None,
    });
    let (plan, scope) = match daemon {
        Some((service, name)) => {
            let aliases = Names::default().claim(service, name, variables, trace);
            let environment = services::environment(service, variables);
            let command: Vec<String> = service
                .command
                .iter()
                .flatten()
                .map(|word| variables.expand(word))
                .collect();
            let file = daemon_file(&context.settings.docker).await?;
            let plan = EnginePlan::for_service(aliases, &command, file, |wanted| {
                environment
                    .iter()
                    .find(|(name, _)| name == wanted)
                    .map(|(_, value)| value.clone())
            });
            trace.say(format!(
                "The service {name} is replaced by Shipway's engine at {}.",
                plan.describe()
            ));
            (plan, Scope::job(payload.id))
        }
        // With the machine's socket, images of one job are there for the next: such pipelines build on it.
        None => {
            let sockets = configured::sockets(&context.settings.docker);
            if sockets.is_empty() || context.substitution != Substitution::Engine {
                return Ok(None);
            }
            let mut plan = EnginePlan::for_sockets(sockets);
            if configured::socket_is_assumed(&context.settings.docker) {
                plan.say_that_the_socket_is_assumed();
            }
            (plan, kept.clone())
        }
    };
    if choose_builder(variables) && daemon.is_some() {
        trace.say("DOCKER_BUILDKIT=0 is set: the engine builds through the classic API.");
    }
    let scopes = EngineScopes {
        images: scope,
        build_cache: kept,
    };
    JobEngine::start(context, pod, &plan, scopes, HostPaths::Unset, trace)
        .await
        .map(Some)
}

/// What the administrator wants of Docker services.
async fn daemon_file(docker: &DockerSettings) -> Result<DaemonFile, JobError> {
    let Some(path) = configured::daemon_file(docker) else {
        return Ok(DaemonFile::default());
    };
    let read = tokio::task::spawn_blocking(move || DaemonFile::read(&path)).await;
    read.doing("reading the configuration of Docker services")?
        .map_err(|error| JobError::Configuration {
            message: with_causes(&error),
        })
}

/// Has the docker CLI build in the way that the engine understands; says whether it had to be told.
pub(super) fn choose_builder(variables: &mut Variables) -> bool {
    let told = !shipway_engine::OFFERS_BUILDKIT && variables.get_filled("DOCKER_BUILDKIT").is_none();
    if told {
        variables.set("DOCKER_BUILDKIT", "0");
    }
    told
}

/// Where a project keeps images and build steps from job to job. What unprotected branches write, protected ones do not
/// read.
pub(super) fn kept_scope(payload: &JobPayload) -> Result<Scope, JobError> {
    Scope::project(&project_class(payload)).doing(NAMING)
}

/// The project, apart for protected branches and tags and for others.
fn project_class(payload: &JobPayload) -> String {
    let class = if payload.git_info.protected == Some(false) {
        "unprotected"
    } else {
        "protected"
    };
    format!("{}:{class}", payload.job_info.project_full_path)
}

/// The volumes of a job. Those that are kept are the project's, apart for protected branches and others.
async fn volumes(
    pod: &Pod,
    payload: &JobPayload,
    volumes: Vec<SharedVolume>,
) -> Result<Vec<VolumeMount>, JobError> {
    let mut mounts = Vec::with_capacity(volumes.len());
    for SharedVolume { mount, kept } in volumes {
        if kept {
            let key = format!("{}\0{}", project_class(payload), mount.target.display());
            let kept = pod.keep_volume(&mount.name, &key).await;
            kept.doing("finding the runner's volumes")?;
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

async fn start_services(
    pod: &Pod,
    services: &[Beside<'_>],
    images: Vec<Image>,
    variables: &Variables,
    shared: &Shared,
    trace: &Trace,
) -> Result<Vec<Service>, JobError> {
    let mut names = Names::default();
    let mut images = images.into_iter();
    let mut started = Vec::new();
    for beside in services {
        match beside {
            // Its names are taken although no container has them.
            Beside::Daemon(service, name) => drop(names.claim(service, name, variables, trace)),
            Beside::Container(service, name) => {
                let Some(image) = images.next() else { continue };
                trace.say(format!("Starting service {name} ..."));
                let names = names.claim(service, name, variables, trace);
                started.push(
                    Service::start(pod, service, image, names, variables, shared.clone(), trace).await?,
                );
            }
        }
    }
    Ok(started)
}

async fn make_container(
    pod: &Pod,
    docker: &DockerSettings,
    payload: &JobPayload,
    image: Image,
    variables: &Variables,
    shared: Shared,
) -> Result<Container, JobError> {
    let mut options = ContainerOptions::new(image);
    let entrypoint = payload.image.entrypoint.clone();
    options.entrypoint = if docker.passes_over_entrypoints {
        Some(Vec::new())
    } else {
        entrypoint
            .filter(|_| !docker.disable_entrypoint_overwrite)
            .map(effective_entrypoint)
    };
    options.command = Some(shell_command());
    options.env = variables.container_environment();
    let user = payload.image.executor_opts.docker.user.as_deref();
    options.user = configured::user(docker, user.map(|user| variables.expand(user)))?;
    options.hostname = Some(
        docker
            .hostname
            .clone()
            .unwrap_or_else(|| format!("job-{}", payload.id)),
    );
    options.extra_hosts = docker.extra_hosts.clone();
    options.mounts = shared.mounts;
    options.volumes = shared.volumes;
    options.network = shared.network;
    options.stdin_open = true;
    // `after_script` comes on the same container's next standard input.
    options.stdin_stays_open = true;
    pod.create(options).await.doing("making the job's container")
}
