//! The engine must not be a deputy that reaches what a job cannot.

use std::net::SocketAddr;
use std::sync::Arc;

use shipway_oci::Platform;
use shipway_registry::{Client, ClientError, ClientOptions, EgressPolicy};

use futures::TryStreamExt;

use crate::fixture::{Place, impatient, reference, respond, serve_as};

/// Only these ports.
struct Ports(Vec<u16>);

impl EgressPolicy for Ports {
    fn permits(&self, address: SocketAddr) -> bool {
        self.0.contains(&address.port())
    }
}

fn client(ports: &[u16]) -> Client {
    Client::new(ClientOptions {
        egress: Arc::new(Ports(ports.to_vec())),
        ..impatient()
    })
    .unwrap()
}

#[tokio::test]
async fn addresses_names_and_redirects_are_all_checked() {
    let inner = serve_as(|_| respond(200, &[("last-modified", "yesterday")], "internal")).await;
    let outer = serve_as(move |request| {
        let to = match request.uri().path() {
            "/by-address" => format!("http://127.0.0.1:{}/", inner.port()),
            "/by-name" => format!("http://localhost:{}/", inner.port()),
            "/loop" => "/loop".to_owned(),
            "/file" => "file:///etc/passwd".to_owned(),
            _ => return respond(200, &[], "external"),
        };
        respond(302, &[("location", &to)], "")
    })
    .await;
    let fetch = async |client: &Client, path: &str| {
        let fetched = client
            .fetch(&format!("http://127.0.0.1:{}{path}", outer.port()))
            .await?;
        let chunks: Vec<_> = fetched.body.try_collect().await?;
        Ok::<_, ClientError>(chunks.concat())
    };
    let narrow = client(&[outer.port()]);
    assert_eq!(fetch(&narrow, "/").await.unwrap(), b"external");
    for path in ["/by-address", "/by-name"] {
        let error = fetch(&narrow, path).await.unwrap_err();
        let ClientError::Forbidden { address, .. } = error else {
            panic!("{path}: {error}")
        };
        assert_eq!(address.port(), inner.port());
    }
    let wide = narrow.with_egress(Arc::new(Ports(vec![outer.port(), inner.port()])));
    for path in ["/by-address", "/by-name"] {
        assert_eq!(fetch(&wide, path).await.unwrap(), b"internal");
    }
    for path in ["/loop", "/file"] {
        let error = fetch(&wide, path).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
    }
    let fetched = wide
        .fetch(&format!("http://127.0.0.1:{}/by-name", outer.port()))
        .await
        .unwrap();
    assert_eq!(fetched.last_modified.as_deref(), Some("yesterday"));
    assert_eq!(fetched.url, format!("http://localhost:{}/", inner.port()));
    assert!(wide.fetch("ftp://example.org/x").await.is_err());
}

#[tokio::test]
async fn registries_are_no_exception() {
    let address = serve_as(|_| respond(200, &[], "{}")).await;
    let into = Place::new();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let image = reference(&format!("{host}:{}", address.port()).parse().unwrap(), "a/b");
        let error = client(&[])
            .pull(&image, &Platform::host(), None, &into.store, &())
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Forbidden { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_password_does_not_follow_a_redirect_to_another_host() {
    let elsewhere = serve_as(|request| {
        assert!(
            !request.headers().contains_key("authorization"),
            "the password has leaked"
        );
        respond(
            200,
            &[("content-type", "application/vnd.oci.image.manifest.v1+json")],
            "{}",
        )
    })
    .await;
    let registry = serve_as(move |request| {
        if request.uri().path() == "/v2/" {
            return respond(200, &[], "{}");
        }
        if !request.headers().contains_key("authorization") {
            return respond(401, &[("www-authenticate", "Basic realm=\"x\"")], "");
        }
        respond(307, &[("location", &format!("http://{elsewhere}/moved"))], "")
    })
    .await;
    let client = Client::new(impatient()).unwrap();
    let ada = shipway_registry::RegistryCredentials::new("ada", crate::fixture::secret("pw"));
    let image = reference(&registry.to_string().parse().unwrap(), "a/b");
    assert_eq!(client.resolve(&image, Some(&ada)).await.unwrap().bytes, "{}");
}
