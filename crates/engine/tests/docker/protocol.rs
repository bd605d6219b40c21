//! What the command line never sends but others do: no Host header, too new a version, unknown routes, TLS.

use std::net::IpAddr;
use std::time::Duration;

use shipway_engine::certificates::CertificateAuthority;
use shipway_testkit::Peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::harness::tests;
use crate::house::{House, write};

tests![raw_requests, rubbish_is_survived, mutual_tls];

/// One exchange over the socket, until the engine closes it.
async fn exchange(house: &House, request: &str) -> String {
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("an answer and its end")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn raw_requests(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let ping = exchange(&house, "HEAD /_ping HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(
        ping.starts_with("HTTP/1.1 200 OK\r\n") && ping.contains("Api-Version: 1.47\r\n"),
        "{ping}"
    );
    assert!(
        ping.contains("Ostype: linux\r\n") && ping.contains("Server: Shipway/"),
        "{ping}"
    );
    let new = exchange(
        &house,
        "GET /v1.99/info HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        new.starts_with("HTTP/1.1 400") && new.contains("Content-Type: application/json\r\n"),
        "{new}"
    );
    assert!(
        new.ends_with(
            "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.47\"}"
        ),
        "{new}"
    );
    let unknown = exchange(
        &house,
        "POST /grpc HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    assert!(
        unknown.starts_with("HTTP/1.1 404") && unknown.contains("DOCKER_BUILDKIT=0"),
        "{unknown}"
    );
    let put = exchange(&house, "DELETE /v1.41/info HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(put.starts_with("HTTP/1.1 405"), "{put}");
    house.close().await;
}

async fn rubbish_is_survived(docker: Peer) {
    let house = House::with_busybox(docker).await;
    for request in [
        "POST /containers/create HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{x}",
        "POST /containers/create?name=../x HTTP/1.1\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"Image\":\"a:b\"}",
        "POST /build?t=%00 HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nrubb",
        "POST /images/load HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nrubb",
        "GET /containers/json?filters=%7B%22a HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /images/%2e%2e%2f/json HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST /exec/none/start HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade, close\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let answer = exchange(&house, request).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{request} → {answer}"
        );
    }
    assert_eq!(
        house.ok(&["run", "--rm", "busybox", "echo", "alive"]).await,
        "alive"
    );
    house.close().await;
}

async fn mutual_tls(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let authority = CertificateAuthority::ephemeral("job").unwrap();
    let names = ["docker".to_owned(), "localhost".to_owned()];
    let server = authority
        .issue_server(&names, &[IpAddr::from([127, 0, 0, 1])])
        .unwrap();
    let client = authority.issue_client("job").unwrap();
    let certificates = house.path("certs/client");
    write(&certificates.join("ca.pem"), authority.ca_pem());
    write(&certificates.join("cert.pem"), &client.cert_pem);
    write(&certificates.join("key.pem"), &client.key_pem);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(
        house
            .engine
            .serve_tls(listener, authority.mutual_tls(&server).unwrap()),
    );
    let run = async |host: &str, verify: bool| {
        let mut command = house.command(&["run", "--rm", "-i", "busybox", "cat"]);
        command
            .env("DOCKER_HOST", format!("tcp://{host}:{port}"))
            .env("DOCKER_CERT_PATH", &certificates);
        if verify {
            command.env("DOCKER_TLS_VERIFY", "1");
        }
        crate::house::finish(command.spawn().unwrap(), &["run"]).await
    };
    for host in ["localhost", "127.0.0.1"] {
        let said = run(host, true).await;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    write(
        &certificates.join("cert.pem"),
        &CertificateAuthority::ephemeral("x")
            .unwrap()
            .issue_client("x")
            .unwrap()
            .cert_pem,
    );
    assert_ne!(run("localhost", true).await.code, Some(0));
    std::fs::remove_dir_all(&certificates).unwrap();
    assert_ne!(run("localhost", false).await.code, Some(0));
    house.close().await;
}
