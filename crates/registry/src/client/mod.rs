//! The other end of the protocol: everybody's registries, and our own without a network.
//!
//! A [`Client`] is cheap to clone and made once: it keeps connections, tokens and what it learned about registries. What
//! comes in is verified while it is written into a [`Store`]; what goes out is read from one.
//!
//! For a registry of ours (see [`ClientOptions::authorities`]) the client logs in, checks and commits through the same
//! [`Authority`](crate::authority::Authority) as the HTTP server, so a refusal is the same [`RegistryError`](crate::wire::RegistryError) on both ways,
//! and bytes that both sides share do not move.
//!
//! Under failure: an operation that fails leaves blobs behind that nothing names, never a name without its blobs. It may
//! be repeated.

mod download;
mod egress;
mod endpoint;
mod error;
mod exchange;
mod fetch;
mod mirror;
mod options;
mod ours;
mod owner;
mod patience;
mod progress;
mod pull;
mod push;
mod repository;
mod resolve;
mod roots;
mod session;
mod silence;
mod transport;
mod upload;
mod verifier;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use shipway_oci::{Digest, Platform, Reference, RegistryName, RepositoryName};
use shipway_store::Store;
use tokio::sync::Semaphore;

pub use egress::{AllowAll, EgressPolicy};
pub use error::ClientError;
pub use exchange::{Answer, Exchange};
pub use fetch::Fetched;
pub use mirror::{InvalidMirror, Mirror, MirrorAddress};
pub use options::{Audience, ClientOptions, RegistryCredentials, Timeouts};
pub use progress::{BlobProgress, PullProgress, PushProgress};
pub use pull::Pulled;
pub use push::OpenPush;
pub use repository::OpenRepository;
pub use resolve::Resolved;
pub use roots::tls_configuration;

use crate::wire::Query;
use endpoint::{Directory, Location};
use ours::Ours;
use session::{Logins, Session};
use transport::Transport;

/// Talks to registries. Clones share everything.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: ClientOptions,
    transport: Transport,
    directory: Directory,
    logins: Logins,
    /// Downloads under way, of all images together.
    downloads: Semaphore,
    /// From which repository of which registry blobs came: where they can be mounted from when they go back.
    origins: Mutex<HashMap<(RegistryName, Digest), RepositoryName>>,
    /// Mirrors of which it was told that they are passed over.
    useless_mirrors: Mutex<HashSet<RegistryName>>,
}

impl Client {
    /// A client. Nothing is connected and no file is read before it is needed.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        if options.timeouts.attempts == 0 {
            let problem = "`attempts` must be at least 1".to_owned();
            return Err(ClientError::Setup {
                problem,
                source: None,
            });
        }
        let transport = Transport::new(&options);
        Ok(Self {
            inner: Arc::new(Inner::new(options, transport)),
        })
    }

    /// The same client under another egress policy: for a pod with rules of its own. Logins and connections are not
    /// shared, trust and settings are.
    #[must_use]
    pub fn with_egress(&self, egress: Arc<dyn EgressPolicy>) -> Self {
        let transport = self.inner.transport.with_egress(Arc::clone(&egress));
        let options = ClientOptions {
            egress,
            ..self.inner.options.clone()
        };
        Self {
            inner: Arc::new(Inner::new(options, transport)),
        }
    }

    /// The same client with more mirrors, which are asked before those that it has, and more insecure registries; `warn`
    /// is what [`ClientOptions::warn`] is: for an engine with flags of its own. Logins and connections are not shared, trust and settings are.
    #[must_use]
    pub fn with_registries(
        &self,
        mut mirrors: Vec<Mirror>,
        mut insecure: Vec<RegistryName>,
        warn: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let options = self.inner.options.clone();
        mirrors.extend(options.mirrors);
        insecure.extend(options.insecure);
        let options = ClientOptions {
            mirrors,
            insecure,
            warn,
            ..options
        };
        let transport = self.inner.transport.with_egress(Arc::clone(&options.egress));
        Self {
            inner: Arc::new(Inner::new(options, transport)),
        }
    }

    /// The mirrors, in the order in which they are asked.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.inner.options.mirrors
    }

    /// The registries that may speak plain HTTP or show any certificate.
    pub fn insecure(&self) -> &[RegistryName] {
        &self.inner.options.insecure
    }

    /// Where this client may connect to.
    pub fn egress(&self) -> &Arc<dyn EgressPolicy> {
        self.inner.transport.egress()
    }

    /// Whether a name stands for a registry of ours: one that is configured, or one of this machine that proves it.
    pub async fn is_own(&self, registry: &RegistryName) -> bool {
        let mut configured = self.inner.options.authorities.iter();
        configured.any(|(name, _)| name == registry)
            || (registry.is_loopback() && matches!(self.inner.locate(registry).await, Ok(Location::Ours(_))))
    }

    /// Whether a registry accepts these credentials.
    pub async fn login(
        &self,
        registry: &RegistryName,
        credentials: &RegistryCredentials,
    ) -> Result<(), ClientError> {
        let endpoint = match self.inner.locate(registry).await? {
            Location::Ours(authority) => {
                return Ours::enter(registry, authority, None, Some(credentials))
                    .await
                    .map(|_| ());
            }
            Location::Remote(endpoint) => endpoint,
        };
        let session = Session::new(&self.inner, endpoint, Vec::new(), Some(credentials));
        let url = session.endpoint.url("", Query::default());
        let response = session.send(session.endpoint.request(Method::GET, url)).await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(session.refusal("a login", response).await)
    }

    /// What a reference stands for at the moment.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Resolved, ClientError> {
        pull::resolve(&self.inner, reference, credentials).await
    }

    /// Brings an image's blobs into a store, verified. Naming the image there is the caller's step.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        credentials: Option<&RegistryCredentials>,
        into: &Store,
        progress: &dyn PullProgress,
    ) -> Result<Pulled, ClientError> {
        let into = (into, pull::Parts::Whole);
        pull::pull(&self.inner, reference, platform, credentials, into, progress).await
    }

    /// The same without the layers: manifest and configuration are brought, and the image is none that could be named.
    pub async fn pull_configuration(
        &self,
        reference: &Reference,
        platform: &Platform,
        credentials: Option<&RegistryCredentials>,
        into: &Store,
    ) -> Result<Pulled, ClientError> {
        let into = (into, pull::Parts::Configuration);
        pull::pull(&self.inner, reference, platform, credentials, into, &()).await
    }

    /// Sends an image or an index, which a scope of the store holds, to a registry; gives the digest that it has there.
    ///
    /// The caller has made sure that whoever asked may read the image: its blobs are taken from the store as they are.
    pub async fn push(
        &self,
        from: &Store,
        manifest: &Digest,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        progress: &dyn PushProgress,
    ) -> Result<Digest, ClientError> {
        let push = self.begin_push(reference, credentials).await?;
        push.finish(from, manifest, progress).await
    }

    /// Finds the registry and logs in for a push whose image is still being made.
    pub async fn begin_push(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<OpenPush, ClientError> {
        OpenPush::begin(&self.inner, reference, credentials).await
    }

    /// Finds a repository and logs in, to read from it blob by blob. Mirrors are not asked: what is read so, such as a cache, is
    /// written by this client, too.
    pub async fn open_repository(
        &self,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<OpenRepository, ClientError> {
        OpenRepository::open(&self.inner, reference, credentials).await
    }

    /// A plain file by its URL, under the same egress policy and trust.
    pub async fn fetch(&self, url: &str) -> Result<Fetched, ClientError> {
        fetch::fetch(&self.inner.transport, url).await
    }

    /// A request of another protocol, under the same egress policy and trust; the answer's status is the caller's to judge.
    pub async fn exchange(&self, asked: Exchange) -> Result<Answer, ClientError> {
        exchange::exchange(&self.inner.transport, asked).await
    }

    /// The addresses of a host that the egress policy permits, for a connection that is not HTTP.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ClientError> {
        self.inner.transport.addresses(host, port).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Blobs that are written at the same time.
    const MOST_DOWNLOADS: usize = 64;
    /// Blobs whose origin is remembered.
    const MOST_ORIGINS: usize = 16 * 1024;

    fn new(options: ClientOptions, transport: Transport) -> Self {
        Self {
            options,
            transport,
            directory: Directory::default(),
            logins: Logins::default(),
            downloads: Semaphore::new(Self::MOST_DOWNLOADS),
            origins: Mutex::default(),
            useless_mirrors: Mutex::default(),
        }
    }

    async fn locate(&self, registry: &RegistryName) -> Result<Location, ClientError> {
        self.directory
            .locate(registry, &self.options, &self.transport)
            .await
    }

    fn remember_origin(&self, registry: &RegistryName, repository: &RepositoryName, blob: &Digest) {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= Self::MOST_ORIGINS {
            origins.clear();
        }
        origins.insert((registry.clone(), blob.clone()), repository.clone());
    }

    fn origin(&self, registry: &RegistryName, blob: &Digest) -> Option<RepositoryName> {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(&(registry.clone(), blob.clone())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    /// Callers spawn these; the compiler only finds out where they do, so it is made to look here.
    #[tokio::test]
    async fn all_futures_may_change_threads() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        let reference = Reference::parse("alpine").unwrap();
        let credentials = RegistryCredentials::new("ada", "pw".into());
        let (pulling, pushing): (&dyn PullProgress, &dyn PushProgress) = (&(), &());
        is_send(client.pull(&reference, &Platform::host(), Some(&credentials), &store, pulling));
        is_send(client.push(
            &store,
            &Digest::sha256(b""),
            &reference,
            Some(&credentials),
            pushing,
        ));
        is_send(client.resolve(&reference, None));
        is_send(client.login(&reference.registry, &credentials));
        is_send(client.fetch("http://example.org"));
    }
}
