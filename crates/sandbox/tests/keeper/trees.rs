//! Containers without namespaces: what they change, what they reach, and what they leave.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shipway_sandbox::{
    ApplyRequest, ContainerNetwork, ExitStatus, GeneratedFile, IdMap, Isolation, Keeper, KeeperError,
    LaunchOptions, Mount, MountSource, Place, ProcessLimit, RootSpec, Stdio,
};
use shipway_testkit::wait_for;

use crate::house::{House, Test, container};
use crate::tarball::{Archive, contents, diff, listing, unpack};

pub(crate) const TESTS: &[Test] = &[
    (
        "trees::the_layer_is_the_one_of_an_overlay",
        the_layer_is_the_one_of_an_overlay,
    ),
    (
        "trees::steps_follow_each_other_in_one_tree",
        steps_follow_each_other_in_one_tree,
    ),
    (
        "trees::a_step_of_several_parts_is_one_layer",
        a_step_of_several_parts_is_one_layer,
    ),
    ("trees::what_is_put_in_is_taken_out", what_is_put_in_is_taken_out),
    ("trees::mounts_come_and_go", mounts_come_and_go),
    ("trees::nothing_outside_is_reached", nothing_outside_is_reached),
    ("trees::no_network_is_none_at_all", no_network_is_none_at_all),
    ("trees::what_stays_behind_is_ended", what_stays_behind_is_ended),
    (
        "trees::too_many_processes_are_ended",
        too_many_processes_are_ended,
    ),
    (
        "trees::whoever_is_killed_nothing_stays",
        whoever_is_killed_nothing_stays,
    ),
    (
        "trees::what_needs_namespaces_is_refused_by_name",
        what_needs_namespaces_is_refused_by_name,
    ),
    (
        "trees::a_user_of_the_root_runs_as_such",
        a_user_of_the_root_runs_as_such,
    ),
];

/// What a step may do to files, so that every kind of change is among it.
const CHANGES: &str = "set -e; b=busybox
$b rm /d/gone; $b rm -r /hidden; $b mkdir /hidden; echo new >/hidden/new; $b ln /hidden/new /hidden/two
$b touch -d @1500000000 /hidden/same; $b chmod 644 /hidden/same
$b chown 7:8 /d/kept; $b chmod 4755 /d/kept; $b mkfifo /fifo; $b ln -s /nowhere /link
$b mv /folder /moved; $b mkdir -p /folder/deep; echo file >/folder/deep/file
$b rm /was-file; $b mkdir /was-file; echo x >/was-file/x; $b rm -r /was-folder; echo x >/was-folder
$b chmod 640 /untouched; : <>/opened; $b mkdir /tmp/t; $b rmdir /tmp/t
$b mkdir /a.tmp; echo x >/a.tmp/x; $b mv /a.tmp /a; $b mv /d/renamed /d/later; $b ln /a/x /d/linked
echo x >/d/elsewhere; /bin/busybox ln /d/elsewhere /tmp/x && $b rm /tmp/x; echo more >>/d/appended";

fn base(house: &House) -> Vec<PathBuf> {
    let archive = Archive::new()
        .directory("d/", 0o2750)
        .file("d/gone", "1")
        .file("d/kept", "2")
        .file("d/renamed", "3")
        .file("d/appended", "4")
        .directory("hidden/", 0o755)
        .file("hidden/below", "5")
        .file("hidden/same", "")
        .directory("folder/", 0o755)
        .file("folder/one", "6")
        .directory("folder/deep/", 0o700)
        .file("folder/deep/two", "7")
        .file("was-file", "8")
        .directory("was-folder/", 0o755)
        .file("was-folder/x", "9")
        .file("untouched", "10")
        .file("opened", "11");
    unpack(house, "first", &["base"], archive).unwrap();
    vec!["base".into(), "first".into()]
}

fn changed(house: &House) -> Vec<String> {
    let mut root = house.root("c");
    root.layers = base(house);
    let mut spec = container(root, &["/bin/sh", "-c", CHANGES]);
    spec.files = vec![
        GeneratedFile::public("/etc/hosts", "x"),
        GeneratedFile::public("/etc/new/file", "x"),
    ];
    spec.mounts = vec![temporary("/mnt/deep/down")];
    let (started, mut output) = house.start(spec);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let status = house.keeper.wait(started.process).unwrap();
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), ""));
    listing(diff(house, "c", &["base", "first"], started.made))
}

fn temporary(target: &str) -> Mount {
    Mount {
        target: target.into(),
        source: MountSource::Temporary {
            size: None,
            mode: 0o1777,
        },
        read_only: false,
    }
}

fn the_layer_is_the_one_of_an_overlay() {
    let Some(house) = House::in_trees() else { return };
    let by_tree = changed(&house);
    let by_overlay = changed(&House::with_busybox());
    assert_eq!(by_tree, by_overlay);
    assert!(
        by_tree.iter().any(|line| line.starts_with("hidden/.wh.below")),
        "{by_tree:#?}"
    );
    for unchanged in ["untouched", "opened", "etc/", "mnt/", "dev/", "proc/"] {
        assert!(
            !by_tree.iter().any(|line| line.starts_with(unchanged)),
            "{unchanged}: {by_tree:#?}"
        );
    }
}

/// Runs a script over layers, keeps what it changed as a layer and gives its listing.
fn step(house: &House, layers: &mut Vec<PathBuf>, name: &str, script: &str) -> Vec<String> {
    let root = RootSpec {
        layers: layers.clone(),
        ..house.root(name)
    };
    let (status, text) = house.run(container(root, &["/bin/sh", "-c", script]));
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), ""), "{script}");
    let below: Vec<_> = layers.iter().map(|layer| layer.to_str().unwrap()).collect();
    let lines = listing(diff(house, name, &below, Vec::new()));
    let layer = PathBuf::from(format!("layer-{name}"));
    house.keeper.rename(&Path::new(name).join("fs"), &layer).unwrap();
    layers.push(layer);
    lines
}

fn tree_inodes(house: &House) -> Vec<u64> {
    let trees = std::fs::read_dir(house.path(".keeper/trees")).unwrap();
    // Beside each directory is a file that its keeper holds locked.
    let keepers = trees
        .map(|keeper| keeper.unwrap().path())
        .filter(|path| path.is_dir());
    let trees = keepers.flat_map(|keeper| std::fs::read_dir(keeper).unwrap());
    let roots = trees.map(|tree| tree.unwrap().path().join("root"));
    roots
        .filter_map(|root| Some(root.metadata().ok()?.ino()))
        .collect()
}

fn steps_follow_each_other_in_one_tree() {
    let Some(house) = House::in_trees() else { return };
    let mut layers = vec!["base".into()];
    assert_eq!(step(&house, &mut layers, "one", "echo 1 >/one").len(), 1);
    let made = tree_inodes(&house);
    assert_eq!(made.len(), 1);
    let kept = layers.clone();
    let lines = step(&house, &mut layers, "two", "busybox mv /one /two; echo 2 >>/two");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with(".wh.one") && lines[1].ends_with("1\n2"),
        "{lines:#?}"
    );
    assert_eq!(
        tree_inodes(&house),
        made,
        "the second step has its tree from the first"
    );
    // A fork of the stage has one of its own, and does not see what the other step did.
    let mut fork = kept;
    let lines = step(&house, &mut fork, "fork", "busybox test ! -e /two; echo 3 >>/one");
    assert!(lines.len() == 1 && lines[0].ends_with("1\n3"), "{lines:#?}");
    assert_eq!(tree_inodes(&house).len(), 2);
    let (_, text) = house.run(container(
        RootSpec {
            layers,
            ..house.root("look")
        },
        &["/bin/cat", "/two"],
    ));
    assert_eq!(text, "1\n2\n");
}

fn a_step_of_several_parts_is_one_layer() {
    let Some(house) = House::in_trees() else { return };
    let root = house.root("c");
    // As many as it takes for one to be asked for before the worker of the one before has ended.
    let parts: Vec<_> = (10..40).map(|part| part.to_string()).collect();
    for part in &parts {
        let archive = Archive::new().file(part, part).file("same", part);
        let request = ApplyRequest::new(archive.stream(), root.clone(), "/into/it".into());
        house.keeper.apply(request).unwrap();
    }
    let names: Vec<_> = listing(diff(&house, "c", &["base"], Vec::new()))
        .into_iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let mut wanted = vec!["into/".to_owned(), "into/it/".to_owned()];
    wanted.extend(parts.iter().map(|part| format!("into/it/{part}")));
    wanted.push("into/it/same".to_owned());
    assert_eq!(names, wanted);
    assert_eq!(
        tree_inodes(&house).len(),
        1,
        "every part goes into the tree of the first"
    );
    let seen = house
        .keeper
        .stat(&root, &["/into/it/same".into(), "/into/none".into()])
        .unwrap();
    assert!(seen[0].is_some() && seen[1].is_none());
    // Nothing below: what is extracted is the whole.
    house
        .keeper
        .make_directory(Path::new("alone"), 0o755, (0, 0))
        .unwrap();
    let alone = RootSpec {
        layers: Vec::new(),
        upper: Some("alone".into()),
    };
    let request = ApplyRequest::new(Archive::new().file("x", "x").stream(), alone, "/".into());
    house.keeper.apply(request).unwrap();
    assert_eq!(contents(&house, "alone/fs", "/").len(), 1);
}

fn what_is_put_in_is_taken_out() {
    let Some(house) = House::in_trees() else { return };
    house.write("base/etc/resolv.conf", "of the image\n");
    let script = "cat /etc/resolv.conf; echo lost >/etc/resolv.conf; echo lost >/dev/shm/x; echo x >/dev/null; \
                  busybox grep -c processor /proc/cpuinfo >/dev/null; cat /proc/self/mounts";
    let mut spec = container(house.root("c"), &["/bin/sh", "-c", script]);
    spec.files = vec![GeneratedFile::public("/etc/resolv.conf", "of the place\n")];
    let (status, text) = house.run(spec);
    assert_eq!(status, ExitStatus::Code(0));
    assert_eq!(text, "of the place\nrootfs / rootfs rw 0 0\n");
    assert_eq!(listing(diff(&house, "c", &["base"], Vec::new())), [""; 0]);
    let (_, text) = house.script("d", "cat /etc/resolv.conf");
    assert_eq!(text, "of the image\n");
}

fn mounts_come_and_go() {
    let Some(house) = House::in_trees() else { return };
    let keeper = &house.keeper;
    for path in ["cache", "shown"] {
        keeper.make_directory(Path::new(path), 0o755, (0, 0)).unwrap();
    }
    house.write("shown/file", "shown");
    house.write("secret", "hidden words");
    let at = |source: &str, target: &str, read_only| Mount {
        target: target.into(),
        source: MountSource::Keeper(source.into()),
        read_only,
    };
    let script = "echo kept >>/var/cache/x; cat /shown/file /run/secrets/s; echo y >/shown/file; echo z >/shown/new; \
                  echo gone >/scratch/x; echo stays >/var/beside";
    for (name, lines) in [("c", 1), ("d", 2)] {
        let mut spec = container(house.root(name), &["/bin/sh", "-c", script]);
        spec.mounts = vec![
            at("cache", "/var/cache", false),
            at("shown", "/shown", true),
            at("secret", "/run/secrets/s", true),
            temporary("/scratch"),
        ];
        let (status, text) = house.run(spec);
        assert_eq!(
            (status, text.as_str()),
            (ExitStatus::Code(0), "shownhidden words")
        );
        let layer = listing(diff(&house, name, &["base"], Vec::new()));
        let names: Vec<_> = layer.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["var/", "var/beside"]);
        let cache = std::fs::read_to_string(house.path("cache/x")).unwrap();
        assert_eq!(cache.lines().count(), lines);
        assert_eq!(
            std::fs::read_to_string(house.path("shown/file")).unwrap(),
            "shown"
        );
        assert!(!house.path("shown/new").exists());
        // Of the secret there is one copy, the pod's.
        assert_eq!(
            files_with(&house.path(""), "hidden words"),
            [house.path("secret")]
        );
    }
}

fn files_with(place: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if path.is_file() && String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
            found.push(path);
        }
    }
    found
}

fn nothing_outside_is_reached() {
    let Some(house) = House::in_trees() else { return };
    let secret = house.directory.path().join("credentials");
    std::fs::write(&secret, "of the job").unwrap();
    let mut neighbour = std::process::Command::new("sleep")
        .arg("600")
        .env("TOKEN", "of the job")
        .spawn()
        .unwrap();
    let (place, id) = (secret.display(), neighbour.id());
    let up = "../".repeat(30);
    let script = format!(
        "cat {place}; cat {up}{place}; cat /proc/{id}/environ; cat /proc/1/environ; ls /builds /root/..{place}
         busybox chroot /tmp /bin/busybox true && echo a root was chosen
         busybox mknod /tmp/disk b 254 0 && echo a device was made
         busybox mount -t tmpfs none /mnt 2>/dev/null && echo mounted
         kill -9 {id} && echo killed
         busybox unshare true && echo a namespace was made
         busybox ls -l /proc/self/fd /dev/fd
         echo end"
    );
    let (status, text) = house.script("c", &script);
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    assert!(text.ends_with("end\n"), "{text}");
    for reached in ["of the job", "TOKEN", "chosen", "made", "mounted"] {
        assert!(!text.contains(reached), "{text}");
    }
    // Signals are kept inside since Landlock's sixth version.
    if text.contains("killed") {
        assert!(neighbour.try_wait().unwrap().is_none() || !scopes_signals());
    } else {
        assert!(neighbour.try_wait().unwrap().is_none());
    }
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
}

fn scopes_signals() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(12))
}

fn no_network_is_none_at_all() {
    let Some(house) = House::in_trees() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = std::thread::spawn(move || drop(listener.accept()));
    let run = |name: &str, network| {
        let script = format!("nc -w 1 127.0.0.1 {port} </dev/null && echo connected");
        let mut spec = container(house.root(name), &["/bin/sh", "-c", &script]);
        spec.network = network;
        house.run(spec).1
    };
    let refused = run("c", ContainerNetwork::None);
    assert!(refused.contains("Address family not supported"), "{refused}");
    assert_eq!(run("d", ContainerNetwork::Pod), "connected\n");
    accepting.join().unwrap();
}

fn is_running(sign: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(sign))
    })
}

fn what_stays_behind_is_ended() {
    let Some(house) = House::in_trees() else { return };
    let script =
        "busybox setsid /bin/sh -c 'trap \"\" TERM HUP INT; while :; do sleep 7654321; done' </dev/null &
                  busybox nohup busybox setsid sleep 7654322 >/dev/null 2>&1 &
                  busybox sleep 0.1; echo done";
    let (status, text) = house.script("c", script);
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), "done\n"));
    assert!(!is_running("7654321") && !is_running("7654322"));
}

fn too_many_processes_are_ended() {
    let limit = ProcessLimit::try_from(512).unwrap();
    let Some(house) = House::in_trees_limited(limit) else {
        return;
    };
    // Each of a group of its own, the hard case: none is ended with another.
    let script = "i=0; while [ $i -lt 2000 ]; do busybox setsid busybox sleep 7654323 & i=$((i+1)); done; wait; echo never";
    let (status, text) = house.script("c", script);
    assert_eq!(status, ExitStatus::Signal(9), "{text}");
    assert!(!text.contains("never"));
    assert!(!is_running("7654323"));
    assert!(house.keeper.is_alive());
    let (status, text) = house.script("d", "echo next");
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), "next\n"));
}

fn whoever_is_killed_nothing_stays() {
    for whom in ["launcher", "keeper", "nobody"] {
        let Some(house) = House::in_trees() else { return };
        let sign = match whom {
            "launcher" => "7654324",
            "keeper" => "7654325",
            _ => "7654326",
        };
        house
            .keeper
            .make_directory(Path::new("cache"), 0o755, (0, 0))
            .unwrap();
        let script = format!("busybox setsid sleep {sign} & sleep {sign}");
        let spec = container(house.root("c"), &["/bin/sh", "-c", &script]);
        house.keeper.start(spec, Stdio::default()).unwrap();
        wait_until("the processes run", || is_running(sign));
        let launcher = house.keeper.launcher_id();
        let kill = |id: u32| {
            let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        };
        match whom {
            "launcher" => kill(launcher),
            "keeper" => kill(child_of(launcher)),
            _ => house.keeper.close(),
        }
        wait_until("everything has ended", || !is_running(sign));
        house.keeper.close();
        assert_eq!(
            house.keeper.remove_tree(Path::new("nothing")),
            Err(KeeperError::Gone)
        );
        // What a killed keeper could not remove, the next one does.
        let next = Keeper::launch(&LaunchOptions::chroot(house.path(""), "next")).unwrap();
        assert_eq!(tree_inodes(&house).len(), 0, "{whom}");
        next.close();
        let left = std::fs::read_dir(house.path(".keeper/trees")).unwrap().count();
        assert_eq!(left, 0, "{whom}");
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let ask = || if holds() { Ok(()) } else { Err(what.to_owned()) };
    wait_for(Duration::from_secs(20), ask).unwrap();
}

fn child_of(parent: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn what_needs_namespaces_is_refused_by_name() {
    let Some(house) = House::in_trees() else { return };
    let refused = |error: KeeperError| {
        let text = error.to_string();
        assert!(text.contains("tier C"), "{text}");
    };
    refused(
        house
            .keeper
            .pipe()
            .and_then(|_| house.keeper.connect_tcp("127.0.0.1:1".parse().unwrap()))
            .unwrap_err(),
    );
    let mut spec = container(house.root("c"), &["/bin/true"]);
    spec.mounts = vec![Mount {
        target: "/x".into(),
        source: MountSource::Host("/etc".into()),
        read_only: true,
    }];
    refused(house.keeper.start(spec, Stdio::default()).unwrap_err());
    let mut spec = container(house.root("d"), &["/bin/true"]);
    spec.network = ContainerNetwork::Bridge([198, 18, 0, 2].into());
    refused(house.keeper.start(spec, Stdio::default()).unwrap_err());
    let missing = house
        .keeper
        .start(container(house.root("e"), &["/bin/none"]), Stdio::default());
    assert!(
        matches!(missing, Err(KeeperError::NotFound { .. })),
        "{missing:?}"
    );
    let wanted = Place::detect(Some(Isolation::Chroot), &house.path("probe")).unwrap();
    assert_eq!(wanted.id_map, IdMap::own());
    let found = Place::detect(None, &house.path("probe")).unwrap();
    assert_eq!(found.isolation, Isolation::Namespaces);
}

fn a_user_of_the_root_runs_as_such() {
    let Some(house) = House::in_trees() else { return };
    let mut spec = container(
        house.root("c"),
        &[
            "/bin/sh",
            "-c",
            "id; echo x >/tmp/mine; echo x 2>/dev/null >/etc/mine; pwd",
        ],
    );
    spec.process.user = "ann".into();
    spec.process.cwd = "/made/here".into();
    let (status, text) = house.run(spec);
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    assert!(
        text.contains("uid=1000(ann) gid=1001(ann)") && text.ends_with("/made/here\n"),
        "{text}"
    );
}
