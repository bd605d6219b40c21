//! Connections that are cut, and how little is lost with them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shipway_oci::{Digest, Platform, RepositoryName};
use shipway_registry::{BlobProgress, Client, ClientOptions, Server, ServerOptions, Timeouts};
use shipway_testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{
    Ask, Image, Journal, Place, Registry, basic, client, impatient, reference, respond, serve_as,
};

/// A raw request that announces more than it sends, and then hangs up.
async fn send_and_hang_up(address: SocketAddr, head: String, body: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP/1.1 2"),
        "acknowledged: {}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_cut_in_the_middle_is_not_acknowledged_and_goes_on() {
    let registry = Registry::new();
    let (address, job) = (registry.listen(None).await, registry.job("a"));
    let data: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
    let digest = Digest::sha256(&data);
    for kept in [10, 300_000] {
        let place = registry
            .ask(&job, Ask::post("/v2/a/blobs/uploads/"))
            .await
            .header("location")
            .to_owned();
        let head = |method: &str, query: &str| {
            format!(
                "{method} {place}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 1000000\r\n\r\n",
                basic(&job)
            )
        };
        send_and_hang_up(address, head("PATCH", ""), &data[..kept]).await;
        let range = format!("0-{}", kept - 1);
        let stands_at =
            async |range: &str| registry.ask(&job, Ask::get(&place)).await.header("range") == range;
        eventually("what arrived is kept", async || stands_at(&range).await).await;
        let blob = registry
            .ask(&job, Ask::head(format!("/v2/a/blobs/{digest}")))
            .await;
        assert_eq!(blob.status, 404);

        // A PUT that is cut is no commit either.
        send_and_hang_up(
            address,
            head("PUT", &format!("?digest={digest}")),
            &data[kept..kept + 5],
        )
        .await;
        let range = format!("0-{}", kept + 4);
        eventually("what arrived is kept", async || stands_at(&range).await).await;

        let rest = Ask::put(format!("{place}?digest={digest}")).body(data[kept + 5..].to_vec());
        let done = eventually_not_busy(&registry, &job, rest).await;
        assert_eq!(done, 201);
        let blob = registry
            .ask(&job, Ask::get(format!("/v2/a/blobs/{digest}")))
            .await;
        assert!(blob.body == data);
        assert_eq!(
            registry
                .ask(&job, Ask::delete(format!("/v2/a/blobs/{digest}")))
                .await
                .status,
            202
        );
    }
}

/// The writer of the cut request may need a moment to let go of the upload.
async fn eventually_not_busy(
    registry: &Registry,
    job: &shipway_registry::RegistryCredentials,
    ask: Ask,
) -> u16 {
    let mut status = 0;
    let ask = Arc::new(ask);
    eventually("the upload is free", async || {
        status = registry.ask(job, (*ask).clone()).await.status;
        status != 409
    })
    .await;
    status
}

/// After how many bytes of a connection a proxy cuts it.
#[derive(Clone, Copy)]
enum Cut {
    Answers(u64),
    Requests(u64),
}

/// Passes connections on, but cuts each of the first `cuts`; counts the bytes of the direction that it cuts.
async fn cutting_proxy(to: SocketAddr, cuts: usize, cut: Cut) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&passed);
    tokio::spawn(async move {
        for at in 0.. {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(to).await.unwrap();
            let counted = Arc::clone(&counted);
            let (source, drain, after) = match cut {
                Cut::Answers(after) => (far, near, after),
                Cut::Requests(after) => (near, far, after),
            };
            let limit = if at < cuts { after } else { u64::MAX };
            tokio::spawn(async move {
                let (source_in, mut source_out) = source.into_split();
                let (mut drain_in, mut drain_out) = drain.into_split();
                let back = tokio::spawn(async move { copy(&mut drain_in, &mut source_out).await });
                let mut limited = source_in.take(limit);
                let mut piece = vec![0; 16 * 1024];
                while let Ok(length @ 1..) = limited.read(&mut piece).await {
                    counted.fetch_add(length, Ordering::Relaxed);
                    if drain_out.write_all(&piece[..length]).await.is_err() {
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    (address, passed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_where_it_was_cut() {
    let (registry, into) = (Registry::open_to_all(), Place::new());
    let address = registry.listen(None).await;
    let direct = reference(&address.to_string().parse().unwrap(), "a/big");
    let (_from, image) = registry.pushed(&[8_000_000], &direct, &registry.job("a")).await;

    let (proxy, passed) = cutting_proxy(address, 6, Cut::Answers(1_500_000)).await;
    let through = reference(&proxy.to_string().parse().unwrap(), "a/big");
    let journal = Journal::default();
    let pulled = client()
        .pull(&through, &Platform::host(), None, &into.store, &journal)
        .await
        .unwrap();
    assert_eq!(pulled.manifest.digest, image.digest);
    image.assert_in(&into.store);
    assert!(journal.count(BlobProgress::Retrying) >= 2);
    let total = passed.load(Ordering::Relaxed);
    assert!(
        total < 10_000_000,
        "{total} bytes passed: it began again instead of going on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_goes_on_where_it_was_cut() {
    let (registry, from) = (Registry::new(), Place::new());
    let image = Image::random(&from.store, 9, &[8_000_000], false);
    let job = registry.job("a");
    // No connection lasts for all of it, and there are more of them than one thing is tried without progress.
    let cut = Cut::Requests(600_000);
    let (proxy, passed) = cutting_proxy(registry.listen(None).await, usize::MAX, cut).await;
    let through = reference(&proxy.to_string().parse().unwrap(), "a/big");
    let journal = Journal::default();
    let client = Client::new(ClientOptions {
        timeouts: Timeouts {
            attempts: 10,
            pause: Duration::from_millis(20),
            ..Timeouts::default()
        },
        ..impatient()
    })
    .unwrap();
    client
        .push(&from.store, &image.digest, &through, Some(&job), &journal)
        .await
        .unwrap();
    image.assert_in(registry.store());
    assert!(journal.count(BlobProgress::Retrying) >= 12);
    assert!(passed.load(Ordering::Relaxed) > 8_000_000);
}

/// Cut after the last byte, before the answer: the registry has the blob, and is not sent it again.
#[tokio::test]
async fn a_push_whose_answer_was_lost_is_done() {
    let from = Place::new();
    let image = Image::random(&from.store, 9, &[1000], false);
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    let address = serve_as(move |request| {
        let there = counted.load(Ordering::Relaxed) > 0;
        match request.method().as_str() {
            "HEAD" => respond(if there { 200 } else { 404 }, &[], ""),
            "POST" => respond(202, &[("location", "/v2/upload")], ""),
            "PUT" if request.uri().path() == "/v2/upload" => {
                counted.fetch_add(1, Ordering::Relaxed);
                // As a proxy says it whose connection to the registry was cut.
                respond(502, &[], "")
            }
            "PUT" => respond(201, &[], ""),
            _ => respond(404, &[], "{}"),
        }
    })
    .await;
    let there = reference(&address.to_string().parse().unwrap(), "a/b");
    let client = Client::new(ClientOptions {
        parallel_blobs: 1,
        ..impatient()
    })
    .unwrap();
    client
        .push(&from.store, &image.digest, &there, None, &())
        .await
        .unwrap();
    assert_eq!(
        puts.load(Ordering::Relaxed),
        1,
        "the second blob is there by then"
    );
}

/// A registry that says how much it has of an upload, and takes no rest of it.
#[tokio::test]
async fn a_registry_that_takes_no_rest_gets_all_again() {
    let layer = vec![7; 1000];
    let from = Place::new();
    let image = Image::random(&from.store, 9, &[layer.len()], false);
    let puts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&puts);
    let address = serve_as(move |request| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        match (method, path) {
            ("HEAD", _) => respond(404, &[], ""),
            ("POST", _) => respond(202, &[("location", "/v2/upload")], ""),
            ("GET", "/v2/upload") => respond(204, &[("range", "0-499")], ""),
            ("PUT", "/v2/upload") => {
                let mut puts = noted.lock().unwrap();
                let length = request.body().len();
                puts.push((length, request.headers().contains_key("content-range")));
                let status = match puts.iter().filter(|(length, _)| *length >= 500).count() {
                    1 => 503,
                    2 | 3 => 400,
                    _ => 201,
                };
                respond(if length < 500 { 201 } else { status }, &[], "")
            }
            ("PUT", _) => respond(201, &[], ""),
            _ => respond(200, &[], "{}"),
        }
    })
    .await;
    let there = reference(&address.to_string().parse().unwrap(), "a/b");
    client()
        .push(&from.store, &image.digest, &there, None, &())
        .await
        .unwrap();
    let mut puts = puts.lock().unwrap().clone();
    puts.retain(|(length, _)| *length >= 500);
    assert_eq!(puts, [(1000, false), (500, true), (500, true), (1000, false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_always_cuts_is_given_up() {
    let (registry, into) = (Registry::open_to_all(), Place::new());
    let address = registry.listen(None).await;
    let direct = reference(&address.to_string().parse().unwrap(), "a/big");
    let (_from, image) = registry.pushed(&[8_000_000], &direct, &registry.job("a")).await;
    let (proxy, _) = cutting_proxy(address, usize::MAX, Cut::Answers(900)).await;
    let through = reference(&proxy.to_string().parse().unwrap(), "a/big");
    let error = client()
        .pull(&through, &Platform::host(), None, &into.store, &())
        .await
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert_eq!(into.store.blob(&image.manifest.layers[0].digest).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_lets_requests_end() {
    let registry = Registry::new();
    let job = registry.job("a");
    let server = Server::new(registry.authority.clone(), ServerOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move { server.serve(listener, None, stopped).await });

    let digest = Digest::sha256(b"slow");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 4\r\n\
         Expect: 100-continue\r\n\r\n",
        basic(&job)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert!(line.starts_with(b"HTTP/1.1 100 Continue"));
    let silent = TcpStream::connect(address).await.unwrap();
    let started = std::time::Instant::now();
    stop.send(()).unwrap();
    eventually("new connections are refused", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    stream.write_all(b"slow").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 201"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    serving.await.unwrap().unwrap();
    assert!(
        started.elapsed() < ServerOptions::default().shutdown_timeout,
        "it waited for who said nothing"
    );
    drop(silent);
    let name: RepositoryName = "a".parse().unwrap();
    assert!(
        registry
            .store()
            .repository_blob(&name, &digest)
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_before_sending_is_answered_before_sending() {
    let registry = Registry::new();
    let mut stream = TcpStream::connect(registry.listen(None).await).await.unwrap();
    let head = "POST /v2/a/blobs/uploads/?digest=x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\
                Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 401");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_just_sends_can_still_read_why_not() {
    let registry = Registry::new();
    let mut stream = TcpStream::connect(registry.listen(None).await).await.unwrap();
    let head = "POST /v2/a/blobs/uploads/?digest=x HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; 8_000_000]).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 401");
}

/// A large upload that finds no place is read, so that its client, which is still writing, gets to read why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_refused_in_the_middle_of_its_upload_reads_the_answer() {
    const WHOLE: usize = 8_000_000;
    let registry = Registry::new();
    let options = ServerOptions {
        max_streams_each: 1,
        stream_patience: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let server = Server::new(registry.authority.clone(), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener, None, std::future::pending::<()>()).await });

    let data = vec![7; WHOLE];
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {WHOLE}\r\n\r\n",
        Digest::sha256(&data),
        basic(&registry.job("a")),
    );
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(&data[..WHOLE / 2]).await.unwrap();
    let store = registry.store();
    eventually("the first one has its place", async || {
        store.usage().unwrap().uploads == 1
    })
    .await;

    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(head.as_bytes()).await.unwrap();
    second.write_all(&data).await.unwrap();
    let mut status = [0; 12];
    second.read_exact(&mut status).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 429");

    first.write_all(&data[WHOLE / 2..]).await.unwrap();
    first.read_exact(&mut status).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 201");
}

async fn serve_with(registry: &Registry, options: ServerOptions) -> SocketAddr {
    let server = Server::new(registry.authority.clone(), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener, None, std::future::pending::<()>()).await });
    address
}

/// `P` may begin an HTTP/1 request or the preface of HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_a_head_and_does_not_end_it_loses_the_connection() {
    let options = ServerOptions {
        header_timeout: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let address = serve_with(&Registry::new(), options).await;
    for begun in ["P", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Never: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{begun:?} holds the connection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_leaves_places_to_others() {
    let options = ServerOptions {
        max_connections: 3,
        max_connections_each: 2,
        ..ServerOptions::default()
    };
    let address = serve_with(&Registry::new(), options).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    assert!(matches!(third.read_to_end(&mut nothing).await, Ok(0) | Err(_)));

    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(address).await.unwrap();
    other
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut status = [0; 12];
    other.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
}
