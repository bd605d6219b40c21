//! Whether a server is who it says: apart from the TLS library's judgement because two kinds of registry need more.
//!
//! One has a certificate that is its own authority, as the usual instructions for a registry of one's own make it
//! (`openssl req -x509`). The library takes no certificate that may sign others as a server's; other clients do. Such a
//! one is trusted because its very bytes are listed among the authorities; its names and dates hold as everywhere. The
//! other is listed as insecure and may show any certificate, but has to have the key to it.
//!
//! Everything else is the library's judgement, and so is the error.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::roots::Trust;

/// The judge of one registry's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    pub(super) signed: Arc<WebPkiServerVerifier>,
    /// The authorities of one registry and those configured.
    pub(super) listed: Vec<CertificateDer<'static>>,
    /// The system's.
    pub(super) system: Arc<[CertificateDer<'static>]>,
}

impl Verifier {
    fn lists(&self, certificate: &CertificateDer<'_>) -> bool {
        self.listed.contains(certificate) || self.system.contains(certificate)
    }
}

fn holds(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let moment = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    match moment {
        Some(moment) if moment < parsed.validity().not_before => Err(CertificateError::NotValidYet.into()),
        Some(moment) if moment <= parsed.validity().not_after => Ok(()),
        _ => Err(CertificateError::Expired.into()),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust == Trust::Anything {
            return Ok(ServerCertVerified::assertion());
        }
        let judged = self
            .signed
            .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match judged {
            Err(rustls::Error::InvalidCertificate(_)) if self.lists(certificate) => {
                holds(certificate, name, now).map(|()| ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
