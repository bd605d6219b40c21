//! Our client against registries that misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipway_oci::{Descriptor, Digest, ImageManifest, Manifest, Platform, media_type};
use shipway_registry::{Client, ClientError, ClientOptions, RegistryCredentials, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{Image, Place, client, impatient, reference, respond, secret, serve_as};

/// A manifest with one layer.
fn manifest_of(layer: &[u8]) -> Vec<u8> {
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let layer = Descriptor::of(media_type::OCI_LAYER_TAR, layer);
    Manifest::Image(ImageManifest::new(config, vec![layer]))
        .to_json()
        .unwrap()
}

/// A registry with one image whose layer is served as `serve` says.
async fn registry_with(
    layer: Vec<u8>,
    serve: impl Fn(&http::HeaderMap) -> http::Response<http_body_util::Full<bytes::Bytes>> + Send + Sync + 'static,
) -> shipway_oci::Reference {
    let address = serve_as(move |request| {
        let path = request.uri().path();
        if path.contains("/manifests/") {
            respond(
                200,
                &[("content-type", media_type::OCI_MANIFEST)],
                manifest_of(&layer),
            )
        } else if path.ends_with(Digest::sha256(b"{}").as_str()) {
            respond(200, &[], "{}")
        } else if path.contains("/blobs/") {
            serve(request.headers())
        } else {
            respond(200, &[], "{}")
        }
    })
    .await;
    reference(&address.to_string().parse().unwrap(), "some/image")
}

async fn pull(reference: &shipway_oci::Reference, into: &Place) -> Result<(), ClientError> {
    client()
        .pull(reference, &Platform::host(), None, &into.store, &())
        .await
        .map(|_| ())
}

#[tokio::test]
async fn other_bytes_than_promised_never_enter_the_store() {
    for lie in [b"wrong layer".to_vec(), b"right layer and more".to_vec()] {
        let into = Place::new();
        let image = registry_with(b"right layer".to_vec(), move |_| respond(200, &[], lie.clone())).await;
        let error = pull(&image, &into).await.unwrap_err();
        assert!(matches!(error, ClientError::Damaged { .. }), "{error}");
        assert_eq!(into.store.blob(&Digest::sha256(b"right layer")).unwrap(), None);
    }
    let into = Place::new();
    let image = registry_with(b"right layer".to_vec(), |_| respond(200, &[], "right")).await;
    let error = pull(&image, &into).await.unwrap_err();
    assert!(
        error.is_unreachable(),
        "an answer that ends early, again and again: {error}"
    );
}

#[tokio::test]
async fn a_configuration_comes_without_its_layers() {
    let into = Place::new();
    let image = registry_with(b"a layer".to_vec(), |_| {
        respond(500, &[], "nobody asks for layers")
    })
    .await;
    let pulled = client()
        .pull_configuration(&image, &Platform::host(), None, &into.store)
        .await
        .unwrap();
    assert_eq!(
        into.store.read_blob(&pulled.image.config.digest, 2).unwrap(),
        b"{}"
    );
    assert_eq!(into.store.blob(&Digest::sha256(b"a layer")).unwrap(), None);
}

#[tokio::test]
async fn whoever_only_knows_a_digest_does_not_get_the_bytes() {
    let secret_layer: Vec<u8> = (0..100_000u32)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let into = Place::new();
    into.store.put_blob(&secret_layer).unwrap();
    // It has the manifest, so it knows digest and size; the layer it does not have.
    let range_of_lies = |headers: &http::HeaderMap| {
        let range = headers["range"].to_str().unwrap().replace("bytes=", "bytes ") + "/400000";
        respond(206, &[("content-range", &range)], vec![7; 64])
    };
    let image = registry_with(secret_layer.clone(), range_of_lies).await;
    let error = pull(&image, &into).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    let image = registry_with(secret_layer.clone(), |_| respond(200, &[], vec![7; 400_000])).await;
    let error = pull(&image, &into).await.unwrap_err();
    assert!(matches!(error, ClientError::Damaged { .. }), "{error}");

    // Without ranges, but with the bytes, it is believed.
    let whole = secret_layer.clone();
    let image = registry_with(secret_layer, move |_| respond(200, &[], whole.clone())).await;
    pull(&image, &into).await.unwrap();
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let image = registry_with(b"layer".to_vec(), move |_| {
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 => respond(503, &[("retry-after", "0")], "busy"),
            1 => respond(429, &[], "slow down"),
            2 => respond(500, &[], ""),
            _ => respond(200, &[], "layer"),
        }
    })
    .await;
    let into = Place::new();
    pull(&image, &into).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_wish_to_wait_too_long_is_passed_on() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let address = serve_as(move |request| {
        if request.uri().path() == "/v2/" {
            return respond(200, &[], "{}");
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let body =
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#;
        respond(429, &[("retry-after", "7200")], body)
    })
    .await;
    let error = client()
        .resolve(&reference(&address.to_string().parse().unwrap(), "a/b"), None)
        .await
        .unwrap_err();
    let ClientError::RateLimited {
        retry_after, error, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7200)));
    assert_eq!(error.message, "You have reached your pull rate limit");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_digest_is_held_to() {
    let address = serve_as(|request| match request.uri().path() {
        "/v2/" => respond(200, &[], "{}"),
        path if path.ends_with("/lying") => respond(
            200,
            &[
                ("content-type", media_type::OCI_MANIFEST),
                ("docker-content-digest", Digest::sha256(b"else").as_str()),
            ],
            manifest_of(b"x"),
        ),
        path if path.ends_with("/html") => respond(200, &[("content-type", "text/html")], "<html>"),
        path if path.ends_with("/endless") => respond(200, &[], vec![b' '; 5 << 20]),
        _ => respond(
            200,
            &[("content-type", media_type::OCI_MANIFEST)],
            manifest_of(b"x"),
        ),
    })
    .await;
    let name = address.to_string().parse().unwrap();
    let digest = Digest::sha256(b"asked for");
    for image in [format!("a/b@{digest}"), "a/b:lying".to_owned()] {
        let error = client()
            .resolve(&reference(&name, &image), None)
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Damaged { .. }), "{error}");
    }
    let error = client()
        .resolve(&reference(&name, "a/b:endless"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    let into = Place::new();
    let error = pull(&reference(&name, "a/b:html"), &into).await.unwrap_err();
    assert!(matches!(error, ClientError::Manifest { .. }), "{error}");
}

#[tokio::test]
async fn basic_only_registries_get_the_password_and_only_they() {
    let address = serve_as(|request| match request.headers().get("authorization") {
        Some(value) if value == "Basic YWRhOnB3" => respond(
            200,
            &[("content-type", media_type::OCI_MANIFEST)],
            manifest_of(b"x"),
        ),
        _ => respond(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    })
    .await;
    let name = address.to_string().parse().unwrap();
    let image = reference(&name, "a/b");
    let client = Client::new(impatient()).unwrap();
    let ada = RegistryCredentials::new("ada", secret("pw"));
    client.resolve(&image, Some(&ada)).await.unwrap();
    client.login(&name, &ada).await.unwrap();
    for wrong in [None, Some(RegistryCredentials::new("ada", secret("other")))] {
        let error = client.resolve(&image, wrong.as_ref()).await.unwrap_err();
        assert!(matches!(error, ClientError::Denied { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tokens);
    let address = serve_as(move |request| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if path == "/token" {
            assert!(query.contains("service=reg"), "{query}");
            if query.contains("scope=") {
                assert!(query.contains("scope=repository:a/b:pull"), "{query}");
                counted.fetch_add(1, Ordering::Relaxed);
            }
            return respond(200, &[], r#"{"access_token":"t","expires_in":300}"#);
        }
        if request
            .headers()
            .get("authorization")
            .is_none_or(|value| value != "Bearer t")
        {
            return respond(
                401,
                &[("www-authenticate", r#"Bearer realm="/token",service="reg""#)],
                "",
            );
        }
        respond(
            200,
            &[("content-type", media_type::OCI_MANIFEST)],
            manifest_of(b"x"),
        )
    })
    .await;
    let image = reference(&address.to_string().parse().unwrap(), "a/b");
    let client = Client::new(impatient()).unwrap();
    let requests = (0..8).map(|_| client.resolve(&image, None));
    for outcome in futures::future::join_all(requests).await {
        outcome.unwrap();
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_repository_does_not_say_where_another_ones_password_goes() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let eavesdropper = serve_as(move |request| {
        let credentials = request.headers().get("authorization").cloned();
        hears.lock().unwrap().push(credentials);
        respond(200, &[], r#"{"token":"t"}"#)
    })
    .await;
    let address = serve_as(move |request| {
        let path = request.uri().path();
        if path == "/token" {
            assert!(request.headers().contains_key("authorization"));
            return respond(200, &[], r#"{"token":"t"}"#);
        }
        let realm = match path.starts_with("/v2/theirs/") {
            true => format!("http://{eavesdropper}/token"),
            false => "/token".to_owned(),
        };
        if !request.headers().contains_key("authorization") {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"reg\"");
            return respond(401, &[("www-authenticate", &challenge)], "");
        }
        respond(
            200,
            &[("content-type", media_type::OCI_MANIFEST)],
            manifest_of(b"x"),
        )
    })
    .await;
    let name = address.to_string().parse().unwrap();
    let client = Client::new(impatient()).unwrap();
    let ada = RegistryCredentials::new("ada", secret("word"));
    client
        .resolve(&reference(&name, "theirs/image"), None)
        .await
        .unwrap();
    client
        .resolve(&reference(&name, "ours/image"), Some(&ada))
        .await
        .unwrap();
    assert_eq!(
        *told.lock().unwrap(),
        [None],
        "it was asked once, without a password"
    );
}

/// A server that answers every request with these bytes and then neither says more nor hangs up.
async fn falls_silent_after(answer: &'static str) -> shipway_oci::Reference {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let ping = request[..length].starts_with(b"GET /v2/ ");
            let text = if ping {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
            } else {
                answer
            };
            stream.write_all(text.as_bytes()).await.unwrap();
            held.push(stream);
        }
    });
    reference(&address.to_string().parse().unwrap(), "a/b")
}

#[tokio::test]
async fn silence_has_a_limit() {
    let idle = Duration::from_millis(50);
    let timeouts = Timeouts {
        idle,
        attempts: 2,
        ..impatient().timeouts
    };
    let client = Client::new(ClientOptions {
        timeouts,
        ..impatient()
    })
    .unwrap();
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"] {
        let image = falls_silent_after(answer).await;
        let error = client.resolve(&image, None).await.unwrap_err();
        let ClientError::Unreachable { host, source } = error else {
            panic!("{error}")
        };
        assert_eq!(host, image.registry.to_string());
        assert!(source.to_string().contains("nothing came"), "{source}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_is_not_silence() {
    let idle = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    const SIZE: usize = 48_000_000;
    // Takes a layer in sips: all in all several times longer than silence may last.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1_000_000];
                let length = stream.read(&mut buffer).await.unwrap();
                let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let status = if head.starts_with("HEAD") {
                    "404 Not Found"
                } else if head.starts_with("POST") {
                    "202 Accepted\r\nLocation: /v2/upload"
                } else if head.starts_with("PUT /v2/upload")
                    && head.contains(&format!("content-length: {SIZE}"))
                {
                    let body_start = head.find("\r\n\r\n").unwrap() + 4;
                    let mut taken = length - body_start;
                    let mut ticks = tokio::time::interval(Duration::from_millis(15));
                    while taken < SIZE {
                        ticks.tick().await;
                        taken += stream.read(&mut buffer).await.unwrap();
                    }
                    "201 Created"
                } else if head.starts_with("PUT") {
                    let expected: usize = head
                        .split("content-length: ")
                        .nth(1)
                        .unwrap()
                        .split('\r')
                        .next()
                        .unwrap()
                        .parse()
                        .unwrap();
                    let mut taken = length - head.find("\r\n\r\n").unwrap() - 4;
                    while taken < expected {
                        taken += stream.read(&mut buffer).await.unwrap();
                    }
                    "201 Created"
                } else {
                    "200 OK"
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    let from = Place::new();
    let image = Image::random(&from.store, 1, &[SIZE], false);
    let timeouts = Timeouts {
        idle,
        attempts: 1,
        ..impatient().timeouts
    };
    let client = Client::new(ClientOptions {
        timeouts,
        ..impatient()
    })
    .unwrap();
    let to = reference(&address.to_string().parse().unwrap(), "a/b");
    let started = std::time::Instant::now();
    client
        .push(&from.store, &image.digest, &to, None, &())
        .await
        .unwrap();
    assert!(
        started.elapsed() > 2 * idle,
        "this test must outlast the limit to mean anything"
    );
}

/// Some servers send a blob in chunks and lose the connection before they have said that it was all.
#[tokio::test]
async fn a_blob_whose_connection_is_cut_after_its_last_byte_is_whole() {
    let layer = b"right layer";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let whole = |kind: &str, body: &[u8]| {
            let head = format!("Content-Type: {kind}\r\nContent-Length: {}", body.len());
            (format!("HTTP/1.1 200 OK\r\n{head}"), body.to_vec())
        };
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let (head, body) = if request.contains("/manifests/") {
                whole(media_type::OCI_MANIFEST, &manifest_of(layer))
            } else if !request.contains(Digest::sha256(layer).as_str()) {
                whole("application/json", b"{}")
            } else if request.contains("range:") {
                (
                    "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0".to_owned(),
                    Vec::new(),
                )
            } else {
                let chunk = [b"b\r\n", &layer[..], b"\r\n"].concat();
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked".to_owned(), chunk)
            };
            let head = format!("{head}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    });
    let into = Place::new();
    let image = reference(&address.to_string().parse().unwrap(), "a/b");
    pull(&image, &into).await.unwrap();
    assert!(into.store.blob(&Digest::sha256(layer)).unwrap().is_some());
}
