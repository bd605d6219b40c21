//! `ADD http://…` against a server of our own.

use std::sync::Arc;

use shipway_build::{BuildRequest, Builder, Context, RunNetwork};
use shipway_container::Egress;
use shipway_oci::{Digest, with_causes};
use shipway_registry::{Client, ClientOptions, EgressPolicy, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, context, request};

shipway_testkit::tests!(
    files_are_fetched,
    the_egress_policy_is_asked,
    a_step_has_a_network
);

/// Serves `served` under every path but `/none`; gives its address.
async fn serve(served: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let served = served.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let status = if request.starts_with(b"GET /none") {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    served.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &served].concat()).await;
            });
        }
    });
    format!("http://{address}")
}

/// A build whose steps may reach the loopback.
fn near(text: &str) -> BuildRequest {
    let mut wanted = request(Context::Empty, text);
    wanted.egress = Some(Egress::new([], ["127.0.0.1".parse().unwrap()]));
    wanted
}

async fn files_are_fetched() {
    let house = House::new().await;
    let url = serve(b"from afar".to_vec()).await;
    let digest = Digest::sha256(b"from afar");
    let text = format!(
        "FROM scratch\nADD {url}/dir/file.txt?x=1 /in/\nADD --checksum={digest} --chmod=0644 {url}/other /named\n"
    );
    let (built, _) = house.built(near(&text)).await;
    let image = house.image(&built);
    let entries: Vec<String> = image
        .layers
        .iter()
        .flat_map(|layer| house.layer(&layer.digest))
        .collect();
    assert_eq!(
        entries,
        [
            "d0755 0:0   0 in/",
            "-0600 0:0   9 in/file.txt",
            "-0644 0:0   9 named"
        ]
    );
    for (text, what) in [
        (format!("FROM scratch\nADD {url}/none /x\n"), "404"),
        (
            format!(
                "FROM scratch\nADD --checksum={} {url}/a /x\n",
                Digest::sha256(b"")
            ),
            "has the digest",
        ),
        (format!("FROM scratch\nADD {url}/ /x/\n"), "no file name"),
    ] {
        let (result, _) = house.build(near(&text)).await;
        let error = with_causes(&result.unwrap_err());
        assert!(
            error.starts_with("Dockerfile:2") && error.contains(what),
            "{error}"
        );
    }
}

/// Nothing may be reached.
struct Nowhere;

impl EgressPolicy for Nowhere {
    fn permits(&self, _peer: std::net::SocketAddr) -> bool {
        false
    }
}

async fn the_egress_policy_is_asked() {
    let house = House::new().await;
    let url = serve(b"secret".to_vec()).await;
    let timeouts = Timeouts {
        attempts: 1,
        ..Timeouts::default()
    };
    let options = ClientOptions {
        egress: Arc::new(Nowhere),
        timeouts,
        ..ClientOptions::default()
    };
    let client = Client::new(options).unwrap();
    let builder = Builder::new(house.runtime.clone(), house.store.clone(), client);
    let text = format!("FROM scratch\nADD {url}/a /a\n");
    assert!(builder.build(near(&text), &()).await.is_err());
    // A client that may go everywhere takes ADD no further than a RUN comes.
    let (result, _) = house.build(request(Context::Empty, &text)).await;
    let error = with_causes(&result.unwrap_err());
    assert!(error.contains("127.0.0.1"), "{error}");
}

async fn a_step_has_a_network() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let mut wanted = request(
        files,
        "FROM busybox\nRUN test -s /etc/resolv.conf && test -e /sys/class/net/eth0 && touch /x\n",
    );
    wanted.network = RunNetwork::Pod;
    let (built, _) = house.built(wanted).await;
    let entries = house.layer(&house.image(&built).layers[1].digest);
    assert!(entries.iter().any(|line| line.ends_with(" x")), "{entries:?}");
    assert!(entries.iter().all(|line| !line.contains("resolv")), "{entries:?}");
}
