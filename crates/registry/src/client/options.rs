//! How a client behaves, and what it logs in with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use shipway_access::{JOB_TOKEN_USER, Secret};
use shipway_oci::RegistryName;

use super::egress::{AllowAll, EgressPolicy};
use super::mirror::Mirror;
use crate::authority::Authority;
use crate::transfer::Pace;

/// How a client behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// Registries of our own, under each of their names: they are reached without a network.
    pub authorities: Vec<(RegistryName, Authority)>,
    /// Where connections may go.
    pub egress: Arc<dyn EgressPolicy>,
    /// Registries that may speak plain HTTP or show any certificate. This machine's own addresses may speak plain HTTP
    /// without being listed.
    pub insecure: Vec<RegistryName>,
    /// Certificate authorities to trust beside the public ones and the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Files of certificates that the system trusts; those that are missing are passed over.
    pub system_roots: Vec<PathBuf>,
    /// Directories laid out as docker's `/etc/docker/certs.d`: `NAME/*.crt` are authorities for the registry NAME.
    pub certificate_directories: Vec<PathBuf>,
    /// Told once for each registry that is spoken to without protection because it is listed as insecure, and for each mirror
    /// that cannot be asked, in a sentence for people.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
    /// Mirrors, asked in this order before the registry itself.
    pub mirrors: Vec<Mirror>,
    /// How long things may take and how often they are tried.
    pub timeouts: Timeouts,
    /// How many blobs of one image move at the same time.
    pub parallel_blobs: usize,
}

/// How long things may take and how often they are tried.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// How long a registry may say nothing while nothing moves; the whole may take any time.
    pub idle: Duration,
    /// How many bytes per second an answer's body must bring, over windows of `idle` in which it was waited for.
    pub least_bytes_per_second: u64,
    /// How often one thing is tried in a row without any progress.
    pub attempts: u32,
    /// The pause before the second try; it doubles from try to try.
    pub pause: Duration,
    /// The longest pause, also when the registry asks for a longer one: past it, the operation fails with the registry's
    /// wish in the error.
    pub longest_pause: Duration,
}

impl Timeouts {
    /// The pace of one answer's body.
    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.least_bytes_per_second, self.idle)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            least_bytes_per_second: 1024,
            attempts: 5,
            pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            authorities: Vec::new(),
            egress: Arc::new(AllowAll),
            insecure: Vec::new(),
            extra_roots: Vec::new(),
            system_roots: [
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
            ]
            .map(PathBuf::from)
            .to_vec(),
            certificate_directories: ["/etc/docker/certs.d", "/etc/containers/certs.d"]
                .map(PathBuf::from)
                .to_vec(),
            warn: Arc::new(|warning| tracing::warn!("{warning}")),
            mirrors: Vec::new(),
            timeouts: Timeouts::default(),
            parallel_blobs: 4,
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("authorities", &self.authorities)
            .field("insecure", &self.insecure)
            .field("mirrors", &self.mirrors)
            .finish_non_exhaustive()
    }
}

/// What a registry is shown. `Debug` hides the secrets.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    /// The user's name.
    pub username: String,
    /// The password, or a token that stands in for one.
    pub password: Secret,
    /// A refresh token that `docker login` was given; it goes before the password.
    pub identity_token: Option<Secret>,
    /// Who may see them.
    pub audience: Audience,
}

/// Who may see credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// The registry that they are for, wherever it is.
    #[default]
    Anybody,
    /// A registry of ours that is reached without the network, and there is nothing to see: it knows its owner. On the
    /// network they do not exist: whoever listens where ours is expected must not be handed what opens it.
    Owner,
}

impl RegistryCredentials {
    /// A user name and a password.
    pub fn new(username: impl Into<String>, password: Secret) -> Self {
        Self {
            username: username.into(),
            password,
            identity_token: None,
            audience: Audience::Anybody,
        }
    }

    /// The right of whoever may open a store to the registry over it, for the repository that is asked about and for as
    /// long as that takes. Anywhere else it is no login at all.
    pub fn of_the_owner() -> Self {
        Self {
            audience: Audience::Owner,
            ..Self::new(JOB_TOKEN_USER, Secret::from(String::new()))
        }
    }
}
