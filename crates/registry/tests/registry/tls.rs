//! TLS with an authority of our own.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use shipway_oci::{Platform, RegistryName};
use shipway_registry::{Client, ClientOptions};
use tempfile::TempDir;

use crate::fixture::{Image, Place, Registry, impatient, reference};

pub(crate) struct Authorities {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) server: Arc<ServerConfig>,
}

impl Authorities {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let server = server(&certificate, &key);
        Self {
            root: issuer.der().clone(),
            root_pem: issuer.pem(),
            server,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_who_trust_the_authority_get_in() {
    let authorities = Authorities::new();
    let (registry, from, into) = (Registry::new(), Place::new(), Place::new());
    let address = registry.listen(Some(Arc::clone(&authorities.server))).await;
    let name: RegistryName = address.to_string().parse().unwrap();
    let job = registry.job("a");
    let image = Image::random(&from.store, 1, &[3_000_000, 10], false);
    let wanted = reference(&name, "a/app");

    let stranger = Client::new(impatient()).unwrap();
    let error = stranger
        .push(&from.store, &image.digest, &wanted, Some(&job), &())
        .await
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");

    let extra_roots = vec![authorities.root.clone()];
    let friend = Client::new(ClientOptions {
        extra_roots,
        ..impatient()
    })
    .unwrap();
    friend
        .push(&from.store, &image.digest, &wanted, Some(&job), &())
        .await
        .unwrap();

    // As docker's configuration has it, in a directory named like the registry.
    let directory = TempDir::new().unwrap();
    let of_registry = directory.path().join(name.as_str());
    std::fs::create_dir(&of_registry).unwrap();
    std::fs::write(of_registry.join("ca.crt"), &authorities.root_pem).unwrap();
    let certificate_directories = vec![directory.path().to_owned()];
    let configured = Client::new(ClientOptions {
        certificate_directories,
        ..impatient()
    })
    .unwrap();
    configured
        .pull(&wanted, &Platform::host(), Some(&job), &into.store, &())
        .await
        .unwrap();
    image.assert_in(&into.store);

    // As a bundle of the system.
    let system_roots = vec![of_registry.join("ca.crt"), directory.path().join("missing")];
    let bundled = Client::new(ClientOptions {
        system_roots,
        ..impatient()
    })
    .unwrap();
    bundled.login(&name, &job).await.unwrap();

    // Listed as insecure, anything goes.
    let careless = Client::new(ClientOptions {
        insecure: vec![name.clone()],
        ..impatient()
    })
    .unwrap();
    careless.login(&name, &job).await.unwrap();

    // A plain request to the TLS port, and one that never says anything, harm nobody.
    assert!(friend.fetch(&format!("http://{address}/v2/")).await.is_err());
    drop(tokio::net::TcpStream::connect(address).await.unwrap());
    friend.login(&name, &job).await.unwrap();
}

/// One certificate that is its own authority, as `openssl req -x509` makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_listed() {
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    for (names, until, accepted) in [
        (["127.0.0.1"], year(2999), true),
        (["other.test"], year(2999), false),
        (["127.0.0.1"], year(2020), false),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = year(2019);
        params.not_after = until;
        let certificate = params.self_signed(&key).unwrap();
        let server = server(&certificate, &key);
        let registry = Registry::new();
        let address = registry.listen(Some(server)).await;
        let name: RegistryName = address.to_string().parse().unwrap();
        let job = registry.job("a");
        let trusting = |extra_roots, system_roots| {
            Client::new(ClientOptions {
                extra_roots,
                system_roots,
                ..impatient()
            })
            .unwrap()
        };
        assert!(trusting(Vec::new(), Vec::new()).login(&name, &job).await.is_err());
        let configured = trusting(vec![certificate.der().clone()], Vec::new());
        assert_eq!(configured.login(&name, &job).await.is_ok(), accepted, "{names:?}");
        let directory = TempDir::new().unwrap();
        let bundle = directory.path().join("bundle.crt");
        std::fs::write(&bundle, certificate.pem()).unwrap();
        let of_system = trusting(Vec::new(), vec![bundle]);
        assert_eq!(of_system.login(&name, &job).await.is_ok(), accepted, "{names:?}");
    }
}

fn server(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(server)
}
