//! The GitLab that a runner is made known to, by the runners part of its API.
//!
//! Whoever answers is not trusted: an answer is read up to a bound, redirections are not followed, and neither a token nor
//! a password in the address gets into an error. That a token is not accepted is taken from GitLab alone: between it and a
//! runner are proxies and portals with a 403 of their own.

use super::{Description, Registered};
use crate::address;
use reqwest::{Client, Method, Response, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use shipway_access::Secret;
use shipway_registry::client::tls_configuration;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long GitLab may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer that is longer is none of GitLab's, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why a runner is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// There is no such address.
    #[error("the address of GitLab is no URL that begins with http:// or https://")]
    Address,
    /// The certificates cannot be read.
    #[error("reading the certificates in `{}`", file.display())]
    Certificates {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// HTTP cannot be spoken.
    #[error("preparing to speak to GitLab")]
    Setup {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No GitLab there.
    #[error("GitLab at {url} cannot be reached")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It says no, in its own words.
    #[error("GitLab at {url} does not accept the token ({status}): {hint}")]
    Refused {
        /// Who was asked.
        url: String,
        /// The status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// Whoever answers is no GitLab.
    #[error("{url} does not answer as GitLab does (status {status})")]
    Strange {
        /// Who was asked.
        url: String,
        /// The status.
        status: u16,
    },
}

/// What GitLab learns of who asks.
#[derive(Serialize)]
struct Info {
    name: &'static str,
    version: &'static str,
    platform: &'static str,
    architecture: &'static str,
}

const INFO: Info = Info {
    name: "shipway",
    version: env!("CARGO_PKG_VERSION"),
    platform: "linux",
    architecture: std::env::consts::ARCH,
};

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Info>,
    #[serde(flatten)]
    description: Option<&'a Description>,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// A GitLab.
pub struct GitLab {
    client: Client,
    api: Url,
    /// For people.
    shown: String,
}

impl GitLab {
    /// The GitLab at an address, trusted by this machine's certificates and those of a file. Blocks: it reads them.
    ///
    /// # Errors
    /// When the address is none, or the file cannot be read.
    pub fn at(address: &str, ca_file: Option<&Path>) -> Result<Self, RegistrationError> {
        let mut api = address::parse(address).ok_or(RegistrationError::Address)?;
        let path = format!("{}/api/v4/", api.path().trim_end_matches('/'));
        let shown = address::shown(&api);
        api.set_path(&path);
        Ok(Self {
            client: client(ca_file)?,
            api,
            shown,
        })
    }

    /// Verifies the token of a runner that there is already.
    ///
    /// # Errors
    /// When GitLab cannot be reached, refuses, or is none.
    pub async fn verify(&self, token: &Secret) -> Result<Registered, RegistrationError> {
        let answer = self
            .ask(Method::POST, "runners/verify", token, Some(INFO), None)
            .await?;
        let status = answer.status().as_u16();
        let body = self.body(answer).await?;
        // Older GitLabs answer with a word.
        let known = serde_json::from_slice(&body).or_else(|_| match body.as_slice() {
            b"" | b"200" | b"\"200\"" | b"null" => Ok(Answer {
                id: None,
                token: String::new(),
            }),
            _ => Err(self.strange(status)),
        })?;
        Ok(kept(known, token))
    }

    /// Makes a runner by a registration token; the answer's token is the one to keep.
    ///
    /// # Errors
    /// When GitLab cannot be reached, refuses, or is none.
    pub async fn register(
        &self,
        token: &Secret,
        description: &Description,
    ) -> Result<Registered, RegistrationError> {
        let answer = self
            .ask(Method::POST, "runners", token, Some(INFO), Some(description))
            .await?;
        let status = answer.status().as_u16();
        let body = self.body(answer).await?;
        match serde_json::from_slice::<Answer>(&body) {
            // A runner that was made has a token of its own.
            Ok(made) if !made.token.is_empty() => Ok(kept(made, token)),
            _ => Err(self.strange(status)),
        }
    }

    /// Takes back a runner whose token could not be kept.
    ///
    /// # Errors
    /// When GitLab cannot be reached, refuses, or is none.
    pub async fn unregister(&self, token: &Secret) -> Result<(), RegistrationError> {
        self.ask(Method::DELETE, "runners", token, None, None)
            .await
            .map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        endpoint: &str,
        token: &Secret,
        info: Option<Info>,
        description: Option<&Description>,
    ) -> Result<Response, RegistrationError> {
        let question = Question {
            token: token.expose(),
            info,
            description,
        };
        let url = self.api.join(endpoint).map_err(|_| RegistrationError::Address)?;
        let answer = self
            .client
            .request(method, url)
            .json(&question)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status().as_u16();
        let hint = match status {
            200 | 201 | 204 => return Ok(answer),
            401 | 403 => "make a runner in its pages and give its token with --token",
            410 => {
                "registration tokens are switched off there; make a runner in its pages and give its token with --token"
            }
            _ => return Err(self.strange(status)),
        };
        if !is_of_gitlab(status, &self.body(answer).await?) {
            return Err(self.strange(status));
        }
        Err(RegistrationError::Refused {
            url: self.shown.clone(),
            status,
            hint,
        })
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, RegistrationError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err(self.strange(answer.status().as_u16()));
            }
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest::Error) -> RegistrationError {
        RegistrationError::Unreachable {
            url: self.shown.clone(),
            // Its address may hold a password, and the message names it already.
            source: source.without_url(),
        }
    }

    fn strange(&self, status: u16) -> RegistrationError {
        RegistrationError::Strange {
            url: self.shown.clone(),
            status,
        }
    }
}

/// Whether a refusal is in the form of GitLab's API, whose message begins with the status: `403 Forbidden`.
fn is_of_gitlab(status: u16, body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal>(body)
        .is_ok_and(|refusal| refusal.message.starts_with(&status.to_string()))
}

fn kept(answer: Answer, asked: &Secret) -> Registered {
    Registered {
        id: answer.id,
        token: if answer.token.is_empty() {
            asked.clone()
        } else {
            answer.token.into()
        },
    }
}

fn client(ca_file: Option<&Path>) -> Result<Client, RegistrationError> {
    let setup = |source: Box<dyn std::error::Error + Send + Sync>| RegistrationError::Setup { source };
    let own = match ca_file {
        None => Vec::new(),
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| RegistrationError::Certificates {
                file: file.to_owned(),
                source,
            })?,
    };
    let tls = tls_configuration(own).map_err(|error| setup(error.into()))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("shipway/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| setup(error.into()))
}

#[cfg(test)]
mod tests;
