//! Layers in, layers out, and archives that mean harm.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ApplyRequest, ArchiveRequest, ArchiveRoot, Conflict, ExitStatus, FileKind, GeneratedFile, KeeperError,
    RootSpec, UnpackLimits, UnpackRequest,
};

use crate::house::{House, Test, container};
use crate::tarball::{Archive, contents, diff, listing, unpack};

pub(crate) const TESTS: &[Test] = &[
    ("archives::a_layer_round_trips", a_layer_round_trips),
    (
        "archives::harmful_archives_stay_inside",
        harmful_archives_stay_inside,
    ),
    (
        "archives::names_of_directories_have_a_bound",
        names_of_directories_have_a_bound,
    ),
    (
        "archives::implied_directories_look_as_below",
        implied_directories_look_as_below,
    ),
    ("archives::copying_merges_into_a_root", copying_merges_into_a_root),
    ("archives::nothing_is_a_root_too", nothing_is_a_root_too),
    (
        "archives::diff_leaves_mount_points_out",
        diff_leaves_mount_points_out,
    ),
    ("archives::attributes_survive", attributes_survive),
    ("archives::looking_finds_and_follows", looking_finds_and_follows),
    ("archives::closed_trees_are_removed", closed_trees_are_removed),
];

fn a_layer_round_trips() {
    let house = House::with_busybox();
    let first = Archive::new()
        .directory("d/", 0o2750)
        .file("d/gone", "1")
        .file("d/kept", "2")
        .directory("hidden/", 0o755)
        .file("hidden/below", "3")
        .entry("link", tar::EntryType::Symlink, "d/kept", 0o777, "")
        .entry("d/hard", tar::EntryType::Link, "d/kept", 0o640, "");
    let report = unpack(&house, "first", &["base"], first).unwrap();
    assert_eq!((report.entries, report.bytes, report.implied), (7, 3, 0));

    let mut root = house.root("c");
    root.layers.push("first".into());
    let script = "busybox rm /d/gone; busybox rm -r /hidden; busybox mkdir /hidden; echo new >/hidden/new; \
                  busybox chown 7:8 /d/kept; busybox chmod 4755 /d/kept; busybox mkfifo /fifo; busybox ln /hidden/new /hidden/two";
    let mut spec = container(root.clone(), &["/bin/sh", "-c", script]);
    spec.files = vec![GeneratedFile::public("/etc/hosts", "x")];
    let (started, mut output) = house.start(spec);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(
        (house.keeper.wait(started.process).unwrap(), text.as_str()),
        (ExitStatus::Code(0), "")
    );

    let layer = diff(&house, "c", &["base", "first"], started.made);
    assert_eq!(
        listing(layer.try_clone().unwrap()),
        [
            "d/ Directory 2750 1000:1001 1600000000",
            "d/.wh.gone Regular 0 0:0 1600000000",
            "d/kept Regular 4755 7:8 1600000000 2",
            "fifo Fifo 644 0:0 1600000000",
            "hidden/ Directory 755 0:0 1600000000",
            "hidden/.wh.below Regular 0 0:0 1600000000",
            "hidden/new Regular 644 0:0 1600000000 new",
            "hidden/two Link 644 0:0 1600000000 -> hidden/new",
        ]
    );

    let mut again = layer.try_clone().unwrap();
    again.rewind().unwrap();
    house
        .keeper
        .make_directory(Path::new("second"), 0o755, (0, 0))
        .unwrap();
    house
        .keeper
        .unpack(UnpackRequest::new(
            again.into(),
            "second".into(),
            vec!["base".into(), "first".into()],
        ))
        .unwrap();
    let root = RootSpec {
        layers: vec!["base".into(), "first".into(), "second".into()],
        upper: Some("e".into()),
    };
    house
        .keeper
        .make_directory(Path::new("e"), 0o700, (0, 0))
        .unwrap();
    let script = "ls /d /hidden; cat /link; stat -c '%a %u %g %h' /d/kept /hidden/new; stat -c %a /d";
    let (_, text) = house.run(container(root, &["/bin/sh", "-c", script]));
    assert_eq!(
        text,
        "/d:\nhard\nkept\n\n/hidden:\nnew\ntwo\n24755 7 8 1\n644 0 0 2\n2750\n"
    );
}

fn harmful_archives_stay_inside() {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let house = House::new();
    let outside = house.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let outside_name = outside.to_str().unwrap();

    let refused = |into: &str, archive: Archive, part: &str| match unpack(&house, into, &[], archive) {
        Err(KeeperError::Archive { reason, .. }) => assert!(reason.contains(part), "{into}: {reason}"),
        other => panic!("{into}: {other:?}"),
    };
    refused("up", Archive::new().file("a/../../evil", "x"), "leads out");
    refused(
        "hard",
        Archive::new().entry("h", Link, "missing", 0o644, ""),
        "hard link to missing",
    );
    refused(
        "harder",
        Archive::new().entry("h", Link, "../../etc/passwd", 0o644, ""),
        "leads out",
    );
    let mut broken = Archive::new().file("a", "x");
    broken.0.get_mut()[0] = b'b';
    refused("broken", broken, "checksum");

    let archive = Archive::new()
        .entry("out", Symlink, outside_name, 0o777, "")
        .file("out/evil", "x")
        .file("/absolute", "y")
        .entry("device", Char, "", 0o666, "")
        .entry("etc", Symlink, "/etc", 0o777, "")
        .entry("etc/passwd", Regular, "", 0o644, "z");
    // Links lead to directories that do not exist inside, and those outside do not exist for the worker.
    let answer = unpack(&house, "links", &[], archive);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let archive = Archive::new()
        .file("/absolute", "y")
        .entry("device", Char, "", 0o666, "");
    let report = unpack(&house, "fine", &[], archive).unwrap();
    assert_eq!((report.entries, report.skipped_devices), (2, 1));
    let expected = ["absolute Regular 640 1000:1001 1600000000 y"];
    assert_eq!(contents(&house, "fine", "/absolute"), expected);

    house
        .keeper
        .make_directory(Path::new("many"), 0o755, (0, 0))
        .unwrap();
    let mut request = UnpackRequest::new(
        Archive::new().file("a", "").file("b", "").stream(),
        "many".into(),
        vec![],
    );
    request.limits = UnpackLimits {
        entries: 1,
        ..UnpackLimits::default()
    };
    assert!(matches!(
        house.keeper.unpack(request),
        Err(KeeperError::Archive { .. })
    ));
}

/// Their times are set last, so their names are kept: many long ones are kilobytes of gzip.
fn names_of_directories_have_a_bound() {
    let house = House::new();
    let limits = UnpackLimits {
        directories: 200,
        ..UnpackLimits::default()
    };
    let unpack = |into: &str, archive: Archive| {
        house
            .keeper
            .make_directory(Path::new(into), 0o755, (0, 0))
            .unwrap();
        let mut request = UnpackRequest::new(archive.stream(), into.into(), vec![]);
        request.limits = limits;
        house.keeper.unpack(request)
    };
    let long = |number: usize| format!("{number:050}/");
    let same = (0..100).fold(Archive::new(), |archive, _| archive.directory(&long(0), 0o755));
    assert_eq!(unpack("same", same).unwrap().entries, 100);
    let many = (0..5).fold(Archive::new(), |archive, number| {
        archive.directory(&long(number), 0o755)
    });
    let refused = unpack("many", many).unwrap_err().to_string();
    assert!(refused.contains("more than 200 bytes"), "{refused}");
}

fn implied_directories_look_as_below() {
    let house = House::with_busybox();
    unpack(
        &house,
        "low",
        &[],
        Archive::new()
            .directory("srv/", 0o1770)
            .directory("srv/x/", 0o711),
    )
    .unwrap();
    let report = unpack(
        &house,
        "high",
        &["low", "missing"],
        Archive::new().file("srv/x/y/file", "1"),
    )
    .unwrap();
    assert_eq!(report.implied, 1, "srv/x/y is nowhere below");
    let root = RootSpec {
        layers: vec!["low".into(), "high".into()],
        upper: None,
    };
    let paths = ["/srv", "/srv/x", "/srv/x/y"].map(PathBuf::from);
    let looks: Vec<_> = house
        .keeper
        .stat(&root, &paths)
        .unwrap()
        .into_iter()
        .flatten()
        .map(|status| (status.mode, status.uid, status.gid))
        .collect();
    assert_eq!(looks, [(0o1770, 1000, 1001), (0o711, 1000, 1001), (0o755, 0, 0)]);

    // A whiteout and a new directory of the same name, in either order.
    for (into, archive) in [
        (
            "before",
            Archive::new()
                .file("srv/.wh.x", "")
                .directory("srv/x/", 0o700)
                .file("srv/x/n", ""),
        ),
        (
            "after",
            Archive::new()
                .directory("srv/x/", 0o700)
                .file("srv/x/n", "")
                .file("srv/.wh.x", ""),
        ),
        (
            "implied",
            Archive::new().file("srv/.wh.x", "").file("srv/x/n", ""),
        ),
    ] {
        unpack(&house, into, &["low", "high"], archive).unwrap();
        let root = RootSpec {
            layers: vec!["low".into(), "high".into(), into.into()],
            upper: None,
        };
        let found = house.keeper.glob(&root, "/srv/x/*").unwrap();
        assert_eq!(found, [PathBuf::from("/srv/x/n")], "{into}");
    }
}

fn copying_merges_into_a_root() {
    let house = House::with_busybox();
    unpack(
        &house,
        "low",
        &["base"],
        Archive::new()
            .directory("var/", 0o711)
            .file("var/file", "old")
            .entry("run", tar::EntryType::Symlink, "/var", 0o777, ""),
    )
    .unwrap();
    let mut root = house.root("c");
    root.layers.push("low".into());
    let archive = || {
        Archive::new()
            .directory("./", 0o700)
            .file("file", "new")
            .directory("sub/", 0o750)
            .file("sub/x", "1")
    };
    let mut request = ApplyRequest::new(archive().stream(), root.clone(), "/run/deep/er".into());
    request.target_owner = (5, 6);
    request.target_mode = 0o700;
    house.keeper.apply(request).unwrap();
    house
        .keeper
        .apply(ApplyRequest::new(archive().stream(), root.clone(), "/run".into()))
        .unwrap();
    assert_eq!(
        listing(diff(&house, "c", &["base"], vec![])),
        [
            "var/ Directory 711 1000:1001 1600000000",
            "var/deep/ Directory 700 5:6 1600000000",
            "var/deep/er/ Directory 700 5:6 1600000000",
            "var/deep/er/file Regular 640 1000:1001 1600000000 new",
            "var/deep/er/sub/ Directory 750 1000:1001 1600000000",
            "var/deep/er/sub/x Regular 640 1000:1001 1600000000 1",
            "var/file Regular 640 1000:1001 1600000000 new",
            "var/sub/ Directory 750 1000:1001 1600000000",
            "var/sub/x Regular 640 1000:1001 1600000000 1",
        ]
    );
    let over = || Archive::new().file("sub", "no directory");
    let mut request = ApplyRequest::new(over().stream(), root.clone(), "/var".into());
    request.conflict = Conflict::Refuse;
    assert!(matches!(
        house.keeper.apply(request),
        Err(KeeperError::Archive { .. })
    ));
    house
        .keeper
        .apply(ApplyRequest::new(over().stream(), root.clone(), "/var".into()))
        .unwrap();
    let status = house.keeper.stat(&root, &["/var/sub".into()]).unwrap();
    assert_eq!(status[0].as_ref().unwrap().kind, FileKind::File);

    let dangling = Archive::new().entry("broken", tar::EntryType::Symlink, "there/too", 0o777, "");
    house
        .keeper
        .apply(ApplyRequest::new(dangling.stream(), root.clone(), "/".into()))
        .unwrap();
    house
        .keeper
        .apply(ApplyRequest::new(
            archive().stream(),
            root.clone(),
            "/broken/below".into(),
        ))
        .unwrap();
    let status = house
        .keeper
        .stat(&root, &["/there/too/below/file".into()])
        .unwrap();
    assert_eq!(status[0].as_ref().unwrap().kind, FileKind::File);

    // A plain directory, and a running container.
    house
        .keeper
        .make_directory(Path::new("plain"), 0o755, (0, 0))
        .unwrap();
    let request = ApplyRequest::new(
        archive().stream(),
        ArchiveRoot::Directory("plain".into()),
        "/in".into(),
    );
    house.keeper.apply(request).unwrap();
    let expected = ["in/sub/x Regular 640 1000:1001 1600000000 1"];
    assert_eq!(contents(&house, "plain", "/in/sub/x"), expected);
    let (started, mut output) = house.start(container(
        house.root("d"),
        &["/bin/sh", "-c", "echo up; exec sleep 1000"],
    ));
    output.read_exact(&mut [0; 3]).unwrap();
    let inside = ArchiveRoot::Container(started.container);
    house
        .keeper
        .apply(ApplyRequest::new(
            archive().stream(),
            inside.clone(),
            "/tmp".into(),
        ))
        .unwrap();
    let file = tempfile::tempfile().unwrap();
    let mut request = ArchiveRequest::new(
        inside,
        vec!["/tmp/sub".into(), "/tmp/file".into()],
        file.try_clone().unwrap().into(),
    );
    request.relative_to = "/tmp".into();
    request.owner = Some((0, 0));
    house.keeper.archive(request).unwrap();
    assert_eq!(
        listing(file),
        [
            "sub/ Directory 750 0:0 1600000000",
            "sub/x Regular 640 0:0 1600000000 1",
            "file Regular 640 0:0 1600000000 new",
        ]
    );
}

fn nothing_is_a_root_too() {
    let house = House::with_busybox();
    house
        .keeper
        .make_directory(Path::new("c"), 0o700, (0, 0))
        .unwrap();
    let root = RootSpec {
        layers: vec![],
        upper: Some("c".into()),
    };
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let mut archive = Archive::new();
    let mut header = tar::Header::new_gnu();
    header.set_size(busybox.len() as u64);
    header.set_mode(0o755);
    archive
        .0
        .append_data(&mut header, "sh", busybox.as_slice())
        .unwrap();
    house
        .keeper
        .apply(ApplyRequest::new(archive.stream(), root.clone(), "/bin".into()))
        .unwrap();
    let (status, text) = house.run(container(root.clone(), &["/bin/sh", "-c", "echo $0 runs"]));
    assert_eq!((status, text.as_str()), (ExitStatus::Code(0), "/bin/sh runs\n"));
    let file = tempfile::tempfile().unwrap();
    let request = ArchiveRequest::new(root.into(), vec!["/bin".into()], file.try_clone().unwrap().into());
    assert_eq!(house.keeper.archive(request).unwrap().entries, 2);
    let empty = RootSpec {
        layers: vec![],
        upper: None,
    };
    assert_eq!(house.keeper.stat(&empty, &["/bin".into()]).unwrap(), [None]);
    assert_eq!(house.keeper.resolve_user(&empty, "12:13").unwrap(), (12, 13));
}

fn diff_leaves_mount_points_out() {
    let house = House::with_busybox();
    house
        .keeper
        .make_directory(Path::new("c"), 0o700, (0, 0))
        .unwrap();
    let mut spec = container(
        house.root("d"),
        &["/bin/sh", "-c", "echo x >/sys/kernel/x; echo y >/made/too/file"],
    );
    spec.files = vec![
        GeneratedFile::public("/deep/er/file", []),
        GeneratedFile::public("/made/too/deep", []),
    ];
    let (started, mut output) = house.start(spec);
    output.read_to_string(&mut String::new()).unwrap();
    house.keeper.wait(started.process).unwrap();
    let lines = listing(diff(&house, "d", &["base"], started.made));
    let names: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["made/", "made/too/", "made/too/file"]);
}

fn attributes_survive() {
    let house = House::with_busybox();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut archive = Archive::new();
    archive
        .0
        .append_pax_extensions([
            ("SCHILY.xattr.security.capability", capability.as_slice()),
            ("SCHILY.xattr.user.note", b"kept".as_slice()),
            ("SCHILY.xattr.user.overlay.opaque", b"y".as_slice()),
            ("SCHILY.xattr.trusted.x", b"y".as_slice()),
            ("mtime", b"1500000000.25".as_slice()),
        ])
        .unwrap();
    let archive = archive.file("bin/ping", "p");
    let root = house.root("c");
    let report = house
        .keeper
        .apply(ApplyRequest::new(archive.stream(), root, "/".into()))
        .unwrap();
    assert_eq!(report.skipped_attributes, 2);
    let lines = listing(diff(&house, "c", &["base"], vec![]));
    let expected = format!(
        "bin/ping Regular 640 1000:1001 1500000000 SCHILY.xattr.security.capability={capability:?} \
         SCHILY.xattr.user.note={:?} p",
        b"kept"
    );
    assert_eq!(lines[1], expected);
}

fn looking_finds_and_follows() {
    let house = House::with_busybox();
    let archive = Archive::new()
        .directory("d/", 0o755)
        .file("d/a.txt", "1")
        .file("d/b.txt", "2")
        .file("d/c", "3")
        .entry("l", tar::EntryType::Symlink, "d", 0o777, "")
        .entry("dangling", tar::EntryType::Symlink, "/nowhere", 0o777, "");
    unpack(&house, "low", &[], archive).unwrap();
    let root = RootSpec {
        layers: vec!["low".into()],
        upper: None,
    };
    let paths = ["/l/a.txt", "l", "/dangling", "/missing", "/d/a.txt/x"].map(PathBuf::from);
    let found = house.keeper.stat(&root, &paths).unwrap();
    let kinds: Vec<_> = found
        .iter()
        .map(|status| status.as_ref().map(|status| (status.kind, status.resolved)))
        .collect();
    assert_eq!(
        kinds,
        [
            Some((FileKind::File, Some(FileKind::File))),
            Some((FileKind::Link, Some(FileKind::Directory))),
            Some((FileKind::Link, None)),
            None,
            None,
        ]
    );
    assert_eq!(found[1].as_ref().unwrap().link, Some("d".into()));
    assert_eq!(
        house.keeper.glob(&root, "/l/*.t?t").unwrap(),
        ["/l/a.txt", "/l/b.txt"].map(PathBuf::from)
    );
    assert_eq!(
        house.keeper.glob(&root, "[dx]/[^ab]*").unwrap(),
        ["/d/c"].map(PathBuf::from)
    );
}

fn closed_trees_are_removed() {
    let house = House::with_busybox();
    let script = "busybox mkdir -p /a/b/c; echo >/a/b/c/f; busybox chown -R 70:70 /a; busybox chmod 000 /a/b/c; \
                  busybox chmod 500 /a /a/b; i=0; while [ $i -lt 300 ]; do busybox mkdir deeeeeeeeeep; cd deeeeeeeeeep; i=$((i+1)); done";
    assert_eq!(house.script("c", script).0, ExitStatus::Code(0));
    house.keeper.remove_tree(Path::new("c")).unwrap();
    house.keeper.remove_tree(Path::new("base")).unwrap();
    let left: Vec<_> = std::fs::read_dir(house.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".keeper"]);
    for name in ["x", "z"] {
        house
            .keeper
            .make_directory(Path::new(name), 0o755, (0, 0))
            .unwrap();
    }
    house.write("x/y", "");
    let error = house.keeper.rename(Path::new("z"), Path::new("x")).unwrap_err();
    assert!(
        matches!(error, KeeperError::System { cause, .. } if cause.errno() == rustix::io::Errno::NOTEMPTY.raw_os_error()),
        "{error:?}"
    );
}
