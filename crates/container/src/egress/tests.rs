//! What no job reaches unless it is named, and what exceptions open.

use super::*;

fn policy() -> Egress {
    let host = ["192.0.2.10", "2001:db8::10"].map(|text| text.parse().unwrap());
    let exceptions =
        ["127.0.0.1:5000", "169.254.7.0/24", "[fd00:ec2::254]:80"].map(|text| text.parse().unwrap());
    Egress::new(host, exceptions)
}

#[test]
fn denies_this_machine_and_its_credentials_and_nothing_else() {
    let cases: &[(&str, Result<(), Denial>)] = &[
        ("127.0.0.1:80", Err(Denial::Loopback)),
        ("127.9.9.9:80", Err(Denial::Loopback)),
        ("[::1]:80", Err(Denial::Loopback)),
        ("[::ffff:127.0.0.1]:80", Err(Denial::Loopback)),
        ("[64:ff9b::7f00:1]:80", Err(Denial::Loopback)),
        ("[64:ff9b::a9fe:a9fe]:80", Err(Denial::LinkLocal)),
        ("[2002:7f00:1::]:80", Err(Denial::Loopback)),
        ("[::7f00:1]:80", Err(Denial::Loopback)),
        ("169.254.169.254:80", Err(Denial::LinkLocal)),
        ("[fe80::1]:80", Err(Denial::LinkLocal)),
        ("[fd00:ec2::254]:443", Err(Denial::Metadata { provider: "AWS" })),
        (
            "100.100.100.200:80",
            Err(Denial::Metadata {
                provider: "Alibaba Cloud",
            }),
        ),
        ("198.18.0.1:53", Err(Denial::PodRange)),
        ("198.18.255.255:53", Err(Denial::PodRange)),
        ("198.19.0.1:53", Ok(())),
        ("192.0.2.10:22", Err(Denial::HostAddress)),
        ("192.0.2.11:22", Ok(())),
        ("[2001:db8::10]:22", Err(Denial::HostAddress)),
        ("0.0.0.0:80", Err(Denial::NotUnicast)),
        ("0.1.2.3:80", Err(Denial::NotUnicast)),
        ("[::]:80", Err(Denial::NotUnicast)),
        ("224.0.0.251:5353", Err(Denial::NotUnicast)),
        ("255.255.255.255:9", Err(Denial::NotUnicast)),
        ("[ff02::1]:80", Err(Denial::NotUnicast)),
        ("10.0.0.1:443", Ok(())),
        ("192.168.1.1:443", Ok(())),
        ("172.17.0.1:443", Ok(())),
        ("[fd12::1]:443", Ok(())),
        ("1.1.1.1:443", Ok(())),
        ("[2606:4700::1111]:443", Ok(())),
    ];
    let policy = policy();
    for (peer, expected) in cases {
        assert_eq!(policy.check(peer.parse().unwrap()), *expected, "{peer}");
    }
}

#[test]
fn exceptions_open_exactly_what_they_name() {
    let policy = policy();
    for (peer, allowed) in [
        ("127.0.0.1:5000", true),
        ("[::ffff:127.0.0.1]:5000", true),
        ("127.0.0.1:5001", false),
        ("169.254.7.9:1", true),
        ("169.254.8.9:1", false),
        ("[fd00:ec2::254]:80", true),
        ("[fd00:ec2::254]:81", false),
    ] {
        assert_eq!(policy.permits(peer.parse().unwrap()), allowed, "{peer}");
    }
    let everything = Egress::new([], ["0.0.0.0/0".parse().unwrap()]);
    assert!(everything.permits("127.0.0.1:1".parse().unwrap()));
    assert!(!everything.permits("0.0.0.0:1".parse().unwrap()));
}

#[test]
fn exceptions_are_read_and_written_alike() {
    for text in [
        "10.0.0.5",
        "127.0.0.1:5000",
        "192.168.0.0/16",
        "[::1]:5000",
        "fd00::/8",
        "::1",
    ] {
        assert_eq!(text.parse::<EgressException>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "localhost",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.1:99999",
        "::1/129",
        "a:b:c",
    ] {
        assert!(text.parse::<EgressException>().is_err(), "{text}");
    }
}

#[test]
fn knows_the_addresses_of_this_host() {
    let policy = Egress::detect([]).unwrap();
    assert_eq!(
        policy.check("127.0.0.1:1".parse().unwrap()),
        Err(Denial::Loopback)
    );
    assert!(
        policy.rules.host.iter().any(IpAddr::is_loopback),
        "the loopback interface is always listed"
    );
}
