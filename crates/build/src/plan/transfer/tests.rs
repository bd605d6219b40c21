//! Names, sources and destinations of `COPY` and `ADD`, as docker builds them.

use super::*;
use crate::context::{Context, Modes};

fn sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["a/b/c.txt", "a/b/d.md", "a/e.txt", "top.txt", "z/f"] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, "x").expect("a file");
    }
    std::os::unix::fs::symlink("a/b", folder.path().join("link")).expect("a link");
    std::os::unix::fs::symlink("../z", folder.path().join("a/inner")).expect("a link");
    folder
}

fn names(source: &str, exclude: &[&str], parents: bool) -> Result<String, SelectError> {
    let folder = sample();
    let view = Context::directory(folder.path())
        .view(&IgnoreList::default(), Modes::Git)
        .expect("a view");
    let exclude = IgnoreList::from_patterns(exclude, "exclude").expect("patterns");
    let placement = select(view.tree(), source, &exclude, parents)?;
    let names: Vec<_> = placement
        .items
        .iter()
        .map(|item| item.to.display().to_string())
        .collect();
    Ok(format!(
        "{} {} {}",
        placement.matches,
        placement.folder,
        names.join(" ")
    ))
}

#[test]
fn sources() {
    let table: [(&str, &[&str], bool, &str); 14] = [
        ("**/*.txt", &[], false, "3 false c.txt e.txt top.txt"),
        (
            ".",
            &[],
            false,
            "1 true a a/b a/b/c.txt a/b/d.md a/e.txt a/inner link top.txt z z/f",
        ),
        ("/a/", &[], false, "1 true b b/c.txt b/d.md e.txt inner"),
        ("../../top.txt", &[], false, "1 false top.txt"),
        ("*.txt", &[], false, "1 false top.txt"),
        ("*/*.txt", &[], false, "1 false e.txt"),
        ("link/*", &[], false, "2 false c.txt d.md"),
        ("link", &[], false, "1 true c.txt d.md"),
        ("a/*", &[], false, "3 true c.txt d.md e.txt f"),
        ("nothing*", &[], false, "0 false "),
        ("a", &["b/*.md"], false, "1 true b b/c.txt e.txt inner"),
        ("*.txt", &["top*"], false, "1 false "),
        ("a/b/c.txt", &[], true, "1 true a a/b a/b/c.txt"),
        ("a/./b/c.txt", &[], true, "1 true b b/c.txt"),
    ];
    for (source, exclude, parents, wanted) in table {
        assert_eq!(names(source, exclude, parents).expect(source), wanted, "{source}");
    }
    assert!(matches!(
        names("missing", &[], false),
        Err(SelectError::Missing { .. })
    ));
    assert!(matches!(
        names("a[", &[], false),
        Err(SelectError::Pattern { .. })
    ));
}

/// What a pattern finds is never more than there is, however long it is.
#[test]
fn patterns_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut deepest = folder.path().to_owned();
    (0..50).for_each(|_| deepest.push("d"));
    std::fs::create_dir_all(&deepest).expect("folders");
    std::fs::write(deepest.join("f"), "x").expect("a file");
    let view = Context::directory(folder.path()).view(&IgnoreList::default(), Modes::Git);
    let view = view.expect("a view");
    let found = |pattern: &str| matching(view.tree(), pattern).expect("a pattern");
    assert_eq!(found(&"**/".repeat(50_000)).len(), 51);
    assert_eq!(found(&format!("{}f", "**/".repeat(50_000))).len(), 1);
    assert_eq!(found(&"*/**/".repeat(10_000)).len(), 0);
    assert_eq!(found(&format!("**/{}", "d/".repeat(50_000))).len(), 0);
    assert_eq!(found("**/d/d/f").len(), 1);
}

#[test]
fn destinations() {
    use Destination::{Directory, ExistingDirectory, FileOrDirectory};
    let of = |path: &str, folders: &[bool]| {
        let sources = folders.iter().fold(Sources::None, |all, folder| all.and(*folder));
        Destination::of(path, sources)
    };
    assert_eq!(of("/x/", &[false]), Directory("/x".into()));
    assert_eq!(of("/x/", &[false, true]), Directory("/x".into()));
    assert_eq!(of("/x", &[false]), FileOrDirectory("/x".into()));
    assert_eq!(of("/x", &[false, false]), FileOrDirectory("/x".into()));
    assert_eq!(of("/x", &[true]), Directory("/x".into()));
    assert_eq!(of("/x", &[true, false, true]), Directory("/x".into()));
    assert_eq!(of("/x", &[false, true, false]), ExistingDirectory("/x".into()));
    assert_eq!(of("/", &[false]), Directory("/".into()));
    let placement = |matches, folder, begins_with_folder| Placement {
        matches,
        folder,
        begins_with_folder,
        ..Placement::default()
    };
    assert_eq!(Sources::None.and_all(&placement(0, false, false)), Sources::None);
    assert_eq!(Sources::None.and_all(&placement(2, true, true)), Sources::Folder);
    assert_eq!(
        Sources::Files.and_all(&placement(2, true, true)),
        Sources::FileThenFolder
    );
    assert_eq!(
        Sources::None.and_all(&placement(2, true, false)),
        Sources::FileThenFolder
    );
}

/// Whatever a source names is there, and lands below the destination.
#[test]
fn foreign_sources() {
    let folder = sample();
    let view = Context::directory(folder.path()).view(&IgnoreList::default(), Modes::Git);
    let view = view.expect("a view");
    let seeds = [
        "**/*.txt",
        "a/[b-d]*",
        "../../top.txt",
        "link/*",
        "a/./b/c.txt",
        "a/inner/f",
        "/",
    ];
    let words = &[
        "**/", "*", "?", "[a-z]", "[^", "]", "\\", "../", "./", "/./", "link", "inner", "a/", "b/", "z/f",
    ];
    shipway_testkit::Foreign::near(seeds)
        .with_words(words)
        .up_to(4096)
        .check_text(|source| {
            for parents in [false, true] {
                let Ok(placement) = select(view.tree(), source, &IgnoreList::default(), parents) else {
                    continue;
                };
                // Each entry once, or once under each of the two links.
                assert!(placement.items.len() <= 3 * view.tree().len(), "{source}");
                for item in &placement.items {
                    let inside = item
                        .to
                        .components()
                        .all(|part| matches!(part, std::path::Component::Normal(_)));
                    assert!(inside, "{source}: {}", item.to.display());
                    if let ItemKind::File { from, .. } = &item.kind {
                        assert!(view.tree().get(from).is_some(), "{source}: {}", from.display());
                    }
                }
            }
        });
}
