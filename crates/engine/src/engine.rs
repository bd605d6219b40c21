//! The engine: what one job has of Docker, and the door that requests come through.
//!
//! One engine has one scope of image names, one pod, and the containers, networks and volumes that were made through it.
//! Handlers live beside what they handle; here is only what they share. Everything an engine made ends with
//! [`Engine::close`], or with its pod.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::Request;
use hyper::body::Incoming;
use shipway_build::Builder;
use shipway_container::{Container, Images, Pod, Runtime};
use shipway_oci::Reference;
use shipway_registry::Client;
use shipway_store::Scope;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::certificates::TlsIdentity;
use crate::container::{Execs, Roster};
use crate::dispatch;
use crate::event::Events;
use crate::failure::{Failure, told};
use crate::network::Networks;
use crate::reply::{self, Reply};
use crate::serve::{self, Answer, Observation, ServeError};
use crate::volume::Volumes;

/// Builds of one engine at the same time.
const MOST_BUILDS: usize = 8;
/// Descriptions of containers that are being written or, being large, wait to be read.
const MOST_DESCRIPTIONS: usize = 4;

/// Whose paths `docker run -v /path:…` means.
#[derive(Clone, Debug)]
pub enum HostPaths {
    /// Those that a running container of the pod sees: the job's.
    Container(Container),
    /// Those of this machine, as this process may use them: an engine that somebody runs for themselves. Its published
    /// ports are the machine's too.
    Machine,
    /// Nobody's yet: such mounts are refused until [`Engine::set_view`].
    Unset,
}

/// What an engine stands on.
pub struct EngineOptions {
    /// Images and pods.
    pub runtime: Runtime,
    /// Where its containers run.
    pub pod: Pod,
    /// The way to registries, under the job's egress policy.
    pub client: Client,
    /// What `docker build` asks.
    pub builder: Builder,
    /// The names of its images.
    pub scope: Scope,
    /// The build cache it reads and writes.
    pub cache_scope: Scope,
    /// Whose paths `-v` means.
    pub host_paths: HostPaths,
    /// Its name in `docker info`.
    pub name: String,
    /// Where published ports listen in the pod; the pod's gateway without one.
    pub address: Option<Ipv4Addr>,
    /// Told what listeners see of their clients.
    pub observer: Option<Observer>,
}

/// Who wants to know what listeners see of their clients. Called from tasks that serve: be quick.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// A Docker engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) runtime: Runtime,
    /// Images pulled through the job's own client, which obeys the job's egress policy.
    pub(crate) images: Images,
    pub(crate) pod: Pod,
    pub(crate) client: Client,
    pub(crate) builder: Builder,
    pub(crate) scope: Scope,
    pub(crate) cache_scope: Scope,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) address: Option<Ipv4Addr>,
    observer: Option<Observer>,
    pub(crate) containers: Roster,
    pub(crate) execs: Execs,
    pub(crate) events: Events,
    view: RwLock<HostPaths>,
    networks: Mutex<Networks>,
    volumes: Mutex<Volumes>,
    /// Imports that a client of this engine removed, for this engine.
    removed_imports: Mutex<BTreeSet<Reference>>,
    /// Builds wait here for their turn.
    pub(crate) builds: Semaphore,
    descriptions: Arc<Semaphore>,
    pub(crate) closed: CancellationToken,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine that nobody can reach yet.
    pub fn new(options: EngineOptions) -> Engine {
        Engine {
            inner: Arc::new(Inner {
                images: Images::new(
                    options.runtime.store().metered(options.pod.written()),
                    options.client.clone(),
                ),
                runtime: options.runtime,
                pod: options.pod,
                client: options.client,
                builder: options.builder,
                scope: options.scope,
                cache_scope: options.cache_scope,
                name: options.name,
                id: crate::name::identifier(),
                address: options.address,
                observer: options.observer,
                containers: Roster::new(),
                execs: Execs::new(),
                events: Events::new(),
                view: RwLock::new(options.host_paths),
                networks: Mutex::new(Networks::new()),
                volumes: Mutex::new(Volumes::default()),
                removed_imports: Mutex::default(),
                builds: Semaphore::new(MOST_BUILDS),
                descriptions: Arc::new(Semaphore::new(MOST_DESCRIPTIONS)),
                closed: CancellationToken::new(),
            }),
        }
    }

    /// From now on `-v /path:…` means this container's paths.
    pub fn set_view(&self, container: Container) {
        *self.inner.view.write().unwrap_or_else(PoisonError::into_inner) = HostPaths::Container(container);
    }

    /// Binds a Unix socket with that mode and answers there; the socket is there when this returns, and goes when the
    /// future ends or is dropped. A socket that nobody answers on is replaced.
    ///
    /// # Errors
    /// When the socket cannot be bound, or somebody already answers on it.
    pub fn serve_unix(
        &self,
        path: &Path,
        mode: u32,
    ) -> Result<impl Future<Output = ()> + Send + use<>, ServeError> {
        let socket = serve::bind_unix(path, mode)?;
        Ok(serve::bound(socket, self.clone(), self.inner.closed.clone()))
    }

    /// Answers on a Unix socket that somebody else bound.
    pub fn serve_unix_listener(&self, listener: UnixListener) -> impl Future<Output = ()> + Send + use<> {
        serve::unix(listener, self.clone(), self.inner.closed.clone())
    }

    /// Answers plain HTTP. Whoever can connect is root in the engine: only for the inside of a pod.
    pub fn serve_tcp(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + use<> {
        serve::tcp(listener, self.clone(), self.inner.closed.clone())
    }

    /// Answers HTTPS to clients that `identity` lets in.
    pub fn serve_tls(
        &self,
        listener: TcpListener,
        identity: TlsIdentity,
    ) -> impl Future<Output = ()> + Send + use<> {
        serve::tls(listener, identity, self.clone(), self.inner.closed.clone())
    }

    /// Ends its listeners and removes its containers; image names stay in their scope. A second call does nothing.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        self.inner.pod.expect_end();
        self.inner.remove_all_containers().await;
    }
}

impl Answer for Engine {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send {
        dispatch::answer(Arc::clone(&self.inner), request)
    }

    fn observe(&self, observation: Observation) {
        if let Some(observer) = &self.inner.observer {
            observer(observation);
        }
    }
}

impl Inner {
    /// An answer that may come to megabytes: written off the threads that serve, and a few at a time, unread ones included.
    pub(crate) async fn describe(
        self: &Arc<Inner>,
        write: impl FnOnce(&Inner) -> Result<Reply, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let stopped = || Failure::internal("the engine is ending");
        let turn = Arc::clone(&self.descriptions)
            .acquire_owned()
            .await
            .map_err(|_| stopped())?;
        let engine = Arc::clone(self);
        let reply = tokio::task::spawn_blocking(move || write(&engine))
            .await
            .map_err(|_| stopped())??;
        Ok(reply::in_turn(reply, turn))
    }

    /// An engine that somebody runs for themselves outlives a keeper that was killed: its containers have ended, and can be
    /// started again. That of a job ends with the job, whose own container is in the same pod.
    pub(crate) async fn revive(&self) -> Result<(), Failure> {
        if !matches!(self.view(), HostPaths::Machine) || self.closed.is_cancelled() {
            return Ok(());
        }
        let revived = self.pod.revive().await;
        if revived.map_err(|error| Failure::internal(told(&error)))? {
            tracing::warn!(
                "the keeper of the engine's containers was killed: it was started anew, they have ended"
            );
        }
        Ok(())
    }

    pub(crate) fn view(&self) -> HostPaths {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where uploads are kept while they are read: files without names.
    pub(crate) fn spool_directory(&self) -> PathBuf {
        self.runtime.data().join("spool")
    }

    pub(crate) fn networks(&self) -> MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn volumes(&self) -> MutexGuard<'_, Volumes> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn removed_imports(&self) -> MutexGuard<'_, BTreeSet<Reference>> {
        self.removed_imports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
