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

#[test]
fn destinations() {
    use Destination::{Directory, FileOrDirectory};
    assert_eq!(Destination::of("/x/", 1, false), Directory("/x".into()));
    assert_eq!(Destination::of("/x", 1, false), FileOrDirectory("/x".into()));
    assert_eq!(Destination::of("/x", 1, true), Directory("/x".into()));
    assert_eq!(Destination::of("/x", 2, false), Directory("/x".into()));
    assert_eq!(Destination::of("/", 1, false), Directory("/".into()));
}
