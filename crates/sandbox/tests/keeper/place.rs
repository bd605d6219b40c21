//! What the probe says, and what starting costs.

use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use shipway_sandbox::{ContainerNetwork, NetworkPlan, Stdio, Tier, probe, probe_in};

use crate::house::{BRIDGE, House, Test, container, process};

pub(crate) const TESTS: &[Test] = &[
    (
        "place::the_probe_agrees_with_the_other_tests",
        the_probe_agrees_with_the_other_tests,
    ),
    (
        "place::probes_do_not_mind_each_other_nor_what_one_left",
        probes_do_not_mind_each_other_nor_what_one_left,
    ),
    ("place::figures", figures),
];

fn the_probe_agrees_with_the_other_tests() {
    let report = probe();
    assert_eq!(report.tier, Tier::A, "{report:#?}");
    let failed: Vec<_> = report.findings.iter().filter(|finding| !finding.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let left = std::env::temp_dir().join(format!("shipway-probe-{}", std::process::id()));
    assert!(!left.exists());
}

/// Processes of a pod have the same small numbers each time.
fn probes_do_not_mind_each_other_nor_what_one_left() {
    let house = House::new();
    for number in 1..20 {
        let left = format!(".keeper/probe-{number}");
        house
            .keeper
            .make_directory(Path::new(&left), 0o755, (0, 0))
            .unwrap();
    }
    let at_once = || {
        let report = probe_in(&house.path(""));
        assert_eq!(report.tier, Tier::A, "{report:#?}");
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(at_once);
        }
    });
}

/// The figures of `docs/decisions/0003-keeper.md`, fastest and median; their bounds are loose, since other tests run beside this one.
fn figures() {
    let measured = |mut run: Box<dyn FnMut()>| {
        let mut times: Vec<u128> = (0..41)
            .map(|_| {
                let start = Instant::now();
                run();
                start.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        (times[0], times[20])
    };
    let launched = measured(Box::new(|| House::new().keeper.close()));
    let house = std::rc::Rc::new(House::with_busybox());
    let root = house.root("c");
    let plan = NetworkPlan {
        address: BRIDGE,
        prefix: 16,
        redirect_tcp: Some(7000),
    };
    let start = Instant::now();
    house.keeper.configure_network(&plan).unwrap();
    let network = start.elapsed().as_micros();
    let to_output = |network: ContainerNetwork| {
        let (house, root) = (house.clone(), root.clone());
        measured(Box::new(move || {
            let mut spec = container(root.clone(), &["/bin/sh", "-c", "echo x"]);
            spec.network = network;
            let (read, write) = house.keeper.pipe().unwrap();
            let stdio = Stdio {
                stdin: None,
                stdout: Some(write),
                stderr: None,
            };
            let process = house.keeper.start(spec, stdio).unwrap().process;
            std::fs::File::from(read)
                .read_to_string(&mut String::new())
                .unwrap();
            house.keeper.wait(process).unwrap();
        }))
    };
    let pod = to_output(ContainerNetwork::Pod);
    let none = to_output(ContainerNetwork::None);
    let bridge = to_output(ContainerNetwork::Bridge(std::net::Ipv4Addr::new(198, 18, 0, 9)));
    let (started, mut output) = {
        let spec = container(house.root("d"), &["/bin/sh", "-c", "echo up; exec sleep 1000"]);
        house.start(spec)
    };
    output.read_exact(&mut [0; 3]).unwrap();
    let executed = {
        let house = house.clone();
        measured(Box::new(move || {
            let process = process(&["/bin/busybox", "true"]);
            let process = house
                .keeper
                .exec(&started.container, process, Stdio::default())
                .unwrap()
                .process;
            house.keeper.wait(process).unwrap();
        }))
    };
    println!("process in a running container, to its end: {executed:?} µs");
    println!("keeper launched and closed {launched:?} µs; bridge and rule {network} µs");
    println!("container to its end: pod's network {pod:?} µs, none {none:?} µs, bridge {bridge:?} µs");
    assert!(bridge.1 < 2_000_000, "a container took {bridge:?} µs");
}
