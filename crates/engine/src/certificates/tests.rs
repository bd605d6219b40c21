//! Handshakes over certificates that were made here, by processes that start at once and with files that are damaged.

use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn client_config(authority: &CertificateAuthority, identity: Option<&Identity>) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority.ca_pem(), "ca").unwrap() {
        roots.add(certificate).unwrap();
    }
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    match identity {
        Some(identity) => builder
            .with_client_auth_cert(
                certificates(&identity.cert_pem, "client").unwrap(),
                identity.private_key().unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// One byte each way through TLS, or the error of the side that refuses.
async fn talk(tls: TlsIdentity, client: rustls::ClientConfig, name: &'static str) -> std::io::Result<()> {
    let (left, right) = tokio::io::duplex(64 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.config());
    let server = tokio::spawn(async move {
        let mut stream = acceptor.accept(left).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte + 1).await?;
        stream.shutdown().await
    });
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector
        .connect(ServerName::try_from(name).unwrap(), right)
        .await?;
    stream.write_u8(1).await?;
    let answer = stream.read_u8().await;
    server.await.map_err(std::io::Error::other)??;
    assert_eq!(answer?, 2);
    Ok(())
}

fn server(authority: &CertificateAuthority) -> TlsIdentity {
    let identity = authority
        .issue_server(
            &["docker".to_owned(), "localhost".to_owned()],
            &[IpAddr::from([127, 0, 0, 1])],
        )
        .unwrap();
    authority.mutual_tls(&identity).unwrap()
}

#[tokio::test]
async fn a_client_of_the_same_authority_gets_in_by_name_and_by_address() {
    let authority = CertificateAuthority::ephemeral("test").unwrap();
    let client = authority.issue_client("job").unwrap();
    for name in ["docker", "localhost", "127.0.0.1"] {
        talk(server(&authority), client_config(&authority, Some(&client)), name)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn strangers_and_wrong_names_do_not_get_in() {
    let authority = CertificateAuthority::ephemeral("test").unwrap();
    let other = CertificateAuthority::ephemeral("test").unwrap();
    let client = authority.issue_client("job").unwrap();
    assert!(
        talk(server(&authority), client_config(&authority, None), "docker")
            .await
            .is_err()
    );
    let foreign = other.issue_client("job").unwrap();
    assert!(
        talk(
            server(&authority),
            client_config(&authority, Some(&foreign)),
            "docker"
        )
        .await
        .is_err()
    );
    assert!(
        talk(
            server(&authority),
            client_config(&authority, Some(&client)),
            "elsewhere"
        )
        .await
        .is_err()
    );
    let as_server = authority.issue_server(&["job".to_owned()], &[]).unwrap();
    assert!(
        talk(
            server(&authority),
            client_config(&authority, Some(&as_server)),
            "docker"
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn a_kept_authority_still_vouches_for_what_it_signed_before() {
    let directory = tempfile::tempdir().unwrap();
    let first = CertificateAuthority::load_or_create(directory.path()).unwrap();
    let client = first.issue_client("job").unwrap();
    let second = CertificateAuthority::load_or_create(directory.path()).unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    talk(server(&second), client_config(&second, Some(&client)), "docker")
        .await
        .unwrap();
    let mode = |name: &str| {
        directory
            .path()
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(KEY_FILE), mode(CERTIFICATE_FILE)), (0o600, 0o644));
}

#[test]
fn several_processes_make_one_authority() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let pems: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    CertificateAuthority::load_or_create(path)
                        .unwrap()
                        .ca_pem()
                        .to_owned()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pems.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_lost_key_and_rubbish_are_named() {
    let directory = tempfile::tempdir().unwrap();
    CertificateAuthority::load_or_create(directory.path()).unwrap();
    std::fs::remove_file(directory.path().join(KEY_FILE)).unwrap();
    let error = CertificateAuthority::load_or_create(directory.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains(KEY_FILE), "{error}");
    std::fs::write(directory.path().join(KEY_FILE), "rubbish").unwrap();
    assert!(matches!(
        CertificateAuthority::load_or_create(directory.path()),
        Err(CertificateError::Unusable { .. })
    ));
}
