//! The certificates of an installation or of one job: an authority, server and client identities, PEM out.
//!
//! Apart because three faces use them: the engine's TLS port, the registry inside a job, the registry outside. ECDSA
//! P-256, because every TLS library of the last ten years takes it and a key costs a millisecond. The authority's
//! directory holds `ca.pem` (0644) and `ca-key.pem` (0600), both written whole or not at all. A certificate without its key is an error
//! that says which file, never a silent new authority; a key alone is what a crash left. An authority is for ten years, and
//! nobody looks whether they are over.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustix::fs::{FlockOperation, flock};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
const LOCK_FILE: &str = "ca.lock";
/// What a PEM file of ours can never exceed.
const LONGEST_PEM: u64 = 64 * 1024;
/// An installation's authority outlives what it signs by far.
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// Apple's and Go's checks accept up to 825 days.
const IDENTITY_LIFETIME: Duration = Duration::days(820);
/// Clocks of containers and their hosts differ a little.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// Why a certificate could not be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The directory's files cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// One of the two files is missing.
    #[error("{} is missing although its counterpart is there: restore it, or remove both to begin anew", path.display())]
    HalfThere {
        /// The missing file.
        path: PathBuf,
    },
    /// The PEM text is not what it should be.
    #[error("{what} cannot be used: it is no PEM text of the right kind, or it does not fit its key")]
    Unusable {
        /// Which text.
        what: String,
        /// The parser's answer.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A name does not fit in a certificate.
    #[error("cannot make a certificate for {subject}")]
    Issue {
        /// For whom.
        subject: String,
        /// The encoder's answer.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refuses the combination.
    #[error("cannot set up TLS with these certificates")]
    Tls {
        /// The library's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A certificate authority; it signs and never leaves the process but as its own PEM.
pub struct CertificateAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM; the key is never shown by `Debug`.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CertificateAuthority")
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// The authority kept in `directory`, made at the first call; several processes may call at once.
    pub fn load_or_create(directory: &Path) -> Result<CertificateAuthority, CertificateError> {
        let file = |action, path: &Path| {
            let path = path.to_owned();
            move |source| CertificateError::File { action, path, source }
        };
        std::fs::create_dir_all(directory).map_err(file("create", directory))?;
        let lock_path = directory.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(file("open", &lock_path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| file("lock", &lock_path)(errno.into()))?;

        let (certificate_path, key_path) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        match (read_if_there(&certificate_path)?, read_if_there(&key_path)?) {
            (Some(certificate), Some(key)) => Self::from_pem(
                certificate,
                &key,
                &format!("{} or {}", certificate_path.display(), key_path.display()),
            ),
            (None, None) => {
                let (authority, key) = Self::generate("Shipway installation")?;
                write_whole(directory, &key_path, &key, 0o600)?;
                write_whole(directory, &certificate_path, &authority.pem, 0o644)?;
                Ok(authority)
            }
            // The key is written first: alone, it is what a crash left, and no certificate was ever handed out for it.
            (None, Some(_)) => {
                std::fs::remove_file(&key_path).map_err(file("remove", &key_path))?;
                let (authority, key) = Self::generate("Shipway installation")?;
                write_whole(directory, &key_path, &key, 0o600)?;
                write_whole(directory, &certificate_path, &authority.pem, 0o644)?;
                Ok(authority)
            }
            (Some(_), None) => Err(CertificateError::HalfThere { path: key_path }),
        }
    }

    /// An authority that lives as long as this value.
    pub fn ephemeral(common_name: &str) -> Result<CertificateAuthority, CertificateError> {
        Self::generate(common_name).map(|(authority, _)| authority)
    }

    fn generate(common_name: &str) -> Result<(CertificateAuthority, String), CertificateError> {
        let issue = |source| CertificateError::Issue {
            subject: common_name.to_owned(),
            source,
        };
        let key = new_key().map_err(issue)?;
        let mut parameters = parameters(common_name, AUTHORITY_LIFETIME);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let pem = parameters.self_signed(&key).map_err(issue)?.pem();
        let key_pem = key.serialize_pem();
        Ok((
            CertificateAuthority {
                pem,
                issuer: Issuer::new(parameters, key),
            },
            key_pem,
        ))
    }

    fn from_pem(pem: String, key: &str, what: &str) -> Result<CertificateAuthority, CertificateError> {
        let unusable = |source: rcgen::Error| CertificateError::Unusable {
            what: what.to_owned(),
            source: Some(source.into()),
        };
        let key = KeyPair::from_pem(key).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(unusable)?;
        Ok(CertificateAuthority { pem, issuer })
    }

    /// A server's identity for these DNS names and addresses.
    pub fn issue_server(&self, names: &[String], addresses: &[IpAddr]) -> Result<Identity, CertificateError> {
        let subject = names
            .first()
            .cloned()
            .or_else(|| addresses.first().map(IpAddr::to_string))
            .unwrap_or_default();
        let issue = |source| CertificateError::Issue {
            subject: subject.clone(),
            source,
        };
        let mut parameters = parameters(&subject, IDENTITY_LIFETIME);
        for name in names {
            let name = name.as_str().try_into().map_err(issue)?;
            parameters.subject_alt_names.push(SanType::DnsName(name));
        }
        parameters
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(parameters, &subject)
    }

    /// A client's identity.
    pub fn issue_client(&self, name: &str) -> Result<Identity, CertificateError> {
        let mut parameters = parameters(name, IDENTITY_LIFETIME);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(parameters, name)
    }

    fn sign(&self, mut parameters: CertificateParams, subject: &str) -> Result<Identity, CertificateError> {
        let issue = |source| CertificateError::Issue {
            subject: subject.to_owned(),
            source,
        };
        let key = new_key().map_err(issue)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let certificate: Certificate = parameters.signed_by(&key, &self.issuer).map_err(issue)?;
        Ok(Identity {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The authority's certificate, for those who are to trust it.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A TLS server that shows `server` and lets in nobody without a client certificate of this authority.
    pub fn mutual_tls(&self, server: &Identity) -> Result<TlsIdentity, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.pem, "the authority's certificate")? {
            roots
                .add(certificate)
                .map_err(|error| CertificateError::Tls { source: error.into() })?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| CertificateError::Tls { source: error.into() })?;
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::Tls { source: error.into() })?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                certificates(&server.cert_pem, "the server's certificate")?,
                server.private_key()?,
            )
            .map_err(|error| CertificateError::Tls { source: error.into() })?;
        Ok(TlsIdentity {
            config: Arc::new(config),
        })
    }
}

impl Identity {
    /// The key as the TLS library wants it.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|error| CertificateError::Unusable {
            what: "the private key".to_owned(),
            source: Some(error.into()),
        })
    }

    /// A TLS server that shows this certificate and asks clients for none.
    pub fn server_tls(&self) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::Tls { source: error.into() })?
            .with_no_client_auth()
            .with_single_cert(
                certificates(&self.cert_pem, "the server's certificate")?,
                self.private_key()?,
            )
            .map_err(|error| CertificateError::Tls { source: error.into() })?;
        Ok(Arc::new(config))
    }
}

/// How the engine's TLS port introduces itself and whom it lets in.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    config: Arc<rustls::ServerConfig>,
}

impl TlsIdentity {
    /// Any other TLS setting; the caller answers for who gets in.
    pub fn from_config(config: Arc<rustls::ServerConfig>) -> TlsIdentity {
        TlsIdentity { config }
    }

    pub(crate) fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn parameters(common_name: &str, lifetime: Duration) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Shipway");
    // RFC 5280 allows 64 characters; longer names are still in the alternative names.
    name.push(
        DnType::CommonName,
        common_name.chars().take(64).collect::<String>(),
    );
    parameters.distinguished_name = name;
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - CLOCK_SKEW;
    parameters.not_after = now + lifetime;
    parameters
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let unusable = |source: Option<rustls_pki_types::pem::Error>| CertificateError::Unusable {
        what: what.to_owned(),
        source: source.map(Into::into),
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(Some(error)))?;
    if found.is_empty() {
        Err(unusable(None))
    } else {
        Ok(found)
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, CertificateError> {
    let file = |source| CertificateError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
    };
    let mut text = String::new();
    opened.take(LONGEST_PEM).read_to_string(&mut text).map_err(file)?;
    Ok(Some(text))
}

fn write_whole(directory: &Path, path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let temporary = path.with_extension("new");
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::File { action, path, source }
    };
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(file("remove", &temporary)(error)),
        _ => {}
    }
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut opened| {
            opened.write_all(text.as_bytes())?;
            opened.sync_all()
        })
        .map_err(file("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(file("rename into", path))?;
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(file("sync", directory))
}

#[cfg(test)]
mod tests;
