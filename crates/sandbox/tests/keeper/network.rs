//! Containers on the pod's bridge.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use shipway_sandbox::{ContainerNetwork, ContainerSpec, ExitStatus, NetworkPlan, Stdio};

use crate::house::{BRIDGE, House, Test, container};

pub(crate) const TESTS: &[Test] = &[
    (
        "network::what_goes_outside_is_redirected",
        what_goes_outside_is_redirected,
    ),
    ("network::a_failed_dial_is_a_reset", a_failed_dial_is_a_reset),
    (
        "network::containers_reach_each_other_and_services",
        containers_reach_each_other_and_services,
    ),
    ("network::no_network_is_none", no_network_is_none),
    (
        "network::hardware_addresses_follow_from_addresses",
        hardware_addresses_follow_from_addresses,
    ),
];

const RELAY: u16 = 7000;

fn networked() -> House {
    let house = House::with_busybox();
    let plan = NetworkPlan {
        address: BRIDGE,
        prefix: 16,
        redirect_tcp: Some(RELAY),
    };
    house.keeper.configure_network(&plan).unwrap();
    house
}

fn on_bridge(house: &House, last: u8, script: &str) -> ContainerSpec {
    let mut spec = container(house.root(&format!("c{last}")), &["/bin/sh", "-c", script]);
    spec.network = ContainerNetwork::Bridge(Ipv4Addr::new(198, 18, 0, last));
    spec
}

fn what_goes_outside_is_redirected() {
    let house = networked();
    let listener = house.keeper.listen_tcp(SocketAddrV4::new(BRIDGE, RELAY)).unwrap();
    let listener = TcpListener::from(listener);
    let (started, mut output) = house.start(on_bridge(&house, 5, "echo hi | nc 93.184.216.34 443"));
    let (mut connection, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(198, 18, 0, 5));
    let meant = original_destination(&connection);
    assert_eq!(meant, SocketAddrV4::new(Ipv4Addr::new(93, 184, 216, 34), 443));
    connection.write_all(b"relayed\n").unwrap();
    let mut said = [0; 3];
    connection.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hi\n");
    drop(connection);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "relayed\n");
    assert_eq!(house.keeper.wait(started.process).unwrap(), ExitStatus::Code(0));
}

/// What a client sees when the relay cannot reach what it meant: connected, then reset. Without a relay: refused.
fn a_failed_dial_is_a_reset() {
    let house = networked();
    let listener = house.keeper.listen_tcp(SocketAddrV4::new(BRIDGE, RELAY)).unwrap();
    let listener = TcpListener::from(listener);
    let script = "busybox wget -q -O - http://203.0.113.1:81/ 2>&1; echo $?; read line; nc 203.0.113.1 81 2>&1; echo $?";
    let (read, write) = house.keeper.pipe().unwrap();
    let (stdin, mut go_on) = house
        .keeper
        .pipe()
        .map(|(read, write)| (read, std::fs::File::from(write)))
        .unwrap();
    let stdio = Stdio {
        stdin: Some(stdin),
        stdout: Some(write),
        stderr: None,
    };
    let started = house.keeper.start(on_bridge(&house, 5, script), stdio).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    connection.read_exact(&mut [0; 3]).unwrap();
    rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
    drop((connection, listener));
    go_on.write_all(b"now\n").unwrap();
    let mut text = String::new();
    std::fs::File::from(read).read_to_string(&mut text).unwrap();
    house.keeper.wait(started.process).unwrap();
    assert_eq!(
        text,
        "wget: error getting response: Connection reset by peer\n1\n\
         nc: can't connect to remote host (203.0.113.1): Connection refused\n1\n"
    );
}

/// What a redirected connection was meant for.
fn original_destination(connection: &TcpStream) -> SocketAddrV4 {
    rustix::net::sockopt::ip_original_dst(connection.as_fd()).unwrap()
}

fn containers_reach_each_other_and_services() {
    let house = networked();
    let dns = UdpSocket::from(house.keeper.bind_udp(SocketAddrV4::new(BRIDGE, 53)).unwrap());
    let service = Ipv4Addr::new(198, 18, 0, 2);
    house.keeper.add_address(service).unwrap();
    let listener = TcpListener::from(house.keeper.listen_tcp(SocketAddrV4::new(service, 5000)).unwrap());

    let (server, _output) = house.start(on_bridge(&house, 10, "echo served | nc -l -p 80"));
    let script = "busybox nslookup -type=a name.test 198.18.0.1; nc 198.18.0.2 5000; \
                  until nc 198.18.0.10 80; do :; done; nc 198.18.0.10 81 || echo refused";
    let (client, mut output) = house.start(on_bridge(&house, 11, script));
    let mut message = [0; 512];
    let (length, from) = dns.recv_from(&mut message).unwrap();
    assert_eq!(from.ip(), Ipv4Addr::new(198, 18, 0, 11));
    // An answer: no such name.
    message[2] |= 0x80;
    message[3] = 3;
    dns.send_to(&message[..length], from).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    connection.write_all(b"service\n").unwrap();
    drop(connection);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(
        text.contains("NXDOMAIN") && text.contains("service\n") && text.contains("served\n"),
        "{text}"
    );
    assert!(text.ends_with("refused\n"), "{text}");
    house.keeper.wait(client.process).unwrap();
    house.keeper.wait(server.process).unwrap();

    let connected = house
        .keeper
        .connect_tcp(SocketAddrV4::new(service, 5000))
        .unwrap();
    assert_eq!(
        TcpStream::from(connected).peer_addr().unwrap(),
        SocketAddr::from((service, 5000))
    );
    assert!(
        house
            .keeper
            .connect_tcp(SocketAddrV4::new(service, 5001))
            .is_err()
    );
}

fn no_network_is_none() {
    let house = networked();
    let (_, text) = house.script(
        "c",
        "ip -o -4 addr; nc -w 1 198.18.0.1 1 2>/dev/null || echo none",
    );
    assert!(text.contains("127.0.0.1/8"), "{text}");
    assert!(text.ends_with("none\n") && !text.contains("198.18"), "{text}");
}

/// Left to the kernel, a bridge takes the lowest address of its ports: with the container that had it the gateway would
/// vanish for those who had asked for it, for as long as they remember.
fn hardware_addresses_follow_from_addresses() {
    let house = networked();
    let listener = TcpListener::from(house.keeper.listen_tcp(SocketAddrV4::new(BRIDGE, RELAY)).unwrap());
    let mut alive = Vec::new();
    for last in 20..28 {
        let script = "nc 198.18.0.1 1 2>/dev/null; busybox awk '$1 == \"198.18.0.1\" { print $4 }' /proc/net/arp; \
                      cat /sys/class/net/eth0/address; nc 198.18.0.1 7000";
        let (started, output) = house.start(on_bridge(&house, last, script));
        let mut lines = std::io::BufReader::new(output).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "02:42:c6:12:00:01");
        assert_eq!(
            lines.next().unwrap().unwrap(),
            format!("02:42:c6:12:00:{last:02x}")
        );
        // It stays, with its device, while the others come.
        alive.push((started, listener.accept().unwrap()));
    }
    for (started, connection) in alive {
        drop(connection);
        house.keeper.wait(started.process).unwrap();
    }
}
