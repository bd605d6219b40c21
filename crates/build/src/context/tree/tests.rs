//! Links stay inside the tree, and what is below a directory stands together.

use super::*;

fn tree(entries: &[(&str, EntryKind)]) -> Tree {
    let mut tree = Tree::default();
    for (path, kind) in entries {
        tree.insert(
            PathBuf::from(path),
            Entry {
                kind: kind.clone(),
                mode: 0o644,
            },
        )
        .expect("small");
    }
    tree
}

fn link(target: &str) -> EntryKind {
    EntryKind::Link {
        target: target.into(),
    }
}

const FILE: EntryKind = EntryKind::File {
    size: 0,
    offset: None,
};

#[test]
fn links_stay_inside() {
    let tree = tree(&[
        ("a", EntryKind::Directory),
        ("a/f", FILE),
        ("up", link("../../../a")),
        ("abs", link("/a/f")),
        ("loop", link("loop")),
        ("out", link("/etc/passwd")),
        ("a/back", link("../a/f")),
    ]);
    let resolve = |path: &str| tree.resolve(Path::new(path)).expect("no loop");
    assert_eq!(resolve("up/f"), Some("a/f".into()));
    assert_eq!(resolve("abs"), Some("a/f".into()));
    assert_eq!(resolve("a/back"), Some("a/f".into()));
    assert_eq!(resolve("/../../a/./f"), Some("a/f".into()));
    assert_eq!(resolve("out"), None);
    assert_eq!(resolve("a/f/x"), None);
    assert_eq!(resolve("."), Some(PathBuf::new()));
    assert!(tree.resolve(Path::new("loop")).is_err());
}

#[test]
fn below_is_contiguous_although_names_sort_around_slashes() {
    let tree = tree(&[
        ("a", EntryKind::Directory),
        ("a-b", FILE),
        ("a/z", FILE),
        ("a.b", FILE),
        ("a/b", EntryKind::Directory),
        ("a/b/c", FILE),
    ]);
    let below: Vec<_> = tree
        .below(Path::new("a"))
        .map(|(path, _)| path.to_str().expect("ascii"))
        .collect();
    assert_eq!(below, ["a/b", "a/b/c", "a/z"]);
    assert_eq!(tree.below(Path::new("")).count(), 6);
}
