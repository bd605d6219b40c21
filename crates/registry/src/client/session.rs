//! Requests to one registry about one repository, with whatever login it demands.
//!
//! The first request goes out bare, or with what is known from before. A 401 says where tokens come from; one token is
//! fetched for all requests of the session (they wait for it together) and kept for later sessions of the same
//! repository, actions and credentials. Passwords travel to the realm that the registry names, over TLS if the registry
//! speaks it. What a challenge says holds for those sessions alone: behind one name there may be several servers, and the
//! one that answers for a stranger's repository must not say where the password for another one goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use serde::Deserialize;
use shipway_oci::Digest;

use super::Inner;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::options::{Audience, RegistryCredentials};
use super::patience::{Patience, is_passing, retry_after};
use super::roots::Trust;
use super::silence::next_chunk;
use super::transport::{Outgoing, Payload, same_origin};
use crate::transfer::Pace;
use crate::wire::{Challenge, Query, RegistryError};

/// The longest answer of a token endpoint, and the longest error.
const LONGEST_ANSWER: usize = 256 * 1024;
/// How long a token lives that does not say so, as docker's specification has it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed this long before its end: a request takes time too.
const MARGIN: Duration = Duration::from_secs(10);
/// Sessions whose tokens are kept.
const MOST_SLOTS: usize = 1024;

/// The logins of a client.
#[derive(Default)]
pub(super) struct Logins {
    slots: Mutex<HashMap<Key, Slot>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    base: Url,
    scopes: Vec<String>,
    credentials: Option<Digest>,
}

type Slot = Arc<tokio::sync::Mutex<Login>>;

/// What is known about the login of sessions that are alike.
#[derive(Default)]
struct Login {
    demand: Option<Demand>,
    held: Option<Held>,
}

/// A header that was good.
#[derive(Clone)]
struct Held {
    header: HeaderValue,
    until: Option<Instant>,
}

/// What a registry wants to see.
#[derive(Debug)]
enum Demand {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// Requests about one thing.
pub(super) struct Session {
    pub(super) inner: Arc<Inner>,
    pub(super) endpoint: Endpoint,
    scopes: Vec<String>,
    credentials: Option<RegistryCredentials>,
    slot: Slot,
}

impl Session {
    /// A session for these scopes; none are enough to see whether credentials are good.
    pub(super) fn new(
        inner: &Arc<Inner>,
        endpoint: Endpoint,
        scopes: Vec<String>,
        credentials: Option<&RegistryCredentials>,
    ) -> Self {
        let credentials = credentials.filter(|credentials| credentials.audience == Audience::Anybody);
        let key = Key {
            base: endpoint.base.clone(),
            scopes: scopes.clone(),
            credentials: credentials.map(RegistryCredentials::fingerprint),
        };
        let mut slots = inner.logins.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_SLOTS {
            slots.clear();
        }
        let slot = Arc::clone(slots.entry(key).or_default());
        drop(slots);
        Self {
            inner: Arc::clone(inner),
            endpoint,
            scopes,
            credentials: credentials.cloned(),
            slot,
        }
    }

    /// The same, for one more scope.
    pub(super) fn also(&self, scope: String) -> Self {
        let scopes = self.scopes.iter().cloned().chain([scope]).collect();
        Self::new(
            &self.inner,
            self.endpoint.clone(),
            scopes,
            self.credentials.as_ref(),
        )
    }

    /// Sends a request, logs in when asked to, and tries again what may pass by itself. The answer may still be a
    /// refusal.
    pub(super) async fn send(&self, request: Outgoing) -> Result<Response, ClientError> {
        let mut patience = Patience::new(&self.inner.options.timeouts);
        loop {
            match self.send_once(request.clone()).await {
                Ok(response) if is_passing(response.status()) => {
                    if !patience.again(retry_after(response.headers())).await {
                        return Ok(response);
                    }
                }
                Ok(response) => return Ok(response),
                Err(error) => {
                    if !patience.after(&error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Sends a request and logs in when asked to.
    pub(super) async fn send_once(&self, request: Outgoing) -> Result<Response, ClientError> {
        if !same_origin(&request.url, &self.endpoint.base) {
            // An upload may continue elsewhere; what we log in with stays here.
            return self.inner.transport.send(request).await;
        }
        let held = self.authorization().await?;
        let response = self
            .inner
            .transport
            .send(authorized(request.clone(), held.as_ref()))
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.log_in(response.headers(), held.as_ref()).await? {
            Some(held) => self.inner.transport.send(authorized(request, Some(&held))).await,
            None => Ok(response),
        }
    }

    /// What is known to be good, or will be after a visit to a known realm.
    async fn authorization(&self) -> Result<Option<Held>, ClientError> {
        let mut login = self.slot.lock().await;
        if let Some(held) = login.held.as_ref().filter(|held| held.is_fresh()) {
            return Ok(Some(held.clone()));
        }
        login.held = match &login.demand {
            Some(demand) => self.meet(demand).await?,
            None => None,
        };
        Ok(login.held.clone())
    }

    /// Answers a challenge. `None` if there is nothing (more) to answer it with.
    async fn log_in(&self, headers: &HeaderMap, used: Option<&Held>) -> Result<Option<Held>, ClientError> {
        let mut login = self.slot.lock().await;
        if let Some(held) = &login.held
            && used.is_none_or(|used| used.header != held.header)
        {
            return Ok(Some(held.clone()));
        }
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(Challenge::parse_all)
            .collect();
        let Some(demand) = self.choose(&challenges)? else {
            return Ok(None);
        };
        if matches!(demand, Demand::Basic) && used.is_some() {
            return Ok(None);
        }
        login.held = self.meet(&demand).await?;
        login.demand = Some(demand);
        Ok(login.held.clone())
    }

    fn choose(&self, challenges: &[Challenge]) -> Result<Option<Demand>, ClientError> {
        let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
        if let Some((bearer, realm)) = bearer.and_then(|bearer| Some((bearer, bearer.get("realm")?))) {
            let realm = self.endpoint.base.join(realm).map_err(|error| {
                ClientError::protocol(
                    &self.endpoint.registry,
                    format!("the realm of its tokens is no URL: {error}"),
                )
            })?;
            if realm.scheme() != "https" && self.endpoint.base.scheme() == "https" {
                let problem = "it wants credentials sent in the clear, to a realm without TLS";
                return Err(ClientError::protocol(&self.endpoint.registry, problem));
            }
            return Ok(Some(Demand::Bearer {
                realm,
                service: bearer.get("service").map(str::to_owned),
            }));
        }
        let basic = challenges.iter().any(|challenge| challenge.is("basic")) && self.credentials.is_some();
        Ok(basic.then_some(Demand::Basic))
    }

    async fn meet(&self, demand: &Demand) -> Result<Option<Held>, ClientError> {
        match demand {
            Demand::Basic => Ok(self.basic().map(|header| Held { header, until: None })),
            Demand::Bearer { realm, service } => self.fetch_token(realm, service.as_deref()).await.map(Some),
        }
    }

    fn basic(&self) -> Option<HeaderValue> {
        let credentials = self.credentials.as_ref()?;
        let pair = format!("{}:{}", credentials.username, credentials.password.expose());
        secret_header(&format!("Basic {}", STANDARD.encode(pair)))
    }

    async fn fetch_token(&self, realm: &Url, service: Option<&str>) -> Result<Held, ClientError> {
        let request = self.token_request(realm, service);
        let mut patience = Patience::new(&self.inner.options.timeouts);
        let response = loop {
            match self.inner.transport.send(request.clone()).await {
                Ok(response) if is_passing(response.status()) => {
                    if !patience.again(retry_after(response.headers())).await {
                        break response;
                    }
                }
                Ok(response) => break response,
                Err(error) => {
                    if !patience.after(&error).await {
                        return Err(error);
                    }
                }
            }
        };
        if !response.status().is_success() {
            return Err(self.refusal("a token", response).await);
        }
        let body = self.body(response, LONGEST_ANSWER).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|error| {
            ClientError::protocol(
                &self.endpoint.registry,
                format!("its token cannot be read: {error}"),
            )
        })?;
        let header = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token)
            .and_then(|token| secret_header(&format!("Bearer {token}")))
            .ok_or_else(|| ClientError::protocol(&self.endpoint.registry, "it answered without a token"))?;
        let lifetime = answer
            .expires_in
            .map_or(DEFAULT_LIFETIME, Duration::from_secs)
            .max(DEFAULT_LIFETIME);
        Ok(Held {
            header,
            until: Instant::now().checked_add(lifetime),
        })
    }

    fn token_request(&self, realm: &Url, service: Option<&str>) -> Outgoing {
        let trust = if realm.host_str() == self.endpoint.base.host_str() {
            self.endpoint.trust
        } else {
            Trust::Verified
        };
        let mut form = Query::default();
        if let Some(service) = service {
            form.push("service", service);
        }
        let identity = self
            .credentials
            .as_ref()
            .and_then(|credentials| credentials.identity_token.as_ref());
        if let Some(identity) = identity {
            form.push("grant_type", "refresh_token");
            form.push("client_id", "shipway");
            form.push("refresh_token", identity.expose());
            form.push("scope", &self.scopes.join(" "));
            return Outgoing::new(Method::POST, realm.clone(), trust)
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                )
                .payload(Payload::Bytes(form.encode().into()));
        }
        for scope in &self.scopes {
            form.push("scope", scope);
        }
        if let Some(credentials) = &self.credentials {
            form.push("account", &credentials.username);
        }
        let mut url = realm.clone();
        let query = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{}", form.encode()),
            _ => form.encode(),
        };
        url.set_query((!query.is_empty()).then_some(query.as_str()));
        let request = Outgoing::new(Method::GET, url, trust);
        match self.basic() {
            Some(basic) => request.header(AUTHORIZATION, basic),
            None => request,
        }
    }

    /// The error that an answer stands for.
    pub(super) async fn refusal(&self, what: &str, response: Response) -> ClientError {
        let (status, wish) = (response.status(), retry_after(response.headers()));
        let body = self.body(response, LONGEST_ANSWER).await.unwrap_or_default();
        ClientError::refused(
            &self.endpoint.registry,
            what,
            RegistryError::from_answer(status, &body),
            wish,
        )
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn body(&self, mut response: Response, limit: usize) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        let mut pace = self.pace();
        loop {
            let chunk = self.chunk(&mut response, &mut pace).await?;
            let Some(chunk) = chunk else {
                return Ok(body.freeze());
            };
            if body.len() + chunk.len() > limit {
                let problem = format!("it sent more than {limit} bytes where less was expected");
                return Err(ClientError::protocol(&self.endpoint.registry, problem));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// The answer ended before all was there, and said that it was all.
    pub(super) fn ended_early(&self) -> ClientError {
        ClientError::Unreachable {
            host: self.endpoint.registry.to_string(),
            source: "the answer ended too early".into(),
        }
    }

    /// What an answer's body must keep up with.
    pub(super) fn pace(&self) -> Pace {
        self.inner.options.timeouts.pace()
    }

    /// The next bytes of an answer.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        pace: &mut Pace,
    ) -> Result<Option<Bytes>, ClientError> {
        next_chunk(
            response,
            self.endpoint.registry.as_str(),
            self.inner.options.timeouts.idle,
            pace,
        )
        .await
    }
}

impl Held {
    fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() + MARGIN < until)
    }
}

impl RegistryCredentials {
    /// Tells credentials apart without keeping them.
    fn fingerprint(&self) -> Digest {
        let identity = self.identity_token.as_ref().map_or("", |token| token.expose());
        Digest::sha256(format!("{}\0{}\0{identity}", self.username, self.password.expose()).as_bytes())
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn authorized(request: Outgoing, held: Option<&Held>) -> Outgoing {
    match held {
        Some(held) => request.header(AUTHORIZATION, held.header.clone()),
        None => request,
    }
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
