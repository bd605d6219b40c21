//! Docker for a job, without Docker.
//!
//! A service that is a Docker daemon is not started: an engine of ours takes its place in the job's own network, on
//! the daemon's names and ports, with the certificates where the daemon would have put them. They are there before
//! the job's container starts, because the `docker` image decides by them in its entrypoint whether to use TLS.
//! The trace says so. With [`Substitution::Refuse`](crate::Substitution) such a job is refused by name instead.

mod daemon_file;
mod notice;
mod plan;
mod recognition;
mod registries;
mod socket;

pub(crate) use daemon_file::DaemonFile;
pub(crate) use plan::{EnginePlan, Face};
pub(crate) use recognition::is_docker_client;
pub use recognition::is_docker_daemon;

use crate::outcome::{Doing, JobError};
use crate::{RunnerContext, Trace};
use shipway_container::{Container, Pod};
use shipway_engine::certificates::{CertificateAuthority, TlsIdentity};
use shipway_engine::{Engine, EngineOptions, HostPaths};
use shipway_sandbox::{Mount, MountSource};
use shipway_store::Scope;
use socket::SocketDirectory;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

const DOING: &str = "starting the job's engine";
const SOCKET_MODE: u32 = 0o666;

/// An engine that serves one job; it ends when this is closed or dropped.
pub(crate) struct JobEngine {
    engine: Engine,
    tasks: Vec<JoinHandle<()>>,
    mounts: Vec<Mount>,
    sockets: Vec<SocketDirectory>,
}

/// Whose names an engine sees.
pub(crate) struct EngineScopes {
    /// Of images.
    pub(crate) images: Scope,
    /// Of build steps.
    pub(crate) build_cache: Scope,
}

impl JobEngine {
    /// Starts an engine as planned. Its certificates and its socket exist when this returns.
    pub(crate) async fn start(
        context: &RunnerContext,
        pod: &Pod,
        plan: &EnginePlan,
        scopes: EngineScopes,
        host_paths: HostPaths,
        trace: &Trace,
    ) -> Result<Self, JobError> {
        let containers = context.containers()?;
        let address = pod.reserve_address().doing(DOING)?;
        for alias in &plan.aliases {
            pod.add_name(alias, address);
        }
        let client = plan.registries.apply(&context.client, trace);
        let engine = Engine::new(EngineOptions {
            runtime: containers.runtime.clone(),
            pod: pod.clone(),
            builder: containers.builder.clone().with_client(client.clone()),
            client,
            scope: scopes.images,
            cache_scope: scopes.build_cache,
            host_paths,
            name: "shipway".to_owned(),
            address: Some(address),
            observer: Some(notice::observer(plan.notices.clone(), trace.clone())),
        });
        let mut started = Self {
            engine,
            tasks: Vec::new(),
            mounts: Vec::new(),
            sockets: Vec::new(),
        };
        for face in &plan.faces {
            started.open(context, pod, plan, face, address).await?;
        }
        for note in &plan.notes {
            trace.warn(note);
        }
        Ok(started)
    }

    /// What the job's container and its services have to see.
    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Its socket as this machine sees it, if it has one.
    pub(crate) fn socket_on_machine(&self) -> Option<PathBuf> {
        self.sockets.first().map(SocketDirectory::socket)
    }

    /// Paths in `docker run -v` are the job's from here on.
    pub(crate) fn set_view(&self, container: &Container) {
        self.engine.set_view(container.clone());
    }

    /// Ends the engine and what it started.
    pub(crate) async fn close(&self) {
        self.engine.close().await;
    }

    async fn open(
        &mut self,
        context: &RunnerContext,
        pod: &Pod,
        plan: &EnginePlan,
        face: &Face,
        address: Ipv4Addr,
    ) -> Result<(), JobError> {
        match face {
            Face::Plain { port } => {
                let listener = pod.listen(SocketAddrV4::new(address, *port)).await.doing(DOING)?;
                let engine = self.engine.clone();
                self.tasks
                    .push(tokio::spawn(async move { engine.serve_tcp(listener).await }));
            }
            Face::Tls { port, directory } => {
                let tls = self.certificates(pod, plan, directory, address).await?;
                let listener = pod.listen(SocketAddrV4::new(address, *port)).await.doing(DOING)?;
                let engine = self.engine.clone();
                self.tasks
                    .push(tokio::spawn(async move { engine.serve_tls(listener, tls).await }));
            }
            Face::Socket { path } => self.socket(context, pod, path)?,
        }
        Ok(())
    }

    /// Certificates of this job only, the client's where the job looks for them.
    async fn certificates(
        &mut self,
        pod: &Pod,
        plan: &EnginePlan,
        directory: &Path,
        address: Ipv4Addr,
    ) -> Result<TlsIdentity, JobError> {
        let authority = CertificateAuthority::ephemeral("Shipway job engine").doing(DOING)?;
        let addresses = [IpAddr::V4(address), IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let server = authority
            .issue_server(&plan.server_names(), &addresses)
            .doing(DOING)?;
        let client = authority.issue_client("job").doing(DOING)?;
        let files = [
            ("ca.pem", authority.ca_pem()),
            ("cert.pem", &client.cert_pem),
            ("key.pem", &client.key_pem),
        ];
        let source = crate::builds::directory_of(pod, "certs-client", &files).await?;
        let target = directory.join("client");
        self.mounts.push(Mount {
            target,
            source: MountSource::Keeper(source),
            read_only: false,
        });
        authority.mutual_tls(&server).doing(DOING)
    }

    /// A socket that every id of the job may connect to, and nobody else on this machine may reach.
    fn socket(&mut self, context: &RunnerContext, pod: &Pod, path: &Path) -> Result<(), JobError> {
        let directory = SocketDirectory::make(&context.data, pod.id()).doing(DOING)?;
        let serving = self
            .engine
            .serve_unix(&directory.to_bind(), SOCKET_MODE)
            .doing(DOING)?;
        self.tasks.push(tokio::spawn(serving));
        self.mounts.push(Mount {
            target: path.to_owned(),
            source: MountSource::Host(directory.socket()),
            read_only: false,
        });
        self.sockets.push(directory);
        Ok(())
    }
}

impl Drop for JobEngine {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
