//! Names, neighbours, services of this process, and the way out.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use shipway_container::{Egress, EgressException, Network, Pod};
use shipway_sandbox::ExitStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::tests;
use crate::house::{House, run, script, until};

tests!(
    containers_find_each_other_by_name,
    a_service_of_this_process_is_reached_by_its_name,
    the_relay_reaches_what_the_policy_permits,
    the_relay_resets_what_the_policy_denies,
    without_a_network_there_is_nothing,
    unknown_names_fail_and_do_not_hang,
);

/// An address of this machine that is no loopback: what stands for "outside" here.
fn outside() -> Option<Ipv4Addr> {
    nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find(|address| !address.is_loopback())
}

async fn containers_find_each_other_by_name() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let mut options = script(&image, "echo listening; echo hello from db | nc -l -p 5432");
    options.network = Network::Pod;
    options.names = vec!["db".into(), "postgres".into()];
    let db = pod.create(options.clone()).await.unwrap();
    assert_eq!(db.names(), ["db", "postgres"]);
    db.start().await.unwrap();
    until(&mut db.logs(true), "listening").await;

    options.names = vec!["db".into()];
    let late = pod.create(options).await.unwrap();
    assert_eq!(late.refused_names(), ["db"], "the first holder keeps a name");

    let mut options = script(
        &image,
        "until nc postgres 5432; do :; done; hostname; cat /etc/resolv.conf",
    );
    options.network = Network::Pod;
    options.hostname = Some("web".into());
    let (status, output) = run(&pod, options).await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    assert!(
        output.contains("hello from db\nweb\nnameserver 198.18.0.1\n"),
        "{output}"
    );
    assert!(pod.address_of("web").is_none(), "names go with their container");
    assert_eq!(pod.address_of("db"), db.address());
    pod.close().await;
}

async fn a_service_of_this_process_is_reached_by_its_name() {
    let house = House::new().await;
    let image = house.busybox();
    let pod = house.pod().await;
    let address = pod.reserve_address().unwrap();
    let listener = pod.listen(SocketAddrV4::new(address, 2375)).await.unwrap();
    let second = pod.listen(SocketAddrV4::new(address, 2376)).await.unwrap();
    assert!(pod.add_name("docker", address));
    let serving = tokio::spawn(async move {
        for listener in [listener, second] {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4];
            client.read_exact(&mut asked).await.unwrap();
            client.write_all(b"pong").await.unwrap();
            assert_eq!(&asked, b"ping");
        }
    });
    let mut options = script(
        &image,
        "printf ping | nc docker 2375; printf ping | nc docker 2376",
    );
    options.network = Network::Pod;
    assert_eq!(run(&pod, options).await, (ExitStatus::Code(0), "pongpong".into()));
    serving.await.unwrap();
    pod.close().await;
}

async fn the_relay_reaches_what_the_policy_permits() {
    let Some(outside) = outside() else { return };
    let house = House::new().await;
    let listener = TcpListener::bind((outside, 0)).await.unwrap();
    let peer = listener.local_addr().unwrap();
    let pod = house
        .pod_with(Egress::detect([EgressException::from(peer)]).unwrap())
        .await;
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        client.read_to_end(&mut request).await.unwrap();
        client
            .write_all(format!("{} bytes", request.len()).as_bytes())
            .await
            .unwrap();
    });
    let command = format!("head -c 3000000 /dev/zero | nc {} {}", peer.ip(), peer.port());
    let mut options = script(&house.busybox(), &command);
    options.network = Network::Pod;
    assert_eq!(
        run(&pod, options).await,
        (ExitStatus::Code(0), "3000000 bytes".into())
    );
    serving.await.unwrap();
    pod.close().await;
}

async fn the_relay_resets_what_the_policy_denies() {
    let Some(outside) = outside() else { return };
    let house = House::new().await;
    let image = house.busybox();
    let listener = TcpListener::bind((outside, 0)).await.unwrap();
    let peer = listener.local_addr().unwrap();
    let pod = house.pod().await;
    let relay: SocketAddr = "198.18.0.1:15001".parse().unwrap();
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    for denied in [peer, relay, metadata] {
        // The peer says nothing, so only a reset can end this before the test's own bound.
        let command = format!(
            "nc {} {} < /dev/zero > /dev/null; echo over",
            denied.ip(),
            denied.port()
        );
        let mut options = script(&image, &command);
        options.network = Network::Pod;
        let (_, output) = run(&pod, options).await;
        assert!(output.contains("over\n"), "{denied}: {output}");
    }
    tokio::select! {
        biased;
        accepted = listener.accept() => panic!("a denied peer was dialled: {accepted:?}"),
        () = std::future::ready(()) => {}
    }
    pod.close().await;
}

async fn without_a_network_there_is_nothing() {
    let house = House::new().await;
    let pod = house.pod().await;
    let (_, output) = run(
        &pod,
        script(&house.busybox(), "nc -w 1 198.18.0.1 53 || echo unreachable"),
    )
    .await;
    assert!(output.contains("unreachable"), "{output}");
    pod.close().await;
}

async fn unknown_names_fail_and_do_not_hang() {
    let house = House::new().await;
    let pod: Pod = house.pod().await;
    let mut options = script(
        &house.busybox(),
        "nslookup nobody.invalid > /dev/null 2>&1 || echo none",
    );
    options.network = Network::Pod;
    let (_, output) = run(&pod, options).await;
    assert_eq!(output, "none\n");
    pod.close().await;
}
