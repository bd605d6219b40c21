//! The registry over HTTP.
//!
//! This module reads requests and writes answers; what they mean is in [`crate::authority`]. Work that may block (a
//! database write, a file, a password) goes to a blocking thread once per request; what is a short read (a manifest, a
//! token's hash) stays on the async thread.
//!
//! Under failure: a request that is cut short leaves its upload where it was, an answer of 2xx to a push is given only
//! after the store has synced, and an error of ours tells the client nothing but that it is ours; the log has the rest.
//!
//! Assumption that is not enforced: a proxy in front passes `Host` and `X-Forwarded-Proto` on. A client that forges
//! them only misleads itself about where to ask for tokens.

mod blobs;
mod caller;
mod front;
mod listen;
mod listings;
mod logins;
mod manifests;
mod origin;
mod paced;
mod paced_writes;
mod peers;
mod request_body;
mod respond;
mod sessions;
mod streams;
mod token;
mod uploads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, EXPECT, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use shipway_access::{Action, Principal};
use shipway_oci::RepositoryName;

pub use listen::ServeError;
pub use origin::{Origin, Scheme};
pub use respond::ResponseBody;

pub use crate::transfer::FileBody;

use crate::authority::Authority;
use crate::wire::{
    ErrorCode, ManifestReference, Query, RegistryError, Route, SHIPWAY_CHALLENGE, SHIPWAY_PROOF,
};
use caller::{Caller, Refusal};
use logins::Logins;
use sessions::Sessions;
use streams::Streams;

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How long a client may take to send the head of a request, counted from the beginning of the connection for the
    /// first one; an idle connection is closed after that long too.
    pub header_timeout: Duration,
    /// How long the body of a request may pause.
    pub body_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long requests under way may go on when the server is told to stop.
    pub shutdown_timeout: Duration,
    /// How many connections may be open.
    pub max_connections: usize,
    /// How many of these one address may have, loopback included; more are closed at once.
    pub max_connections_each: usize,
    /// How many large uploads are taken at the same time; others wait for a while, then get 429. Each holds one of tokio's blocking threads (512
    /// unless the runtime is told otherwise).
    pub max_streams: usize,
    /// How many of these one principal may have.
    pub max_streams_each: usize,
    /// How long an upload waits for its place before it is refused with 429.
    pub stream_patience: Duration,
    /// How many bytes per second a body must bring, and an answer must be taken at, over windows of `body_timeout`.
    pub least_bytes_per_second: u64,
    /// The largest blob that is taken.
    pub max_blob_bytes: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            max_connections: 4096,
            max_connections_each: 2048,
            max_streams: 256,
            max_streams_each: 32,
            stream_patience: Duration::from_secs(30),
            least_bytes_per_second: 1024,
            max_blob_bytes: 256 << 30,
        }
    }
}

/// The distribution API over an [`Authority`].
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    authority: Authority,
    options: ServerOptions,
    sessions: Sessions,
    /// Uploads that are too large to be gathered first.
    streams: Streams,
    /// Passwords that are being checked, or wait for it.
    logins: Logins,
}

/// A request whose body is still to come.
struct Call<'a> {
    inner: &'a Arc<Inner>,
    head: &'a Parts,
    query: &'a Query,
    caller: &'a Caller,
}

impl Server {
    /// Serves an authority.
    pub fn new(authority: Authority, options: ServerOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                authority,
                sessions: Sessions::default(),
                streams: Streams::new(
                    options.max_streams,
                    options.max_streams_each,
                    options.stream_patience,
                ),
                logins: Logins::default(),
                options,
            }),
        }
    }

    /// The authority served.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// Answers one request: of the protocol, below `/v2`, or for what people read at `/`. An [`Origin`] among the request's extensions says over which
    /// scheme it came; without one it counts as plain HTTP.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let routed = match ambiguous(&head) {
            None => self.route(&head, body).await,
            Some(refusal) => {
                self.inner.forgo(&head, body).await;
                Err(refusal)
            }
        };
        let mut response = routed.unwrap_or_else(|refusal| refusal.into_response(&head));
        // Whoever asks for it is shown who we are, logged in or not: so another process of the same installation finds
        // out that this is its own registry under another address.
        if matches!(head.uri.path(), "/v2/" | "/v2")
            && let Some(challenge) = head.headers.get(SHIPWAY_CHALLENGE)
            && let Some(challenge) = challenge.to_str().ok().and_then(|text| text.parse().ok())
            && let Ok(proof) =
                HeaderValue::try_from(self.inner.authority.access().prove(&challenge).to_string())
        {
            response.headers_mut().insert(SHIPWAY_PROOF, proof);
        }
        let (method, path, status) = (&head.method, head.uri.path(), response.status().as_u16());
        tracing::debug!(%method, path, status, elapsed = ?started.elapsed(), "request");
        response
    }

    async fn route<B>(&self, head: &Parts, body: B) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let writing = !matches!(head.method, Method::GET | Method::HEAD);
        let route = match Route::parse(head.uri.path()) {
            Ok(route) => route,
            Err(error) => {
                self.inner.forgo(head, body).await;
                return Err(error.answer(writing).into());
            }
        };
        if route == Route::Front && !writing {
            return Ok(front::answer(head));
        }
        let query = Query::parse(head.uri.query().unwrap_or_default());
        if route == Route::Token {
            return token::answer(&self.inner, head, &query, body).await;
        }
        let need = need(&route, &head.method);
        let admitted = match self.inner.caller(head, &route).await {
            Ok(caller) => self.inner.admit(&caller, need.as_ref()).map(|()| caller),
            Err(refusal) => Err(refusal),
        };
        let caller = match admitted {
            Ok(caller) => caller,
            Err(refusal) => {
                self.inner.forgo(head, body).await;
                return Err(refusal.challenged(head, need.as_ref()));
            }
        };
        let call = Call {
            inner: &self.inner,
            head,
            query: &query,
            caller: &caller,
        };
        call.dispatch(&route, body)
            .await
            .map_err(|refusal| refusal.challenged(head, need.as_ref()))
    }
}

impl Inner {
    /// Reads a body away that is not wanted, so that the client gets to read why. One that has asked before sending it
    /// (`Expect: 100-continue`) is spared the trouble.
    async fn forgo<B: Body<Data = Bytes>>(&self, head: &Parts, body: B) {
        if !head.headers.contains_key(EXPECT) {
            request_body::drain(body, &self.options).await;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("authority", &self.inner.authority)
            .finish_non_exhaustive()
    }
}

impl Call<'_> {
    async fn dispatch<B>(&self, route: &Route, body: B) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let method = &self.head.method;
        match (route, method.as_str()) {
            (Route::Ping, "GET" | "HEAD") => self.ping(),
            (Route::Catalog, "GET") => self.catalog().await,
            (Route::Tags(name), "GET") => self.tags(name).await,
            (Route::Referrers(name, subject), "GET") => self.referrers(name, subject).await,
            (Route::Manifest(name, reference), "GET" | "HEAD") => self.get_manifest(name, reference),
            (Route::Manifest(name, reference), "PUT") => self.put_manifest(name, reference, body).await,
            (Route::Manifest(name, reference), "DELETE") => self.delete_manifest(name, reference).await,
            (Route::Blob(name, digest), "HEAD") => self.head_blob(name, digest).await,
            (Route::Blob(name, digest), "GET") => self.get_blob(name, digest).await,
            (Route::Blob(name, digest), "DELETE") => self.delete_blob(name, digest).await,
            (Route::Uploads(name), "POST") => self.begin_upload(name, body).await,
            (Route::Upload(name, id), "GET" | "HEAD") => self.upload_status(name, id).await,
            (Route::Upload(name, id), "PATCH") => self.append_upload(name, id, body).await,
            (Route::Upload(name, id), "PUT") => self.finish_upload(name, id, body).await,
            (Route::Upload(name, id), "DELETE") => self.cancel_upload(name, id).await,
            _ => {
                self.inner.forgo(self.head, body).await;
                let message = format!("{method} is not supported here");
                Err(RegistryError::with_message(ErrorCode::Unsupported, message).into())
            }
        }
    }

    /// Answers only whether somebody is logged in: clients take a 200 as "no login needed for anything".
    fn ping(&self) -> Result<Response<ResponseBody>, Refusal> {
        if self.caller.principal == Principal::Anonymous {
            return Err(RegistryError::new(ErrorCode::Unauthorized).into());
        }
        Ok(respond::json(StatusCode::OK, &serde_json::json!({})))
    }

    fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// Runs an operation of the authority on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Authority, &Principal) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let authority = self.authority().clone();
        let principal = self.caller.principal.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&authority, &principal)).await;
        Ok(outcome.map_err(RegistryError::internal)??)
    }
}

/// Refuses a request that says twice where it goes or who sends it: a proxy in front may have believed the other one.
fn ambiguous(head: &Parts) -> Option<Refusal> {
    let twice = |name: &HeaderName| head.headers.get_all(name).iter().nth(1).is_some();
    let name = [HOST, AUTHORIZATION].into_iter().find(twice)?;
    let message = format!("more than one `{name}` header");
    let refused = RegistryError::with_message(ErrorCode::Unsupported, message);
    Some(refused.with_status(StatusCode::BAD_REQUEST).into())
}

/// What a request wants.
#[derive(Debug, Clone)]
enum Need {
    /// To act in a repository.
    Repository {
        /// Where.
        repository: RepositoryName,
        /// What.
        action: Action,
    },
    /// To see the names of all repositories.
    Catalog,
}

fn need(route: &Route, method: &Method) -> Option<Need> {
    let (repository, action) = match (route, method.as_str()) {
        (Route::Front | Route::Ping | Route::Token, _) => return None,
        (Route::Catalog, _) => return Some(Need::Catalog),
        (Route::Uploads(name) | Route::Upload(name, _), _) => (name, Action::Push),
        (Route::Manifest(name, _) | Route::Blob(name, _), "DELETE") => (name, Action::Delete),
        (Route::Manifest(name, _), "PUT") => (name, Action::Push),
        (
            Route::Tags(name) | Route::Manifest(name, _) | Route::Blob(name, _) | Route::Referrers(name, _),
            _,
        ) => (name, Action::Pull),
    };
    Some(Need::Repository {
        repository: repository.clone(),
        action,
    })
}

/// The path of a manifest, as it stands in `Location`.
fn manifest_path(name: &RepositoryName, reference: &ManifestReference) -> String {
    format!("/v2/{name}/manifests/{reference}")
}
