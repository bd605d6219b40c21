//! Answers that no GitLab gives, and certificates that people make for theirs.

use super::{GitLab, LONGEST_ANSWER, RegistrationError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use shipway_oci::with_causes;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers one question.
async fn answering(body: Vec<u8>) -> String {
    answering_with("200 OK", body).await
}

async fn answering_with(status: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, status, body).await;
    });
    format!("http://somebody:secret-word@{address}/gitlab?private_token=secret-word#somebody")
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str, body: Vec<u8>) {
    let mut question = vec![0; 4096];
    let _ = stream.read(&mut question).await;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn an_endless_answer_is_not_read_and_no_password_is_told() {
    let address = answering([vec![b' '; 64 * LONGEST_ANSWER], br#"{"id":1}"#.to_vec()].concat()).await;
    let gitlab = GitLab::at(&address, None).unwrap();
    let strange = gitlab.verify(&"t".into()).await.unwrap_err();
    assert!(
        matches!(strange, RegistrationError::Strange { .. }),
        "{strange:?}"
    );
    // The listener of before is gone.
    let gone = gitlab.verify(&"t".into()).await.unwrap_err();
    assert!(matches!(gone, RegistrationError::Unreachable { .. }), "{gone:?}");
    for error in [strange, gone] {
        let said = format!("{} {error:?}", with_causes(&error));
        assert!(
            !said.contains("secret-word") && !said.contains("somebody"),
            "{said}"
        );
        assert!(said.contains("/gitlab"), "{said}");
    }
}

#[tokio::test]
async fn a_gitlab_that_answers_with_a_word_has_verified() {
    let gitlab = GitLab::at(&answering(b"200".to_vec()).await, None).unwrap();
    let known = gitlab.verify(&"old-token".into()).await.unwrap();
    assert_eq!((known.id, known.token.expose()), (None, "old-token"));
}

#[tokio::test]
async fn only_gitlab_refuses_a_token() {
    for (status, body, is_refusal) in [
        ("403 Forbidden", r#"{"message":"403 Forbidden"}"#, true),
        (
            "410 Gone",
            r#"{"message":"410 Gone - runner registration disallowed"}"#,
            true,
        ),
        // A captive portal, a proxy, and gateways that have a message of their own.
        ("403 Forbidden", "<html>Log in to use the network</html>", false),
        ("401 Unauthorized", "", false),
        ("403 Forbidden", "{}", false),
        ("403 Forbidden", r#"{"message":"Forbidden"}"#, false),
        ("403 Forbidden", r#"{"message":{"base":[403]}}"#, false),
    ] {
        let address = answering_with(status, body.as_bytes().to_vec()).await;
        let gitlab = GitLab::at(&address, None).unwrap();
        let error = gitlab.verify(&"t".into()).await.unwrap_err();
        let is_expected = match &error {
            RegistrationError::Refused { .. } => is_refusal,
            RegistrationError::Strange { .. } => !is_refusal,
            _ => false,
        };
        assert!(is_expected, "{status} {body}: {error:?}");
    }
}

#[test]
fn an_address_is_a_url_of_http() {
    for wrong in ["", "gitlab.example.com", "ftp://a", "https://"] {
        let error = GitLab::at(wrong, None).err();
        assert!(
            matches!(error, Some(RegistrationError::Address)),
            "{wrong}: {error:?}"
        );
    }
}

/// As `openssl req -x509` makes it, and as GitLab's instructions have it.
#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_given() {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gitlab.crt");
    std::fs::write(&file, certificate.pem()).unwrap();
    let configuration = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(configuration));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust it hangs up.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, "200 OK", br#"{"id":7}"#.to_vec()).await;
            }
        }
    });
    let stranger = GitLab::at(&address, None).unwrap();
    let refused = stranger.verify(&"t".into()).await.unwrap_err();
    assert!(
        matches!(refused, RegistrationError::Unreachable { .. }),
        "{refused:?}"
    );
    let trusting = GitLab::at(&address, Some(&file)).unwrap();
    assert_eq!(trusting.verify(&"t".into()).await.unwrap().id, Some(7));
}
