//! What the command line never sends but others do: no Host header, too new a version, unknown routes, TLS.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use shipway_engine::certificates::CertificateAuthority;
use shipway_sandbox::IdMap;
use shipway_testkit::Peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::harness::tests;
use crate::house::{House, exchange, write};

tests![
    raw_requests,
    rubbish_is_survived,
    a_terminal_can_be_left_and_taken_up_again,
    a_client_that_leaves_leaves_nothing_half_made,
    mutual_tls,
];

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

async fn a_terminal_can_be_left_and_taken_up_again(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house
        .ok(&["create", "-it", "--name", "talk", "busybox", "cat"])
        .await;
    house.ok(&["start", "talk"]).await;
    for word in ["first", "second"] {
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        let request = "POST /v1.41/containers/talk/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
            Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        let heard = async |stream: &mut UnixStream, said: &mut String, end: &str| {
            while !said.contains(end) {
                let mut bytes = [0; 256];
                let read = stream.read(&mut bytes).await.unwrap();
                assert!(read > 0, "it ends early: {said}");
                said.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        };
        heard(&mut stream, &mut said, "\r\n\r\n").await;
        stream.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        // The terminal says it, and the program.
        let twice = format!("{word}\r\n{word}\r\n");
        let hearing = heard(&mut stream, &mut said, &twice);
        tokio::time::timeout(Duration::from_secs(30), hearing)
            .await
            .unwrap_or_else(|_| panic!("nobody reads {word}"));
    }
    house.close().await;
}

async fn a_client_that_leaves_leaves_nothing_half_made(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let body = r#"{"Image":"busybox"}"#;
    for number in 0..40 {
        let request = format!(
            "POST /containers/create?name=left{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Gone a little later each time: at some time in the middle.
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(number) {
            tokio::task::yield_now().await;
        }
    }
    // What is made is known, so that it can be removed.
    let keepers = house
        .runtime
        .data()
        .join("keeper")
        .join(IdMap::detect().unwrap().class());
    let containers = keepers.join(house.pod.directory()).join("containers");
    let settled = async {
        loop {
            let known = house.ok(&["ps", "-aq"]).await.lines().count();
            let made = std::fs::read_dir(&containers).unwrap().count();
            if made == known && made > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settled)
        .await
        .expect("what was made is known");
    house.ok(&["container", "prune", "-f"]).await;
    assert_eq!(std::fs::read_dir(&containers).unwrap().count(), 0);
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
    let plain = run("localhost", false).await;
    assert_ne!(plain.code, Some(0));
    assert!(
        plain
            .stderr
            .contains("Client sent an HTTP request to an HTTPS server"),
        "{plain:?}"
    );
    house.close().await;
}
