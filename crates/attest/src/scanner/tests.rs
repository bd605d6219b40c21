//! Layers as they pass by: lists, whiteouts, links, damage, foreign bytes.

use super::*;
use crate::scan::shown;
use shipway_testkit::{Foreign, Tar};

const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2\n";

fn scan(tar: &[u8]) -> LayerScan {
    let mut scanner = LayerScanner::default();
    tar.chunks(1000).for_each(|piece| scanner.push(piece));
    scanner.finish()
}

#[test]
fn what_a_layer_lists_is_kept_with_the_hashes_of_the_file() {
    let tar = Tar::new()
        .file("./etc/os-release", "ID=debian\nVERSION_ID=12\n")
        .file("./var/lib/dpkg/status", STATUS)
        .file("./var/lib/dpkg/status-old", STATUS)
        .bytes();
    let scan = scan(&tar);
    let paths: Vec<&str> = scan.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["etc/os-release", "var/lib/dpkg/status"]);
    let status = &scan.files["var/lib/dpkg/status"];
    assert_eq!(status.packages[0].name, "bash");
    assert_eq!(status.sha256.len(), 64);
    assert_eq!(status.sha1.len(), 40);
    assert!(scan.passed_over.is_empty());
}

#[test]
fn whiteouts_and_links_hide_what_is_below() {
    let base = scan(
        &Tar::new()
            .file("a/Cargo.lock", "")
            .file("b/Cargo.lock", "")
            .file("c/Cargo.lock", "")
            .file("d/Cargo.lock", "")
            .file("e/Cargo.lock", "")
            .bytes(),
    );
    assert_eq!(base.files.len(), 5);
    let upper = scan(
        &Tar::new()
            .file(".wh.a", "")
            .file("b/.wh.Cargo.lock", "")
            .file("c/.wh..wh..opq", "")
            .link("d", "e")
            .file("c/yarn.lock", "")
            .bytes(),
    );
    let shown: Vec<&str> = shown(&[&base, &upper]).into_keys().collect();
    assert_eq!(shown, ["c/yarn.lock", "e/Cargo.lock"]);
}

#[test]
fn what_cannot_be_read_is_said_and_hides_what_it_replaced() {
    let large = "x".repeat(65 << 10);
    let base = scan(
        &Tar::new()
            .file("etc/os-release", "ID=a\n")
            .file("Cargo.lock", "")
            .bytes(),
    );
    let tar = Tar::new()
        .file("etc/os-release", large)
        .file("Cargo.lock", "no toml [")
        .bytes();
    let upper = scan(&tar);
    assert!(upper.passed_over["etc/os-release"].contains("at most 65536"));
    assert!(upper.passed_over["Cargo.lock"].contains("TOML"));
    assert!(shown(&[&base, &upper]).is_empty());
    let cut = scan(&tar[..600]);
    assert!(cut.passed_over[""].contains("to the end"));
}

#[test]
fn names_that_lead_out_are_nobodys() {
    assert_eq!(clean("../etc/os-release"), None);
    assert_eq!(clean("/./etc//os-release").as_deref(), Some("etc/os-release"));
    assert_eq!(clean("./").as_deref(), Some(""));
}

#[test]
fn foreign_layers_are_scanned() {
    let tar = Tar::new()
        .file("var/lib/dpkg/status", STATUS)
        .file("a/.wh.b", "")
        .file("a/.wh..wh..opq", "")
        .link("c", "d")
        .bytes();
    Foreign::near([tar]).as_tars().check(|bytes| {
        let scan = scan(bytes);
        assert_eq!(LayerScan::parse(&scan.to_json()), Some(scan));
    });
}

#[test]
fn foreign_records_of_scans_are_read_or_refused() {
    let kept = scan(&Tar::new().file("var/lib/dpkg/status", STATUS).bytes()).to_json();
    Foreign::near([kept]).check(|bytes| {
        if let Some(scan) = LayerScan::parse(bytes) {
            assert_eq!(LayerScan::parse(&scan.to_json()), Some(scan));
        }
    });
}
