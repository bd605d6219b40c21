//! Each way in which two layers may differ has its word.

use super::*;
use shipway_testkit::Tar;

fn told(first: Tar, second: Tar) -> Vec<String> {
    let listing = |tar: Tar| listing::entries(tar.bytes().as_slice()).unwrap();
    let differences = compare(listing(first), listing(second));
    differences
        .into_iter()
        .map(|PathDifference { path, kind }| format!("{path}: {kind}"))
        .collect()
}

#[test]
fn each_way_to_differ_has_its_word() {
    let first = Tar::new()
        .file("same", "x")
        .file("content", "one")
        .file("size", "one")
        .file_of("mode", 0o644, (0, 0), "")
        .file_of("owner", 0o644, (0, 0), "")
        .link("link", "a")
        .directory("kind", 0o755, (0, 0))
        .file("z-first", "");
    let second = Tar::new()
        .file("same", "x")
        .file("content", "two")
        .file("size", "three")
        .file_of("mode", 0o600, (0, 0), "")
        .file_of("owner", 0o644, (1000, 1001), "")
        .link("link", "b")
        .file("kind", "")
        .file("a-second", "");
    assert_eq!(
        told(first, second),
        [
            "/a-second: only in the second build",
            "/content: content (3 bytes)",
            "/kind: kind",
            "/link: link target",
            "/mode: mode (0644 and 0600)",
            "/owner: owner (0:0 and 1000:1001)",
            "/size: content (3 and 5 bytes)",
            "/z-first: only in the first build",
        ]
    );
}

#[test]
fn what_is_the_same_in_another_order_has_no_path_to_tell() {
    let tar = |first: &str, second: &str| Tar::new().file(first, "x").file(second, "x");
    assert!(told(tar("a", "b"), tar("b", "a")).is_empty());
}
