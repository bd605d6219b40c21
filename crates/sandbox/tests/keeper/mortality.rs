//! Whatever is killed, nothing stays behind.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use shipway_sandbox::{ExitStatus, IdMap, Keeper, KeeperError, LaunchError, LaunchOptions, Started, Stdio};

use crate::house::{House, Test, container};

pub(crate) const TESTS: &[Test] = &[
    (
        "mortality::killing_the_launcher_ends_everything",
        killing_the_launcher_ends_everything,
    ),
    (
        "mortality::killing_the_keeper_ends_everything",
        killing_the_keeper_ends_everything,
    ),
    (
        "mortality::killing_a_container_ends_only_it",
        killing_a_container_ends_only_it,
    ),
    ("mortality::closing_ends_everything", closing_ends_everything),
    ("mortality::dropping_ends_everything", dropping_ends_everything),
    (
        "mortality::a_stopped_keeper_ends_with_its_pod",
        a_stopped_keeper_ends_with_its_pod,
    ),
    (
        "mortality::a_stopped_launcher_ends_with_its_pod",
        a_stopped_launcher_ends_with_its_pod,
    ),
    (
        "mortality::a_stopped_launcher_ends_with_its_stopped_keeper",
        a_stopped_launcher_ends_with_its_stopped_keeper,
    ),
    (
        "mortality::a_keeper_that_answers_is_not_given_up",
        a_keeper_that_answers_is_not_given_up,
    ),
    (
        "mortality::a_stopped_keeper_ends_with_who_started_it",
        a_stopped_keeper_ends_with_who_started_it,
    ),
    (
        "mortality::a_hundred_containers_leak_nothing",
        a_hundred_containers_leak_nothing,
    ),
    (
        "mortality::a_keeper_that_does_not_answer_is_given_up",
        a_keeper_that_does_not_answer_is_given_up,
    ),
];

/// A container with a background process, both running.
fn busy(house: &House) -> Started {
    let script = "sleep 1000 & echo up; sleep 1000";
    let (started, mut output) = house.start(container(house.root("busy"), &["/bin/sh", "-c", script]));
    let mut text = [0; 3];
    output.read_exact(&mut text).unwrap();
    started
}

/// Everything that descends from a process of this machine, itself first.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        let children =
            std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .map(|child| child.parse::<u32>().unwrap()),
        );
    }
    all
}

/// A zombie has ended; somebody else is to reap it.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The first process of the container that runs: 1 in the innermost of three pid namespaces.
fn init_of(family: &[u32]) -> Option<u32> {
    family.iter().copied().find(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        ids.split_whitespace().count() == 3 && ids.split_whitespace().last() == Some("1")
    })
}

/// Launcher, keeper, and a container whose worker has ended: everything that is to go.
fn settled_family(house: &House) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let family = family(house.keeper.launcher_id());
        let init = init_of(&family);
        // Launcher, keeper, the container's first process and at least one more.
        if family.get(2).copied() == init && family.len() >= 4 {
            return family;
        }
        assert!(
            Instant::now() < deadline,
            "the container did not settle: {family:?}"
        );
        std::thread::yield_now();
    }
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn assert_gone(house: &House, family: &[u32]) {
    for pid in family {
        assert!(!is_alive(*pid), "process {pid} is left");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = house.directory.path().to_str().unwrap();
    assert!(!mounts.contains(directory), "a mount is left: {mounts}");
    assert!(!house.keeper.is_alive());
    assert_eq!(
        house.keeper.remove_tree(Path::new("base")),
        Err(KeeperError::Gone)
    );
    // Nothing holds the files either: the next keeper can clean up.
    let next = house.another_keeper();
    for left in ["base", "busy"] {
        next.remove_tree(Path::new(left)).unwrap();
        assert!(!house.path(left).exists());
    }
}

fn killing_the_launcher_ends_everything() {
    let house = House::with_busybox();
    let started = busy(&house);
    let family = settled_family(&house);
    kill(family[0]);
    assert_eq!(house.keeper.wait(started.process), Err(KeeperError::Gone));
    house.keeper.close();
    assert_gone(&house, &family);
}

fn killing_the_keeper_ends_everything() {
    let house = House::with_busybox();
    let started = busy(&house);
    let family = settled_family(&house);
    kill(family[1]);
    assert_eq!(house.keeper.wait(started.process), Err(KeeperError::Gone));
    house.keeper.close();
    assert_gone(&house, &family);
}

fn killing_a_container_ends_only_it() {
    let house = House::with_busybox();
    let started = busy(&house);
    let family = settled_family(&house);
    kill(family[2]);
    assert_eq!(house.keeper.wait(started.process).unwrap(), ExitStatus::Signal(9));
    for pid in &family[2..] {
        assert!(!is_alive(*pid), "process {pid} is left");
    }
    assert_eq!(
        house.script("next", "exit 3").0,
        ExitStatus::Code(3),
        "the keeper goes on"
    );
}

fn closing_ends_everything() {
    let house = House::with_busybox();
    busy(&house);
    let family = settled_family(&house);
    house.keeper.close();
    assert_gone(&house, &family);
}

fn dropping_ends_everything() {
    let house = House::with_busybox();
    let started = busy(&house);
    let (read, write) = house.keeper.pipe().unwrap();
    let stdio = Stdio {
        stdin: None,
        stdout: Some(write),
        stderr: None,
    };
    house
        .keeper
        .exec(
            &started.container,
            crate::house::process(&["sleep", "1000"]),
            stdio,
        )
        .unwrap();
    drop(house);
    // Ends when nobody has the other end any more.
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

/// The owner asks a keeper for something before it closes it: that must not hang for ever.
fn a_stopped_keeper_ends_with_its_pod() {
    let house = House::with_busybox();
    busy(&house);
    let family = settled_family(&house);
    signal(family[1], Signal::STOP);
    house.keeper.insist(Duration::from_millis(300));
    assert_eq!(
        house.keeper.remove_tree(Path::new("busy")),
        Err(KeeperError::Gone)
    );
    house.keeper.close();
    assert_gone(&house, &family);
}

fn a_stopped_launcher_ends_with_its_pod() {
    let house = House::with_busybox();
    busy(&house);
    let family = settled_family(&house);
    signal(family[0], Signal::STOP);
    close_in_time(&house);
    assert_gone(&house, &family);
}

fn a_stopped_launcher_ends_with_its_stopped_keeper() {
    let house = House::with_busybox();
    busy(&house);
    let family = settled_family(&house);
    signal(family[0], Signal::STOP);
    signal(family[1], Signal::STOP);
    close_in_time(&house);
    assert_gone(&house, &family);
}

/// What hangs is to fail, not to hang the test.
fn close_in_time(house: &House) {
    let (closed, end) = std::sync::mpsc::channel();
    let keeper = house.keeper.clone();
    std::thread::spawn(move || {
        keeper.close();
        // Nobody listens once the test has failed.
        let _ = closed.send(());
    });
    end.recv_timeout(Duration::from_secs(60))
        .expect("the end of the pod");
}

fn a_keeper_that_answers_is_not_given_up() {
    let house = House::with_busybox();
    house.keeper.insist(Duration::from_millis(100));
    house.keeper.insist(Duration::from_millis(100));
    // Many times its patience, of which the keeper's own thread spends nothing.
    assert_eq!(house.script("long", "sleep 1; exit 3").0, ExitStatus::Code(3));
    assert!(house.keeper.is_alive());
}

/// This very test, in a process of its own: starts a pod, says who is in it, and waits to be killed.
const OWNER: &str = "SHIPWAY_TEST_OWNER";

fn a_stopped_keeper_ends_with_who_started_it() {
    if std::env::var_os(OWNER).is_some() {
        let house = House::with_busybox();
        busy(&house);
        println!("family {:?}", settled_family(&house));
        loop {
            std::thread::park();
        }
    }
    // What it leaves goes with this.
    let place = tempfile::tempdir().unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mortality::a_stopped_keeper_ends_with_who_started_it"])
        .env(OWNER, "1")
        .env("TMPDIR", place.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let family: Vec<u32> = output
        .lines()
        .find_map(|line| {
            let line = line.unwrap();
            let list = line.strip_prefix("family [")?.strip_suffix("]")?.to_owned();
            Some(list.split(", ").map(|pid| pid.parse().unwrap()).collect())
        })
        .unwrap();
    signal(family[1], Signal::STOP);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while family.iter().any(|pid| is_alive(*pid)) {
        assert!(
            Instant::now() < deadline,
            "it outlives who started it: {family:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Listens to what it is told, and never answers.
fn a_keeper_that_does_not_answer_is_given_up() {
    let place = tempfile::tempdir().unwrap();
    let mut options = LaunchOptions::new(IdMap::detect().unwrap(), place.path().join("keeper"), "pod");
    options.executable = Some("/bin/cat".into());
    options.patience = Duration::from_millis(200);
    let own = std::process::id();
    let before = family(own).len();
    let error = Keeper::launch(&options).unwrap_err();
    assert!(matches!(error, LaunchError::Silent { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the keeper did not start within 0.2 s and was killed"
    );
    assert!(family(own).len() <= before, "it is killed and reaped");
}

fn descriptors(pid: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn a_hundred_containers_leak_nothing() {
    let house = House::with_busybox();
    let root = house.root("c");
    let run = || {
        let started = house.keeper.start(
            container(root.clone(), &["/bin/sh", "-c", "exit 5"]),
            Stdio::default(),
        );
        assert_eq!(
            house.keeper.wait(started.unwrap().process).unwrap(),
            ExitStatus::Code(5)
        );
    };
    run();
    let keeper = family(house.keeper.launcher_id())[1].to_string();
    let before = descriptors("self");
    // The keeper is closed to everybody but root.
    let of_keeper = || rustix::process::geteuid().is_root().then(|| descriptors(&keeper));
    let keeper_before = of_keeper();
    for _ in 0..100 {
        run();
    }
    // Fewer if the connection of an earlier test has ended in the meantime.
    assert!(descriptors("self") <= before);
    assert_eq!(of_keeper(), keeper_before);
    let family = family(house.keeper.launcher_id());
    assert!(
        family.len() <= 3,
        "no process is left but one that may be ending: {family:?}"
    );
}
