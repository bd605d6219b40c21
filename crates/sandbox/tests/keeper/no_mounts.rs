//! Containers of a pod with one id that can mount nothing: what they leave, what they are told, what they reach.

use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ContainerNetwork, ExitStatus, GeneratedFile, IdMap, Isolation, Mount, MountSource, Place, Stdio, Tier,
    probe_in,
};
use shipway_testkit::{on_path, without_mounts};

use crate::house::{House, Test, container};
use crate::one_id::{
    STRANGER, arguments_are_errors, changed, layers_below_keep_owners, run_as_stranger, somebody_has_files,
    step_without_supervisor_ends,
};
use crate::tarball::{diff, listing};

pub(crate) const TESTS: &[Test] = &[
    (
        "no_mounts::who_is_refused_every_mount_can_do_it",
        who_is_refused_every_mount_can_do_it,
    ),
    (
        "no_mounts::the_layer_is_the_one_of_many_ids",
        the_layer_is_the_one_of_many_ids,
    ),
    (
        "no_mounts::somebody_s_files_are_somebody_s",
        somebody_s_files_are_somebody_s,
    ),
    (
        "no_mounts::owners_of_layers_below_are_kept",
        owners_of_layers_below_are_kept,
    ),
    (
        "no_mounts::a_step_ends_with_its_supervisor",
        a_step_ends_with_its_supervisor,
    ),
    (
        "no_mounts::hostile_arguments_are_errors",
        hostile_arguments_are_errors,
    ),
    ("no_mounts::devices_are_the_place_s", devices_are_the_place_s),
    (
        "no_mounts::what_is_put_in_keeps_its_owner",
        what_is_put_in_keeps_its_owner,
    ),
    (
        "no_mounts::nothing_outside_is_reached",
        nothing_outside_is_reached,
    ),
    (
        "no_mounts::a_program_that_is_missing_says_so_at_once",
        a_program_that_is_missing_says_so_at_once,
    ),
];

/// Run as root, this runs the tests here as an ordinary user under a filter that refuses every mount.
fn who_is_refused_every_mount_can_do_it() {
    if rustix::process::geteuid().as_raw() == STRANGER {
        let scratch = tempfile::tempdir().unwrap();
        let report = probe_in(&scratch.path().join("probe"));
        assert_eq!(report.tier, Tier::BPrime, "{report:#?}");
        let mounts = report.findings.iter().find(|finding| finding.name == "mounts");
        assert!(mounts.is_some_and(|finding| !finding.ok), "{report:#?}");
        let place = Place::detect(None, &scratch.path().join("place")).unwrap();
        assert_eq!(
            (place.isolation, place.id_map),
            (Isolation::NoMounts, IdMap::one())
        );
        return;
    }
    let setpriv = on_path("setpriv").expect("setpriv of util-linux");
    if rustix::process::geteuid().is_root()
        && let Some(setpriv) = without_mounts(&setpriv)
    {
        run_as_stranger(setpriv, "no_mounts");
    }
}

fn the_layer_is_the_one_of_many_ids() {
    if IdMap::detect().is_err() {
        // Compared where there are both.
        return;
    }
    let (without, many) = (House::without_mounts(), House::with_busybox());
    assert_eq!(changed(&without), changed(&many));
}

fn somebody_s_files_are_somebody_s() {
    somebody_has_files(&House::without_mounts());
}

fn owners_of_layers_below_are_kept() {
    layers_below_keep_owners(&House::without_mounts());
}

fn a_step_ends_with_its_supervisor() {
    step_without_supervisor_ends(&House::without_mounts());
}

fn hostile_arguments_are_errors() {
    arguments_are_errors(&House::without_mounts());
}

/// What is to be known of devices without one being made.
const DEVICES: &str = "set -e; b=busybox
echo lost >/dev/null; echo lost >>/dev/null; cat /dev/null; $b dd if=/dev/null 2>/dev/null | $b wc -c
$b head -c 3 /dev/zero | $b wc -c; $b head -c 8 /dev/urandom | $b wc -c; echo x 2>/dev/null >/dev/full || echo full
$b ln -s /dev/null /dev/link; echo lost >/dev/link; cat /dev/link; cd /dev; echo lost >null; cat null
$b stat -c '%F %t:%T %u:%g %a' /dev/null /dev/urandom; test -c /dev/zero; exec 3</dev/zero; $b stat -L -c %u /dev/zero
(exec 4</dev/tty) 2>/dev/null || echo no terminal; $b cat; $b cat </dev/null; echo end";

fn devices_are_the_place_s() {
    let house = House::without_mounts();
    let (status, text) = house.script("c", DEVICES);
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    let expected = "0\n3\n8\nfull\ncharacter special file 1:3 0:0 666\ncharacter special file 1:9 0:0 666\n0\n\
                    no terminal\nend\n";
    assert_eq!(text, expected);
    assert_eq!(listing(diff(&house, "c", &["base"], Vec::new())), [""; 0]);
    // One that is replaced is a file.
    let replaced = "busybox rm /dev/null; echo kept >/dev/null; cat /dev/null; busybox mkfifo /dev/zero 2>/dev/zero || echo there";
    assert_eq!(house.script("d", replaced).1, "kept\nthere\n");
}

fn what_is_put_in_keeps_its_owner() {
    let house = House::without_mounts();
    let keeper = &house.keeper;
    for path in ["cache", "shown"] {
        keeper
            .make_directory(Path::new(path), 0o750, (1000, 1001))
            .unwrap();
    }
    keeper
        .write_file(Path::new("shown/file"), b"shown", 0o640, (7, 8))
        .unwrap();
    keeper
        .write_file(Path::new("secret"), b"hidden", 0o400, (1000, 44))
        .unwrap();
    let at = |source: &str, target: &str, read_only| Mount {
        target: target.into(),
        source: MountSource::Keeper(source.into()),
        read_only,
    };
    let script = "set -e; cd /; busybox stat -c '%n %u:%g %a' cache shown shown/file secret etc/made; cat secret; echo x >>/cache/x
        busybox chown 5:6 /cache/x; busybox stat -c '%u:%g' /cache/x";
    for (name, lines) in [("c", "x\n"), ("d", "x\nx\n")] {
        let mut spec = container(house.root(name), &["/bin/sh", "-c", script]);
        spec.mounts = vec![
            at("cache", "/cache", false),
            at("shown", "/shown", true),
            at("secret", "/secret", true),
        ];
        spec.files = vec![GeneratedFile {
            owner: (33, 34),
            ..GeneratedFile::public("/etc/made", "made")
        }];
        let (status, text) = house.run(spec);
        let expected = "cache 1000:1001 750\nshown 1000:1001 750\nshown/file 7:8 640\nsecret 1000:44 400\netc/made 33:34 644\n\
                        hidden5:6\n";
        assert_eq!((status, text.as_str()), (ExitStatus::Code(0), expected));
        assert_eq!(std::fs::read_to_string(house.path("cache/x")).unwrap(), lines);
        assert_eq!(listing(diff(&house, name, &["base"], Vec::new())), [""; 0]);
    }
}

fn nothing_outside_is_reached() {
    let house = House::without_mounts();
    let secret = house.directory.path().join("credentials");
    std::fs::write(&secret, "of the job").unwrap();
    let mut neighbour = std::process::Command::new("sleep")
        .arg("600")
        .env("TOKEN", "of the job")
        .spawn()
        .unwrap();
    let (place, id) = (secret.display(), neighbour.id());
    let up = "../".repeat(30);
    // Asked of the supervisor as well: it makes files, and says what there is.
    let script = format!(
        "cat {place}; cat {up}{place}; cat /proc/{id}/environ; cat /proc/1/environ; busybox stat {place} {up}{place}
         busybox ln -s {place} /link; busybox stat -L /link; busybox chown 1 /link; cd /tmp; busybox su ann -c 'PATH=/bin
           echo x >{up}{place}; busybox mkdir {up}{place}.d; busybox ln -s /dev/null {up}{place}.l; cat /link'
         busybox chroot /tmp /bin/busybox true && echo a root was chosen
         busybox mknod /tmp/disk b 254 0 && echo a device was made
         busybox mount -t tmpfs none /mnt && echo it was mounted
         busybox unshare -U true && echo a namespace was made
         echo end"
    );
    let (status, text) = house.script("c", &script);
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    assert!(text.ends_with("end\n"), "{text}");
    for reached in ["of the job", "TOKEN", "was chosen", "was made", "was mounted"] {
        assert!(!text.contains(reached), "{text}");
    }
    let beside: Vec<PathBuf> = std::fs::read_dir(house.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "of the job");
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
}

fn a_program_that_is_missing_says_so_at_once() {
    let house = House::without_mounts();
    let before = std::time::Instant::now();
    for name in ["c", "d", "e"] {
        let mut spec = container(house.root(name), &["/bin/none"]);
        spec.network = ContainerNetwork::Pod;
        let error = house.keeper.start(spec, Stdio::default()).unwrap_err();
        assert!(error.to_string().contains("/bin/none: not found"), "{error}");
    }
    // Its minder waits for a supervisor that has nobody to answer.
    assert!(before.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(house.script("f", "echo next").1, "next\n");
}
