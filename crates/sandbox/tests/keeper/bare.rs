//! Keepers that may do nothing but own files: what they unpack, copy and write is what others would, and they start nothing.

use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ApplyRequest, ArchiveRequest, FileKind, KeeperError, RootSpec, Stdio, what_lets_programs_run,
};

use crate::house::{House, Test, container};
use crate::tarball::{Archive, diff, listing, unpack};

pub(crate) const TESTS: &[Test] = &[
    (
        "bare::layers_are_those_of_an_overlay",
        layers_are_those_of_an_overlay,
    ),
    ("bare::links_lead_nowhere_outside", links_lead_nowhere_outside),
    ("bare::programs_are_refused_by_name", programs_are_refused_by_name),
];

/// Of a program that may bind ports below 1024.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn first() -> Archive {
    let mut archive = Archive::new()
        .directory("closed/", 0)
        .file("closed/file", "1")
        .directory("read-only/", 0o555)
        .entry("read-only/shut", tar::EntryType::Regular, "", 0, "2")
        .entry("set-id", tar::EntryType::Regular, "", 0o6755, "3")
        .directory("sticky/", 0o1777)
        .file("gone", "4")
        .directory("replaced/", 0o755)
        .file("replaced/below", "5")
        .entry("link", tar::EntryType::Symlink, "closed/file", 0o777, "")
        .entry("moved", tar::EntryType::Symlink, "/read-only", 0o777, "")
        .entry("pipe", tar::EntryType::Fifo, "", 0o620, "")
        .entry("again", tar::EntryType::Link, "set-id", 0o6755, "");
    archive
        .0
        .append_pax_extensions([("SCHILY.xattr.security.capability", CAPABILITY.as_slice())])
        .unwrap();
    archive.entry("able", tar::EntryType::Regular, "", 0o755, "6")
}

/// Two layers, and a copy over them: as a layer, and as all of what is then to be seen.
fn built(house: &House) -> (Vec<String>, Vec<String>) {
    unpack(house, "first", &[], first()).unwrap();
    let second = Archive::new()
        .file(".wh.gone", "")
        .file("replaced/.wh..wh..opq", "")
        .file("replaced/above", "7")
        .file("closed/second", "8");
    unpack(house, "second", &["first"], second).unwrap();
    house
        .keeper
        .make_directory(Path::new("c"), 0o755, (0, 0))
        .unwrap();
    let root = RootSpec {
        layers: vec!["first".into(), "second".into()],
        upper: Some("c".into()),
    };
    let copy = |target: &str| {
        let archive = Archive::new()
            .file("copied", "9")
            .directory("closed/", 0o755)
            .file("closed/third", "10")
            .entry("to", tar::EntryType::Symlink, "copied", 0o777, "");
        let mut request = ApplyRequest::new(archive.stream(), root.clone(), target.into());
        request.target_owner = (7, 8);
        request.target_mode = 0o500;
        house.keeper.apply(request).unwrap();
    };
    copy("/");
    copy("/moved/new/directory");
    let layer = listing(diff(house, "c", &["first", "second"], Vec::new()));
    let file = tempfile::tempfile().unwrap();
    let all = ArchiveRequest::new(root.into(), vec!["/".into()], file.try_clone().unwrap().into());
    house.keeper.archive(all).unwrap();
    (layer, listing(file))
}

fn layers_are_those_of_an_overlay() {
    let by_overlay = built(&House::new());
    let by_files = built(&House::bare());
    assert_eq!(by_files.0, by_overlay.0);
    // When something was put into a directory is of the moment.
    let of_the_time = |lines: &[String]| -> Vec<String> {
        let without = |line: &String| {
            let words: Vec<_> = line.split(' ').collect();
            let now = words.get(4).is_some_and(|time| *time > "1600000000");
            let kept = words.iter().enumerate().filter(|(at, _)| !(now && *at == 4));
            kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
        };
        lines.iter().map(without).collect()
    };
    assert_eq!(of_the_time(&by_files.1), of_the_time(&by_overlay.1));
    for expected in [
        "closed/ Directory 0 1000:1001",
        "set-id Link 6755 1000:1001",
        "link Symlink 777 1000:1001",
        "pipe Fifo 620 1000:1001",
        "read-only/new/ Directory 500 7:8",
    ] {
        assert!(
            by_files.1.iter().any(|line| line.starts_with(expected)),
            "{expected}: {:#?}",
            by_files.1
        );
    }
    assert!(by_files.1.iter().any(|line| line.contains("security.capability")));
}

fn links_lead_nowhere_outside() {
    let house = House::bare();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "outside").unwrap();
    let place = outside.path().to_str().unwrap();
    let up = format!("{}{}", "../".repeat(20), &place[1..]);
    let archive = Archive::new()
        .entry("absolute", tar::EntryType::Symlink, place, 0o777, "")
        .entry("up", tar::EntryType::Symlink, &up, 0o777, "")
        .entry("here", tar::EntryType::Symlink, "/", 0o777, "")
        .file("here/inside", "inside");
    unpack(&house, "first", &[], archive).unwrap();
    house
        .keeper
        .make_directory(Path::new("c"), 0o755, (0, 0))
        .unwrap();
    let root = RootSpec {
        layers: vec!["first".into()],
        upper: Some("c".into()),
    };
    for target in ["/absolute", "/up", "/here/absolute/deeper"] {
        let archive = Archive::new().file("written", "inside");
        house
            .keeper
            .apply(ApplyRequest::new(archive.stream(), root.clone(), target.into()))
            .unwrap();
    }
    let names: Vec<_> = std::fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"], "written outside");
    let paths = ["/absolute/file", "/up/file", "/absolute/written", "/inside"].map(PathBuf::from);
    let found = house.keeper.stat(&root, &paths).unwrap();
    let kinds: Vec<_> = found
        .iter()
        .map(|status| status.as_ref().map(|status| status.kind))
        .collect();
    assert_eq!(kinds, [None, None, Some(FileKind::File), Some(FileKind::File)]);
    let matches = house.keeper.glob(&root, "/absolute/*").unwrap();
    assert_eq!(
        matches,
        ["/absolute/deeper", "/absolute/written"].map(PathBuf::from)
    );
    let output = tempfile::tempfile().unwrap();
    let stolen = ArchiveRequest::new(root.into(), vec!["/up/file".into()], output.into());
    assert!(house.keeper.archive(stolen).is_err());
}

fn programs_are_refused_by_name() {
    let house = House::bare().furnished();
    let spec = container(house.root("c"), &["/bin/sh", "-c", "echo started"]);
    let refused = house.keeper.start(spec, Stdio::default()).unwrap_err();
    let remedy = what_lets_programs_run();
    assert!(remedy.contains("tier "), "{remedy}");
    assert_eq!(refused, KeeperError::NoPrograms { remedy });
}
