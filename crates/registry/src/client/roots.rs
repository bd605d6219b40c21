//! Whom to trust: the public authorities, the system's, those configured, and those of one registry.
//!
//! Reading the system's bundle takes milliseconds, so it happens at the first TLS connection and once. A file that cannot
//! be read is passed over with a warning: a broken certificate for one registry must not stop all others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ClientError;
use super::options::ClientOptions;
use super::verifier::Verifier;

/// Whether a server has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// With a certificate of an authority that we trust.
    Verified,
    /// Not at all: the registry is listed as insecure.
    Anything,
}

/// The certificate authorities of a client.
pub(super) struct Roots {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    bundles: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    shared: OnceLock<Shared>,
}

/// What all registries of a client have in common.
#[derive(Clone)]
struct Shared {
    store: Arc<RootCertStore>,
    /// As they are in the system's bundles: the store keeps only names and keys.
    system: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            extra: options.extra_roots.clone(),
            bundles: options.system_roots.clone(),
            directories: options.certificate_directories.clone(),
            shared: OnceLock::new(),
        }
    }

    /// The TLS settings for a registry, `name` being its host with the port if it is not 443.
    pub(super) fn configuration(&self, name: &str, trust: Trust) -> Result<ClientConfig, ClientError> {
        let setup = |error| setup(name, error);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(setup)?;
        let own = self.of_registry(name);
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(name, trust, own.authorities)?));
        let mut configuration = match own.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(setup)?,
            None => builder.with_no_client_auth(),
        };
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(configuration)
    }

    /// Settings under which no TLS connection succeeds, for connections that are plain.
    pub(super) fn empty(&self, name: &str) -> Result<ClientConfig, ClientError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(name, error))?;
        Ok(builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth())
    }

    fn verifier(
        &self,
        name: &str,
        trust: Trust,
        of_registry: Vec<CertificateDer<'static>>,
    ) -> Result<Verifier, ClientError> {
        let Shared {
            store: mut roots,
            system,
        } = self.shared();
        if !of_registry.is_empty() {
            Arc::make_mut(&mut roots).add_parsable_certificates(of_registry.iter().cloned());
        }
        let signed = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| setup(name, error))?;
        Ok(Verifier {
            trust,
            signed,
            listed: [of_registry, self.extra.clone()].concat(),
            system,
        })
    }

    fn shared(&self) -> Shared {
        let shared = self.shared.get_or_init(|| {
            let system = listed_in(&self.bundles);
            let store = roots_of(system.iter().chain(&self.extra).cloned());
            Shared {
                store: Arc::new(store),
                system: system.into(),
            }
        });
        shared.clone()
    }

    /// What the directories of docker's layout hold for a registry. `docker.io` and such need no entry.
    fn of_registry(&self, name: &str) -> OfRegistry {
        let mut found = OfRegistry::default();
        for directory in &self.directories {
            let Ok(entries) = std::fs::read_dir(directory.join(name)) else {
                continue;
            };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => found.authorities.extend(certificates(&path)),
                    Some("cert") => found.identity = found.identity.take().or_else(|| identity(&path)),
                    _ => {}
                }
            }
        }
        found
    }
}

/// TLS for servers that are no registries: those whom this machine trusts, and those with a certificate of, or that itself
/// is, one of these authorities. Blocks: it reads the system's bundle.
///
/// # Errors
/// When the TLS library has no use for any of this.
pub fn tls_configuration(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, ClientError> {
    let options = ClientOptions {
        extra_roots: authorities,
        certificate_directories: Vec::new(),
        ..ClientOptions::default()
    };
    Roots::new(&options).configuration("", Trust::Verified)
}

/// What the bundles hold that are there. Blocks: it reads files.
fn listed_in(bundles: &[PathBuf]) -> Vec<CertificateDer<'static>> {
    let there = bundles.iter().filter(|bundle| bundle.exists());
    there.flat_map(|bundle| certificates(bundle)).collect()
}

/// The public authorities and these.
fn roots_of(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    store.add_parsable_certificates(certificates);
    store
}

fn setup(name: &str, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Setup {
        problem: format!("TLS for `{name}`"),
        source: Some(Box::new(source)),
    }
}

/// What is configured for one registry.
#[derive(Default)]
struct OfRegistry {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// The certificates of a file that can be read.
fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    match CertificateDer::pem_file_iter(path) {
        Ok(certificates) => certificates.filter_map(Result::ok).collect(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "certificates cannot be read and are not used");
            Vec::new()
        }
    }
}

/// A client certificate `NAME.cert` with its `NAME.key`.
fn identity(path: &Path) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = path.with_extension("key");
    match PrivateKeyDer::from_pem_file(&key) {
        Ok(key) => Some((certificates(path), key)),
        Err(error) => {
            tracing::warn!(path = %key.display(), %error, "the key of a client certificate cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    /// A handshake is no time to read files.
    #[test]
    fn the_systems_bundles_are_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("bundle.pem");
        let mut params = CertificateParams::new(["registry.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(&bundle, certificate.pem()).unwrap();
        let roots = Roots::new(&ClientOptions {
            system_roots: vec![bundle.clone()],
            ..ClientOptions::default()
        });
        let judge = |roots: &Roots| {
            let name = ServerName::try_from("registry.example").unwrap();
            roots
                .verifier("registry.example", Trust::Verified, Vec::new())
                .unwrap()
                .verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now())
                .map(drop)
        };
        judge(&roots).unwrap();
        std::fs::remove_file(bundle).unwrap();
        judge(&roots).unwrap();
    }
}
