//! One request, to whichever address the egress policy permits, over as many redirects as are sensible.
//!
//! Redirects are followed here and not by the HTTP library, because each hop has rules: its address is checked, a
//! password or token goes no further than the host it was meant for, and TLS is not given up on the way.
//!
//! The library knows no port when it resolves a name, but the policy wants one; so there is one library client per host
//! and port, all on the same roots.
//!
//! Assumption that is not enforced: a proxy named by the environment is the choice of whoever runs this process, and it
//! resolves names itself, so the policy sees the proxy's address and not the registry's.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Response, Url, redirect};

use super::egress::EgressPolicy;
use super::error::ClientError;
use super::options::{ClientOptions, Timeouts};
use super::roots::{Roots, Trust};
use super::silence;
use crate::transfer::FileBody;

const MOST_REDIRECTS: usize = 10;
/// Hosts whose connections are kept; content networks have many names.
const MOST_CLIENTS: usize = 64;

/// A request that can be sent several times.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) trust: Trust,
}

/// The body of a request.
#[derive(Clone)]
pub(super) enum Payload {
    Empty,
    Bytes(Bytes),
    File {
        file: Arc<File>,
        /// Where it begins in the file.
        first: u64,
        length: u64,
        /// How much of it has been handed to the connection, for whoever watches.
        sent: Arc<AtomicU64>,
    },
}

impl Outgoing {
    pub(super) fn new(method: Method, url: Url, trust: Trust) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            trust,
        }
    }

    /// With a header.
    pub(super) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

/// Sends requests.
pub(super) struct Transport {
    egress: Arc<dyn EgressPolicy>,
    timeouts: Timeouts,
    roots: Arc<Roots>,
    resolver: Arc<OnceLock<Option<TokioResolver>>>,
    clients: Mutex<HashMap<Place, reqwest::Client>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    host: String,
    port: u16,
    secure: bool,
    trust: Trust,
}

impl Transport {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            egress: Arc::clone(&options.egress),
            timeouts: options.timeouts.clone(),
            roots: Arc::new(Roots::new(options)),
            resolver: Arc::default(),
            clients: Mutex::default(),
        }
    }

    /// The same roots, but another policy and connections of its own.
    pub(super) fn with_egress(&self, egress: Arc<dyn EgressPolicy>) -> Self {
        Self {
            egress,
            timeouts: self.timeouts.clone(),
            roots: Arc::clone(&self.roots),
            resolver: Arc::clone(&self.resolver),
            clients: Mutex::default(),
        }
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(super) fn egress(&self) -> &Arc<dyn EgressPolicy> {
        &self.egress
    }

    /// The permitted addresses of a host.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ClientError> {
        if let Some(address) = literal_address(host) {
            let address = SocketAddr::new(address, port);
            return match self.egress.permits(address) {
                true => Ok(vec![address]),
                false => Err(ClientError::Forbidden {
                    host: host.to_owned(),
                    address,
                }),
            };
        }
        let resolver = self.resolver(port);
        resolver
            .permitted(host)
            .await
            .map_err(|error| match error.downcast_ref::<NotPermitted>() {
                Some(NotPermitted { address }) => ClientError::Forbidden {
                    host: host.to_owned(),
                    address: *address,
                },
                None => ClientError::Unreachable {
                    host: host.to_owned(),
                    source: error,
                },
            })
    }

    fn resolver(&self, port: u16) -> PolicyResolver {
        PolicyResolver {
            port,
            egress: Arc::clone(&self.egress),
            resolver: Arc::clone(&self.resolver),
        }
    }

    /// Sends a request and follows redirects. The URL of the answer is the last hop's.
    pub(super) async fn send(&self, mut request: Outgoing) -> Result<Response, ClientError> {
        for _ in 0..=MOST_REDIRECTS {
            let response = self.hop(&request).await?;
            let Some(next) = next_hop(&request, &response) else {
                return Ok(response);
            };
            let next = next?;
            if !same_origin(&next.url, &request.url) {
                request.headers.remove(AUTHORIZATION);
                request.trust = Trust::Verified;
            }
            request.url = next.url;
            if next.becomes_get {
                request.method = Method::GET;
                request.payload = Payload::Empty;
            }
        }
        Err(ClientError::Unreachable {
            host: place_of(&request.url),
            source: format!("more than {MOST_REDIRECTS} redirects").into(),
        })
    }

    async fn hop(&self, request: &Outgoing) -> Result<Response, ClientError> {
        let host = host_of(&request.url);
        let port = request.url.port_or_known_default().unwrap_or(0);
        if let Some(address) = literal_address(&host) {
            let address = SocketAddr::new(address, port);
            if !self.egress.permits(address) {
                let host = place_of(&request.url);
                return Err(ClientError::Forbidden { host, address });
            }
        }
        let client = self.client(Place {
            host,
            port,
            secure: request.url.scheme() == "https",
            trust: request.trust,
        })?;
        let builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        let builder = match &request.payload {
            Payload::Empty => builder,
            Payload::Bytes(bytes) => builder.body(bytes.clone()),
            Payload::File {
                file,
                first,
                length,
                sent,
            } => {
                let body = FileBody::new(Arc::clone(file), *first, *length).counted(Arc::clone(sent));
                builder.body(reqwest::Body::wrap(body))
            }
        };
        let sent = match &request.payload {
            Payload::File { sent, .. } => Some(&**sent),
            Payload::Empty | Payload::Bytes(_) => None,
        };
        silence::answer(builder.send(), sent, &place_of(&request.url), self.timeouts.idle).await
    }

    fn client(&self, place: Place) -> Result<reqwest::Client, ClientError> {
        if let Some(client) = self.lock().get(&place) {
            return Ok(client.clone());
        }
        let name = if place.port == 443 {
            place.host.clone()
        } else {
            format!("{}:{}", place.host, place.port)
        };
        let resolver = self.resolver(place.port);
        /// Layers come over long lines too; the default windows would hold them up.
        const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
        // Reading all roots takes longer than a push to a registry next door, which speaks no TLS.
        let tls = match place.secure {
            true => self.roots.configuration(&name, place.trust)?,
            false => self.roots.empty(&name)?,
        };
        let builder = reqwest::Client::builder();
        // A proxy is for the world outside; this machine is not reached through it.
        let builder = if is_loopback(&place.host) {
            builder.no_proxy()
        } else {
            builder
        };
        let client = builder
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .dns_resolver(resolver)
            .connect_timeout(self.timeouts.connect)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(4 * STREAM_WINDOW)
            .tcp_nodelay(true)
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("shipway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Setup {
                problem: format!("HTTP for `{name}`"),
                source: Some(Box::new(error)),
            })?;
        let mut clients = self.lock();
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        Ok(clients.entry(place).or_insert(client).clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, reqwest::Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a redirect leads.
struct NextHop {
    url: Url,
    becomes_get: bool,
}

/// `None` when the answer is no redirect, or not one to be followed.
fn next_hop(request: &Outgoing, response: &Response) -> Option<Result<NextHop, ClientError>> {
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    let becomes_get = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if reading => false,
        StatusCode::SEE_OTHER => request.method != Method::HEAD,
        _ => return None,
    };
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = request.url.join(location).ok()?;
    let plain = url.scheme() != "https";
    if !matches!(url.scheme(), "http" | "https") || (plain && request.url.scheme() == "https") {
        return Some(Err(ClientError::Unreachable {
            host: place_of(&url),
            source: format!(
                "`{}` redirects to `{}:`, which is not safe",
                place_of(&request.url),
                url.scheme()
            )
            .into(),
        }));
    }
    Some(Ok(NextHop { url, becomes_get }))
}

/// Whether credentials for one URL may go to the other.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The host, and the port where it is not the scheme's own: what people know a registry by.
fn place_of(url: &Url) -> String {
    url.port()
        .map_or_else(|| host_of(url), |port| format!("{}:{port}", host_of(url)))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || literal_address(host).is_some_and(|address| address.to_canonical().is_loopback())
}

fn literal_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The library's error, unless the reason is one of ours: what the library says around that is no news to anybody.
pub(super) fn unreachable(host: String, error: reqwest::Error) -> ClientError {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(current) = cause {
        if let Some(NotPermitted { address }) = current.downcast_ref() {
            return ClientError::Forbidden {
                host,
                address: *address,
            };
        }
        if let Some(nowhere @ NoAddress { .. }) = current.downcast_ref() {
            let source = Box::new(nowhere.clone());
            return ClientError::Unreachable { host, source };
        }
        cause = current.source();
    }
    ClientError::Unreachable {
        host,
        source: Box::new(error.without_url()),
    }
}

/// Nobody knows the name. The resolver's own words are about records and queries.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the name `{name}` has no address")]
pub(super) struct NoAddress {
    pub(super) name: String,
}

/// All addresses of a name are forbidden.
#[derive(Debug, thiserror::Error)]
#[error("connections to {address} are not permitted")]
struct NotPermitted {
    address: SocketAddr,
}

/// As `/etc/resolv.conf` and `/etc/hosts` have it, but less patient: whoever is offline wants to know soon.
fn resolver_of_the_system() -> Option<TokioResolver> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut builder = TokioResolver::builder_tokio().ok()?;
    builder.options_mut().timeout = PATIENCE;
    builder.build().ok()
}

/// Resolves names and keeps only what the policy permits. A name with one good and one bad address gives the good one.
///
/// The resolver is our own: in a static binary the C library's cannot be used.
#[derive(Clone)]
struct PolicyResolver {
    port: u16,
    egress: Arc<dyn EgressPolicy>,
    resolver: Arc<OnceLock<Option<TokioResolver>>>,
}

impl PolicyResolver {
    async fn permitted(
        &self,
        name: &str,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let resolver = self.resolver.get_or_init(resolver_of_the_system);
        let resolver = resolver.as_ref().ok_or("there is no usable /etc/resolv.conf")?;
        let found = resolver
            .lookup_ip(name)
            .await
            .map_err(|error| match error.is_no_records_found() {
                true => NoAddress {
                    name: name.to_owned(),
                }
                .into(),
                false => Box::<dyn std::error::Error + Send + Sync>::from(error),
            })?;
        let addresses: Vec<SocketAddr> = found
            .iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        let permitted: Vec<SocketAddr> = addresses
            .iter()
            .copied()
            .filter(|address| self.egress.permits(*address))
            .collect();
        match (permitted.is_empty(), addresses.first()) {
            (true, Some(address)) => Err(NotPermitted { address: *address }.into()),
            _ => Ok(permitted),
        }
    }
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let permitted = resolver.permitted(name.as_str()).await?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
