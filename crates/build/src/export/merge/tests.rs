//! What shows of layers over each other, checked as a tar and as a directory.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use shipway_oci::{Descriptor, Digest, media_type};

use super::super::directory::DirectorySink;
use super::super::tar::TarSink;
use super::*;

/// A layer: paths that end with `/` are directories, `a -> b` is a link, `a = b` another name, `a: text` a file.
fn layer(store: &Store, lines: &[&str]) -> (Descriptor, Digest) {
    let mut tar = tar::Builder::new(Vec::new());
    for line in lines {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1000);
        header.set_size(0);
        header.set_mode(0o644);
        let kind = |header: &mut tar::Header, kind| header.set_entry_type(kind);
        if let Some((path, to)) = line.split_once(" -> ") {
            kind(&mut header, tar::EntryType::Symlink);
            tar.append_link(&mut header, path, to).unwrap();
        } else if let Some((path, to)) = line.split_once(" = ") {
            kind(&mut header, tar::EntryType::Link);
            tar.append_link(&mut header, path, to).unwrap();
        } else if let Some((path, text)) = line.split_once(": ") {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        } else {
            let directory = line.ends_with('/');
            header.set_mode(if directory { 0o750 } else { 0o600 });
            kind(
                &mut header,
                if directory {
                    tar::EntryType::Directory
                } else {
                    tar::EntryType::Regular
                },
            );
            tar.append_data(&mut header, line, std::io::empty()).unwrap();
        }
    }
    let bytes = tar.into_inner().unwrap();
    let blob = store.put_blob(&bytes).unwrap();
    let descriptor = Descriptor::new(media_type::OCI_LAYER_TAR, blob.digest, blob.size);
    (descriptor, Digest::sha256(&bytes))
}

fn merged(store: &Store, layers: &[(Descriptor, Digest)], sink: &mut dyn Sink) -> Result<(), ExportError> {
    let layers: Vec<Layer<'_>> = layers
        .iter()
        .map(|(blob, diff_id)| Layer { blob, diff_id })
        .collect();
    merge(store, &layers, sink)
}

/// What shows, in the order in which it comes: `path` and what it is.
fn shown(layers: &[&[&str]]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let layers: Vec<_> = layers.iter().map(|lines| layer(&store, lines)).collect();
    struct List(Vec<String>);
    impl Sink for List {
        fn take(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ExportError> {
            let mut text = String::new();
            content.read_to_string(&mut text).unwrap();
            let path = entry.path.display();
            self.0.push(match &entry.kind {
                Kind::Directory => format!("{path}/"),
                Kind::File => format!("{path}: {text}"),
                Kind::SymbolicLink(to) => format!("{path} -> {}", to.display()),
                Kind::HardLink(first) => format!("{path} = {}", first.display()),
                other => format!("{path} {other:?}"),
            });
            Ok(())
        }
    }
    let mut list = List(Vec::new());
    merged(&store, &layers, &mut list).unwrap();
    list.0
}

#[test]
fn the_upper_entry_of_a_name_shows() {
    let below: &[&str] = &[
        "a/",
        "a/x: old",
        "a/y: keep",
        "b: file",
        "c/",
        "c/d/",
        "c/d/e: deep",
    ];
    assert_eq!(
        shown(&[below, &["a/", "a/x: new", "b/", "b/inside: 1"]]),
        [
            "a/",
            "a/y: keep",
            "c/",
            "c/d/",
            "c/d/e: deep",
            "a/x: new",
            "b/",
            "b/inside: 1"
        ]
    );
    // A whiteout, one of a whole directory, an emptied directory, and a file in the place of a directory.
    assert_eq!(
        shown(&[below, &["a/.wh.x", ".wh.c"]]),
        ["a/", "a/y: keep", "b: file"]
    );
    assert_eq!(
        shown(&[below, &["a/", "a/.wh..wh..opq", "a/z: new"]]),
        ["b: file", "c/", "c/d/", "c/d/e: deep", "a/", "a/z: new"]
    );
    assert_eq!(
        shown(&[below, &["c: flat"]]),
        ["a/", "a/x: old", "a/y: keep", "b: file", "c: flat"]
    );
    // What a whiteout took, a layer above it brings back.
    assert_eq!(shown(&[&["f: 1"], &[".wh.f"], &["f: 2"]]), ["f: 2"]);
    // A single layer hides nothing, and what was for its bookkeeping does not show.
    assert_eq!(shown(&[&["f: 1", ".wh.g", ".wh..wh.plnk/"]]), ["f: 1"]);
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let below: &[&str] = &["a: one", "b = a", "c = b"];
    assert_eq!(shown(&[below, &["x: 1"]]), ["a: one", "b = a", "c = a", "x: 1"]);
    // The first name is gone, or another file: the content goes to the next name.
    assert_eq!(shown(&[below, &[".wh.a"]]), ["b: one", "c = b"]);
    assert_eq!(shown(&[below, &["a: two"]]), ["b: one", "c = b", "a: two"]);
    // A name in an upper layer, of a file below that does not show any more.
    assert_eq!(
        shown(&[&["d/", "d/a: one"], &["l = d/a"], &[".wh.d"]]),
        ["l: one"]
    );
}

#[test]
fn a_name_of_nothing_and_a_wrong_diff_id_are_errors() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let good = layer(&store, &["a: 1"]);
    let dangling = layer(&store, &["l = nowhere"]);
    let mut sink = TarSink::new(Vec::new(), None);
    assert!(merged(&store, &[good, dangling], &mut sink).is_err());
    let lying = (layer(&store, &["a: 1"]).0, Digest::sha256(b"else"));
    let said = merged(&store, &[lying], &mut sink).unwrap_err();
    assert!(matches!(said, ExportError::DiffId { .. }), "{said}");
}

#[test]
fn a_directory_is_written_through_no_link_of_what_was_there() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store")).unwrap();
    let layers = [layer(
        &store,
        &[
            "d/",
            "d/f: new",
            "g: new",
            "e -> /etc/passwd",
            "h = g",
            "deep/er/x: 1",
        ],
    )];
    let victim = home.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("g"), "precious").unwrap();
    let out = home.path().join("out");
    std::fs::create_dir(&out).unwrap();
    symlink(&victim, out.join("d")).unwrap();
    symlink(victim.join("g"), out.join("g")).unwrap();
    std::fs::write(out.join("stale"), "").unwrap();
    for (sweeps, stale) in [(false, true), (true, false)] {
        let mut sink = DirectorySink::new(&out, None, sweeps).unwrap();
        merged(&store, &layers, &mut sink).unwrap();
        assert!(sink.finish().unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(victim.join("g")).unwrap(), "precious");
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(out.join("d/f")).unwrap(), "new");
        assert_eq!(
            std::fs::read_link(out.join("e")).unwrap(),
            Path::new("/etc/passwd")
        );
        let of = |path: &str| std::fs::symlink_metadata(out.join(path)).unwrap();
        assert_eq!(of("g").ino(), of("h").ino());
        assert_eq!(
            (of("d").permissions().mode() & 0o7777, of("d").mtime()),
            (0o750, 1000)
        );
        assert_eq!(
            (of("g").permissions().mode() & 0o7777, of("g").mtime()),
            (0o644, 1000)
        );
        assert!(of("deep/er/x").is_file());
        assert_eq!(out.join("stale").exists(), stale);
    }
    std::fs::remove_file(out.join("g")).unwrap();
    std::fs::create_dir(out.join("g")).unwrap();
    let mut sink = DirectorySink::new(&out, None, false).unwrap();
    let said = merged(&store, &layers, &mut sink).unwrap_err();
    assert!(shipway_oci::with_causes(&said).contains("a directory is in its place"));
}

#[test]
fn a_tar_has_one_time_where_one_is_given_and_is_the_same_each_time() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let long = format!("{}/x: 1", "long".repeat(40));
    let layers = [
        layer(&store, &["a/", "a/f: 1", "s -> a/f"]),
        layer(&store, &[&long, "p"]),
    ];
    let write = |epoch| {
        let mut bytes = Vec::new();
        let mut sink = TarSink::new(&mut bytes, epoch);
        merged(&store, &layers, &mut sink).unwrap();
        sink.finish().unwrap();
        bytes
    };
    let bytes = write(Some(77));
    assert_eq!(bytes, write(Some(77)));
    let mut archive = tar::Archive::new(&bytes[..]);
    let times: BTreeMap<String, u64> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.path().unwrap().display().to_string(),
                entry.header().mtime().unwrap(),
            )
        })
        .collect();
    assert_eq!(times.len(), 5);
    assert!(times.values().all(|time| *time == 77), "{times:?}");
    let untouched = write(None);
    let mut archive = tar::Archive::new(&untouched[..]);
    assert!(
        archive
            .entries()
            .unwrap()
            .all(|entry| entry.unwrap().header().mtime().unwrap() == 1000)
    );
}
