//! Making a runner known to a GitLab, and its section of `config.toml`.
//!
//! The two halves are apart: [`register`] speaks to GitLab and gives the token to keep, [`add_section`] writes it. A
//! file is changed only after GitLab has accepted the runner.

mod section;

pub use section::{NewRunner, WriteError, add_section};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long GitLab may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where machines keep the roots that they trust.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
/// What the tokens of runners begin with that were made in GitLab's pages.
const AUTHENTICATION_TOKEN: &str = "glrt-";

/// What a runner tells about itself where it is registered by a registration token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Description {
    /// For people.
    pub description: String,
    /// Which jobs it takes, separated by commas.
    pub tag_list: String,
    /// Whether it takes jobs without tags too.
    pub run_untagged: bool,
    /// Whether it stays with its project.
    pub locked: bool,
    /// `not_protected` or `ref_protected`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub access_level: String,
    /// Seconds a job may take at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_timeout: Option<u64>,
    /// Whether it waits for somebody to let it work.
    pub paused: bool,
    /// For administrators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintenance_note: String,
}

/// What GitLab knows a runner by.
#[derive(Clone, Debug, Deserialize)]
pub struct Registered {
    /// Its number.
    pub id: u64,
    /// What it shows from now on.
    #[serde(default)]
    pub token: String,
}

/// Why a runner is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The certificates cannot be read.
    #[error("reading the certificates in `{}`", file.display())]
    Certificates {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// It says no.
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

/// Whether a token is that of a runner that GitLab's pages have made: everything but its name is set there.
pub fn is_authentication_token(token: &str) -> bool {
    token.starts_with(AUTHENTICATION_TOKEN)
}

/// Registers by a registration token, or verifies an authentication token; the answer's token is the one to keep.
///
/// # Errors
/// When GitLab cannot be reached, refuses, or is none.
pub async fn register(
    url: &str,
    token: &str,
    description: &Description,
    ca_file: Option<&Path>,
) -> Result<Registered, RegistrationError> {
    #[derive(Serialize)]
    struct Info {
        name: &'static str,
        version: &'static str,
        platform: &'static str,
        architecture: &'static str,
    }
    #[derive(Serialize)]
    struct Question<'a> {
        token: &'a str,
        info: Info,
        #[serde(flatten)]
        description: Option<&'a Description>,
    }
    let url = url.trim_end_matches('/').to_owned();
    let verify = is_authentication_token(token);
    let endpoint = if verify { "runners/verify" } else { "runners" };
    let question = Question {
        token,
        info: Info {
            name: "shipway",
            version: env!("CARGO_PKG_VERSION"),
            platform: "linux",
            architecture: std::env::consts::ARCH,
        },
        description: (!verify).then_some(description),
    };
    let answer = client(ca_file)?
        .post(format!("{url}/api/v4/{endpoint}"))
        .json(&question)
        .send()
        .await
        .map_err(|source| RegistrationError::Unreachable {
            url: url.clone(),
            // An address may hold a password; the message names it already.
            source: source.without_url(),
        })?;
    let status = answer.status().as_u16();
    match status {
        200 | 201 => {}
        401 | 403 => {
            let hint = "make a runner in its pages and give its token with --token";
            return Err(RegistrationError::Refused { url, status, hint });
        }
        410 => {
            let hint = "registration tokens are switched off there; make a runner in its pages and give its token with --token";
            return Err(RegistrationError::Refused { url, status, hint });
        }
        _ => return Err(RegistrationError::Strange { url, status }),
    }
    let mut registered: Registered = answer
        .json()
        .await
        .map_err(|_| RegistrationError::Strange { url, status })?;
    if registered.token.is_empty() {
        token.clone_into(&mut registered.token);
    }
    Ok(registered)
}

fn client(ca_file: Option<&Path>) -> Result<reqwest::Client, RegistrationError> {
    let setup = |source: Box<dyn std::error::Error + Send + Sync>| RegistrationError::Setup { source };
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let system = SYSTEM_ROOTS
        .into_iter()
        .map(Path::new)
        .find(|file| file.is_file());
    for file in system.into_iter().chain(ca_file) {
        let certificates =
            |source: Box<dyn std::error::Error + Send + Sync>| RegistrationError::Certificates {
                file: file.to_owned(),
                source,
            };
        let read = CertificateDer::pem_file_iter(file).map_err(|error| certificates(error.into()))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| certificates(error.into()))?;
            // A root that the library cannot use is no reason to use none.
            let _ = roots.add(certificate);
        }
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("shipway/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| setup(error.into()))
}
