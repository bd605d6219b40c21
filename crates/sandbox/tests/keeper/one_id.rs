//! Containers whose processes have one id to the kernel: what they are told, and the layers that they leave.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use shipway_sandbox::{ExitStatus, IdMap, Isolation, KeeperError, Place, Stdio, Tier, probe_in};
use shipway_testkit::wait_for;

use crate::house::{House, Test, container};
use crate::tarball::{Archive, diff, listing, unpack};

pub(crate) const TESTS: &[Test] = &[
    (
        "one_id::a_user_without_further_ids_can_do_it",
        a_user_without_further_ids_can_do_it,
    ),
    (
        "one_id::the_layer_is_the_one_of_many_ids",
        the_layer_is_the_one_of_many_ids,
    ),
    (
        "one_id::what_was_given_away_is_told_so",
        what_was_given_away_is_told_so,
    ),
    (
        "one_id::somebody_s_files_are_somebody_s",
        somebody_s_files_are_somebody_s,
    ),
    (
        "one_id::owners_of_layers_below_are_kept",
        owners_of_layers_below_are_kept,
    ),
    (
        "one_id::a_step_ends_with_its_supervisor",
        a_step_ends_with_its_supervisor,
    ),
    (
        "one_id::hostile_arguments_are_errors",
        hostile_arguments_are_errors,
    ),
];

/// What a step may do with owners, of every kind of file, by root and by somebody else.
const CHANGES: &str = "set -e; b=busybox
echo x >/file; $b chown 7:8 /file; echo y >/set; $b chmod 6755 /set; $b chown 0:9 /set; $b chmod 4711 /set
$b mkdir /folder; $b chown 33:33 /folder; $b ln -s nowhere /link; $b chown -h 44:45 /link; $b mkfifo /pipe; $b chown 46:47 /pipe
$b mkdir /shared; $b chown 0:50 /shared; $b chmod 2775 /shared; echo x >/shared/file; $b mkdir /shared/folder; $b ln -s x /shared/link
$b mkfifo /shared/pipe; echo x >/outside; $b mv /outside /shared/moved
$b chown 12:13 /below/file /below/folder; $b chown -h 12:13 /below/link; $b mv /below/owned /below/renamed
$b touch -d @1500000000 /below/kept; $b chgrp 5 /below/kept; $b ln /file /two
$b chmod 777 /open; $b su ann -c 'PATH=/bin; umask 027; echo x >/open/file; busybox mkdir /open/folder; busybox ln -s x /open/link; busybox mkfifo /open/pipe; echo y >/open/folder/in'
$b chown 0:0 /below/back";

fn below(house: &House) {
    let archive = Archive::new()
        .directory("below/", 0o755)
        .file("below/file", "1")
        .directory("below/folder/", 0o700)
        .entry("below/link", tar::EntryType::Symlink, "nowhere", 0o777, "")
        .file("below/owned", "2")
        .file("below/kept", "3")
        .file("below/back", "4")
        .directory("open/", 0o755);
    unpack(house, "first", &["base"], archive).unwrap();
}

pub(crate) fn changed(house: &House) -> Vec<String> {
    below(house);
    let mut root = house.root("c");
    root.layers = vec!["base".into(), "first".into()];
    let (started, mut output) = house.start(container(root, &["/bin/sh", "-c", CHANGES]));
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let status = house.keeper.wait(started.process).unwrap();
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    listing(diff(house, "c", &["base", "first"], started.made))
}

/// Nobody of any machine's.
pub(crate) const STRANGER: u32 = 54_321;

/// Run as root, this runs the tests here as such a user.
fn a_user_without_further_ids_can_do_it() {
    if rustix::process::geteuid().as_raw() == STRANGER {
        let scratch = tempfile::tempdir().unwrap();
        let report = probe_in(&scratch.path().join("probe"));
        assert_eq!(report.tier, Tier::B, "{report:#?}");
        let place = Place::detect(None, &scratch.path().join("place")).unwrap();
        assert_eq!((place.isolation, place.id_map), (Isolation::OneId, IdMap::one()));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    run_as_stranger(Command::new("setpriv"), "one_id");
}

/// Runs tests of this binary as a stranger, by a command of `setpriv`.
pub(crate) fn run_as_stranger(mut setpriv: Command, tests: &str) {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("keeper-tests");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let work = place.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::os::unix::fs::chown(&work, Some(STRANGER), Some(STRANGER)).unwrap();
    let id = STRANGER.to_string();
    let output = setpriv
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(&binary)
        .arg(tests)
        .env("TMPDIR", &work)
        .output()
        .expect("run setpriv");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains(" passed, 0 failed"), "{text}");
}

fn the_layer_is_the_one_of_many_ids() {
    if IdMap::detect().is_err() {
        // Compared where there are both.
        return;
    }
    let (one, many) = (House::with_one_id(), House::with_busybox());
    let (one, many) = (changed(&one), changed(&many));
    assert_eq!(one, many);
    let owner = |name: &str| one.iter().find(|line| line.starts_with(name)).cloned();
    assert!(owner("link ").unwrap().contains("44"), "{one:?}");
}

fn what_was_given_away_is_told_so() {
    let house = House::with_one_id();
    let script = "s='busybox stat -c %u:%g:%a'
        echo x >/f; busybox chmod 4755 /f; busybox chown 7:8 /f; $s /f; busybox chgrp 9 /f; $s /f
        busybox ln -s f /l; busybox chown -h 3:4 /l; $s /l; $s -L /l; cd /tmp; $s ../f
        busybox mkfifo /p; busybox chown 5 /p; $s /p; exec 3</f; $s /proc/self/fd/3; $s /etc/passwd
        busybox id -u; busybox su ann -c '/bin/busybox id'; busybox id -u
        busybox su ann -c '/bin/busybox chown 0 /f'; busybox su ann -c '/bin/busybox start-stop-daemon -S -c root -x /bin/busybox -- id' || echo no way back
        busybox mkdir /new; busybox cp /bin/busybox /new; busybox chroot /new /busybox chown 11:12 /busybox; $s /new/busybox
        busybox chown 1 /none";
    let (_, text) = house.script("c", script);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "7:8:755", "7:9:755", "3:4:777", "7:9:755", "7:9:755", "5:0:644", "0:0:500", "0:0:644"
        ][..8],
        "{text}"
    );
    assert_eq!(lines[8], "0", "{text}");
    assert!(lines[9].starts_with("uid=1000(ann) gid=1001(ann)"), "{text}");
    assert_eq!(lines[10], "0", "{text}");
    assert!(lines[11].contains("Operation not permitted"), "{text}");
    assert!(
        text.contains("no way back") && text.contains("11:12:755"),
        "{text}"
    );
    assert!(lines.last().unwrap().contains("No such file"), "{text}");
}

fn somebody_s_files_are_somebody_s() {
    somebody_has_files(&House::with_one_id());
}

pub(crate) fn somebody_has_files(house: &House) {
    let mut spec = container(
        house.root("c"),
        &[
            "/bin/sh",
            "-c",
            "id; echo x >/tmp/mine; busybox mkdir /tmp/d; busybox stat -c %U:%G /tmp/mine /tmp/d; busybox chown root /tmp/mine",
        ],
    );
    spec.process.user = "ann:video".into();
    let (status, text) = house.run(spec);
    assert_eq!(status, ExitStatus::Code(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("uid=1000(ann) gid=44(video)"), "{text}");
    assert_eq!(lines[1..3], ["ann:video"; 2], "{text}");
}

fn owners_of_layers_below_are_kept() {
    layers_below_keep_owners(&House::with_one_id());
}

pub(crate) fn layers_below_keep_owners(house: &House) {
    below(house);
    let mut root = house.root("c");
    root.layers = vec!["base".into(), "first".into()];
    let script =
        "busybox stat -c %u:%g /below/owned; echo more >>/below/owned; busybox stat -c %u:%g /below/owned";
    let (_, text) = house.run(container(root, &["/bin/sh", "-c", script]));
    assert_eq!(text, "1000:1001\n1000:1001\n");
    let layer = listing(diff(house, "c", &["base", "first"], Vec::new()));
    assert!(
        layer
            .iter()
            .any(|line| line.starts_with("below/owned") && line.contains("1000:1001")),
        "{layer:?}"
    );
}

fn a_step_ends_with_its_supervisor() {
    step_without_supervisor_ends(&House::with_one_id());
}

pub(crate) fn step_without_supervisor_ends(house: &House) {
    let (read, write) = house.keeper.pipe().unwrap();
    let spec = container(house.root("c"), &["/bin/sh", "-c", "echo up; sleep 7654331"]);
    let stdio = Stdio {
        stdout: Some(write),
        ..Stdio::default()
    };
    let started = house.keeper.start(spec, stdio).unwrap();
    let mut up = [0; 3];
    std::fs::File::from(read).read_exact(&mut up).unwrap();
    kill_supervisor(house);
    assert_eq!(house.keeper.wait(started.process), Err(KeeperError::Unsupervised));
    assert_eq!(house.script("d", "id -u").1, "0\n");
}

/// Kills the supervisor of the only step that runs.
fn kill_supervisor(house: &House) {
    let launcher = house.keeper.launcher_id();
    // Beside the container's first process, the only other child of the keeper.
    let children = |of: u32| -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    };
    let keeper = children(launcher)[0];
    let supervisor = wait_for(Duration::from_secs(20), || {
        children(keeper)
            .into_iter()
            .find(|id| {
                std::fs::read_to_string(format!("/proc/{id}/comm"))
                    .is_ok_and(|name| name.trim() == "supervisor")
            })
            .ok_or("a supervisor".to_owned())
    })
    .unwrap();
    let supervisor = rustix::process::Pid::from_raw(i32::try_from(supervisor).unwrap()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
}

fn hostile_arguments_are_errors() {
    arguments_are_errors(&House::with_one_id());
}

pub(crate) fn arguments_are_errors(house: &House) {
    let long = "x".repeat(5000);
    let script = format!(
        "busybox stat /{long}; busybox chown 1 /{long}; busybox mkdir ''; busybox mkdir /; busybox mkdir /tmp/; busybox mkdir /no/such
         busybox ln -s loop /loop; busybox chown 1 /loop; busybox chown 1 /bin/busybox/x; busybox chown 4294967294 /etc/passwd
         busybox stat -c %u /etc/passwd; busybox ln -s /tmp/../../../../etc /up; busybox stat -L -c %n /up/passwd; echo end"
    );
    let (status, text) = house.script("c", &script);
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    assert!(
        text.contains("File name too long") && text.contains("Too many levels"),
        "{text}"
    );
    assert!(text.ends_with("4294967294\n/up/passwd\nend\n"), "{text}");
}
