//! From a registry's name to where it is: one of our own, or a URL.
//!
//! A name that stands for this machine is asked once whether it speaks TLS, and whether it is another process over one of
//! our own stores: then nothing has to go through the network. It proves that by answering a challenge as only who reads
//! the store can; and only names of this machine are asked, since nobody else's registry is over a store of ours.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use shipway_access::IdentityChallenge;
use shipway_oci::RegistryName;

use super::error::ClientError;
use super::options::ClientOptions;
use super::roots::Trust;
use super::transport::{Outgoing, Transport, same_origin};
use crate::authority::Authority;
use crate::wire::{Query, SHIPWAY_CHALLENGE, SHIPWAY_PROOF};

/// Docker Hub's API does not live under the name that images carry.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// Registries that are remembered: their names come from jobs, which may make up any number.
const MOST_KNOWN: usize = 1024;

/// Where a registry is.
#[derive(Debug, Clone)]
pub(super) enum Location {
    /// In this process.
    Ours(Authority),
    /// Behind a URL.
    Remote(Endpoint),
}

/// A registry on the network.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// Whose errors they are.
    pub(super) registry: RegistryName,
    pub(super) base: Url,
    pub(super) trust: Trust,
    /// The registry whose images a mirror is asked for.
    pub(super) namespace: Option<RegistryName>,
}

impl Endpoint {
    /// A URL below `/v2/`.
    pub(super) fn url(&self, path: &str, mut query: Query) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        if let Some(namespace) = &self.namespace {
            query.push("ns", namespace.as_str());
        }
        let query = query.encode();
        url.set_query((!query.is_empty()).then_some(query.as_str()));
        url
    }

    pub(super) fn request(&self, method: Method, url: Url) -> Outgoing {
        Outgoing::new(method, url, self.trust)
    }
}

/// What was found out about registries so far.
#[derive(Default)]
pub(super) struct Directory {
    known: Mutex<HashMap<RegistryName, Location>>,
}

impl Directory {
    pub(super) async fn locate(
        &self,
        registry: &RegistryName,
        options: &ClientOptions,
        transport: &Transport,
    ) -> Result<Location, ClientError> {
        if let Some((_, authority)) = options.authorities.iter().find(|(name, _)| name == registry) {
            return Ok(Location::Ours(authority.clone()));
        }
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(registry)
            .cloned();
        if let Some(location) = known {
            return Ok(location);
        }
        let location = look(registry, options, transport).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(registry.clone(), location.clone());
        Ok(location)
    }
}

async fn look(
    registry: &RegistryName,
    options: &ClientOptions,
    transport: &Transport,
) -> Result<Location, ClientError> {
    let host = if registry.is_docker_hub() {
        DOCKER_HUB_HOST
    } else {
        registry.as_str()
    };
    let at = |scheme: &str| {
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|error| ClientError::protocol(registry, format!("its name makes no URL: {error}")))
    };
    let insecure = options.insecure.contains(registry);
    let trust = if insecure {
        Trust::Anything
    } else {
        Trust::Verified
    };
    let endpoint = |base| Endpoint {
        registry: registry.clone(),
        base,
        trust,
        namespace: None,
    };
    if !insecure && !registry.is_loopback() {
        return Ok(Location::Remote(endpoint(at("https")?)));
    }
    // What is most likely comes first; both are asked without credentials, and a redirect is no answer.
    let schemes = if insecure {
        ["https", "http"]
    } else {
        ["http", "https"]
    };
    let challenge = IdentityChallenge::fresh();
    let mut refused = None;
    let mut found = None;
    for scheme in schemes {
        let candidate = endpoint(at(scheme)?);
        match ping(&candidate, &challenge, transport).await {
            Err(forbidden @ ClientError::Forbidden { .. }) => return Err(forbidden),
            // Some servers that speak TLS answer a plain request with 400.
            Ok(response) if scheme == "http" && response.status() == StatusCode::BAD_REQUEST => {}
            Ok(response) if same_origin(response.url(), &candidate.base) => {
                found = Some((candidate, response));
                break;
            }
            Ok(_) => {}
            // Why TLS failed is what helps: that plain HTTP did not work either goes without saying.
            Err(error) if scheme == "https" || refused.is_none() => refused = Some(error),
            Err(_) => {}
        }
    }
    let Some((endpoint, response)) = found else {
        let silent = || ClientError::protocol(registry, "it speaks HTTP, but not the registry's");
        return Err(refused.unwrap_or_else(silent));
    };
    if insecure && !registry.is_loopback() {
        let how = match endpoint.base.scheme() {
            "http" => "over plain HTTP: passwords and images can be read and changed on their way",
            _ => "without looking at its certificate: somebody else may answer in its place",
        };
        (options.warn)(&format!("the insecure registry {registry} is spoken to {how}"));
    }
    if registry.is_loopback() {
        let proof = response
            .headers()
            .get(SHIPWAY_PROOF)
            .and_then(|proof| proof.to_str().ok())
            .and_then(|proof| proof.parse().ok());
        let ours = proof.and_then(|proof| {
            let mut authorities = options.authorities.iter();
            authorities.find(|(_, ours)| ours.access().is_proof(&challenge, &proof))
        });
        if let Some((_, authority)) = ours {
            return Ok(Location::Ours(authority.clone()));
        }
    }
    Ok(Location::Remote(endpoint))
}

async fn ping(
    endpoint: &Endpoint,
    challenge: &IdentityChallenge,
    transport: &Transport,
) -> Result<Response, ClientError> {
    let url = endpoint.url("", Query::default());
    let mut request = endpoint.request(Method::GET, url);
    if endpoint.registry.is_loopback()
        && let Ok(challenge) = HeaderValue::try_from(challenge.to_string())
    {
        request = request.header(SHIPWAY_CHALLENGE, challenge);
    }
    transport.send(request).await
}
