//! Networks, names, published ports.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use shipway_testkit::Peer;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::harness::tests;
use crate::house::House;

tests![
    networks_come_and_go,
    containers_find_each_other_by_name,
    published_ports_lead_in,
    the_machine_reaches_what_is_published_on_it,
    prune_leaves_what_is_younger,
];

async fn networks_come_and_go(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let listed = house.ok(&["network", "ls", "--format", "{{.Name}}"]).await;
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["bridge", "host", "none"]);
    house.ok(&["network", "create", "ci"]).await;
    house
        .docker(&["network", "create", "ci"])
        .await
        .failed(1, "already exists");
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "member",
            "--network",
            "ci",
            "busybox",
            "sleep",
            "600",
        ])
        .await;
    house
        .docker(&["network", "rm", "ci"])
        .await
        .failed(1, "active endpoints");
    assert_eq!(
        house
            .ok(&[
                "network",
                "inspect",
                "ci",
                "--format",
                "{{range .Containers}}{{.Name}}{{end}}"
            ])
            .await,
        "member"
    );
    house
        .docker(&["run", "--rm", "--network", "none-such", "busybox", "true"])
        .await
        .failed(125, "not found");
    house.ok(&["network", "disconnect", "ci", "member"]).await;
    house
        .docker(&["network", "connect", "--ip", "198.18.0.77", "ci", "member"])
        .await
        .failed(1, "--ip");
    house.ok(&["volume", "rm", "-f", "none-such"]).await;
    house
        .docker(&["volume", "rm", "none-such"])
        .await
        .failed(1, "such volume");
    house
        .ok(&["network", "connect", "--alias", "late", "ci", "member"])
        .await;
    house.ok(&["rm", "-f", "member"]).await;
    house.ok(&["network", "rm", "ci"]).await;
    house.close().await;
}

async fn containers_find_each_other_by_name(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house.ok(&["network", "create", "ci"]).await;
    let serve = "while :; do echo hello | nc -l -p 80 >/dev/null; done";
    house
        .ok(&[
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "ci",
            "--network-alias",
            "www",
            "busybox",
            "sh",
            "-c",
            serve,
        ])
        .await;
    for name in ["web", "www"] {
        let fetch = format!("until nc {name} 80 </dev/null | head -n 1; do :; done");
        let said = house
            .ok(&["run", "--rm", "--network", "ci", "busybox", "sh", "-c", &fetch])
            .await;
        assert_eq!(said.lines().last(), Some("hello"), "{name}");
    }
    house.close().await;
}

async fn published_ports_lead_in(docker: Peer) {
    let house = House::with_busybox(docker).await;
    let serve = "while :; do echo served | nc -l -p 80 >/dev/null; done";
    house
        .ok(&[
            "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", serve,
        ])
        .await;
    let port = house.ok(&["port", "web", "80"]).await;
    assert!(port.contains(":8080"), "{port}");
    house
        .docker(&["run", "-d", "-p", "8080:80", "busybox", "sleep", "600"])
        .await
        .failed(125, "8080");
    let mut text = String::new();
    // The container may not listen yet.
    while text.is_empty() {
        let mut stream = house
            .pod
            .connect(SocketAddrV4::new(published(), 8080))
            .await
            .unwrap();
        let _ = stream.read_to_string(&mut text).await;
    }
    assert_eq!(text, "served\n");
    house.close().await;
}

/// Whether what listens there says the word: the container may not listen yet, and is let through then with nothing.
async fn hear(address: SocketAddr) -> String {
    let mut text = String::new();
    while text.is_empty() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}

/// Nobody listens there any more. A program that another test of this process starts holds every descriptor until it is
/// executed, a closed listener as well.
async fn free(address: SocketAddr) {
    let refused = move || match std::net::TcpStream::connect(address) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{address}: {other:?}")),
    };
    let waiting =
        tokio::task::spawn_blocking(move || shipway_testkit::wait_for(Duration::from_secs(20), refused));
    waiting.await.unwrap().unwrap();
}

async fn the_machine_reaches_what_is_published_on_it(docker: Peer) {
    let house = House::of_machine_with_busybox(docker).await;
    let serve = "while :; do echo served | nc -l -p 80 >/dev/null; done";
    let run = |name, port| {
        [
            "run", "-d", "--name", name, "-p", port, "busybox", "sh", "-c", serve,
        ]
    };
    house.ok(&run("web", "80")).await;
    let shown = house.ok(&["port", "web", "80"]).await;
    let address: SocketAddr = shown.parse().unwrap();
    assert!(
        address.ip() == Ipv4Addr::LOCALHOST && address.port() != 0,
        "{shown}"
    );
    let listed = house.ok(&["ps", "--format", "{{.Ports}}"]).await;
    assert_eq!(listed, format!("{address}->80/tcp"));
    assert_eq!(hear(address).await, "served\n");

    let taken = format!("{}:80", address.port());
    house
        .docker(&run("second", &taken))
        .await
        .failed(125, "port is already allocated");
    // Attached and with --rm, the CLI waits for the removal of what could not start.
    house
        .docker(&[
            "run", "--rm", "--name", "attached", "-p", &taken, "busybox", "sleep", "60",
        ])
        .await
        .failed(125, "port is already allocated");
    assert_eq!(house.ok(&["ps", "-aq", "--filter", "name=attached"]).await, "");
    house
        .docker(&run("nowhere", "localhost.invalid:0:80"))
        .await
        .failed(125, "invalid");

    house.ok(&run("loop", "127.0.0.2::80")).await;
    let shown = house.ok(&["port", "loop", "80"]).await;
    assert!(shown.starts_with("127.0.0.2:"), "{shown}");
    assert_eq!(hear(shown.parse().unwrap()).await, "served\n");
    house.ok(&run("all", "0.0.0.0::80")).await;
    let shown = house.ok(&["port", "all", "80"]).await;
    assert!(shown.starts_with("0.0.0.0:"), "{shown}");

    house.ok(&["rm", "-f", "web"]).await;
    free(address).await;
    // A name given up with the failed start is free again, and so is the port.
    house.ok(&["start", "second"]).await;
    assert_eq!(hear(address).await, "served\n");
    house.close().await;
    free(address).await;
}

async fn prune_leaves_what_is_younger(docker: Peer) {
    let house = House::with_busybox(docker).await;
    house.ok(&["tag", "busybox", "kept"]).await;
    house.ok(&["run", "--name", "ended", "busybox", "true"]).await;
    house.ok(&["network", "create", "idle"]).await;
    house.ok(&["volume", "create"]).await;
    let prune = |what: &'static str, filter: &'static str| {
        let mut arguments = vec![what, "prune", "--force", "--filter", filter];
        if what == "image" {
            arguments.push("--all");
        }
        arguments
    };
    let counts = || async {
        let mut counts = Vec::new();
        for arguments in [
            ["ps", "-aq"].as_slice(),
            &["network", "ls", "-q", "--filter", "type=custom"],
            &["volume", "ls", "-q"],
            &["images", "-q", "kept"],
        ] {
            counts.push(house.ok(arguments).await.lines().count());
        }
        counts
    };
    let kinds = ["container", "network", "volume", "image"];
    for what in kinds {
        for filter in ["until=1h", "until=1000000000"] {
            house.ok(&prune(what, filter)).await;
        }
        for filter in ["until=soon", "until=2023-11-14", "colour=red"] {
            house
                .docker(&prune(what, filter))
                .await
                .failed(1, "invalid filter");
        }
        assert_eq!(counts().await, [1, 1, 1, 1], "{what}");
    }
    house
        .docker(&["image", "prune", "--force", "--filter", "dangling=perhaps"])
        .await
        .failed(1, "true or false");
    for arguments in [
        ["ps", "--filter", "colour=red"].as_slice(),
        &["images", "--filter", "colour=red"],
        &["volume", "ls", "--filter", "colour=red"],
        &["network", "ls", "--filter", "colour=red"],
        &["builder", "prune", "--force", "--filter", "colour=red"],
    ] {
        house.docker(arguments).await.failed(1, "invalid filter");
    }
    for what in kinds {
        house.ok(&prune(what, "until=0s")).await;
    }
    assert_eq!(counts().await, [0, 0, 0, 0]);
    house.close().await;
}

fn published() -> Ipv4Addr {
    shipway_container::Pod::GATEWAY
}
