//! What artifacts and caches take in, and that nested roots are read once.

use super::{Pattern, Selection, is_below};

fn selection(paths: &[&str], exclude: &[&str]) -> Selection {
    let parse = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| Pattern::parse(path, "/builds/p").unwrap())
            .collect()
    };
    Selection {
        names: paths.iter().map(|path| (*path).to_owned()).collect(),
        patterns: parse(paths),
        exclude: parse(exclude),
    }
}

fn archive(names: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(name.len() as u64);
        builder.append_data(&mut header, name, name.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn only_what_is_meant_is_copied() {
    let from = archive(&[
        "dist/app",
        "dist/app.map",
        "src/main.c",
        "report.xml",
        ".git/HEAD",
    ]);
    let mut into = Vec::new();
    let found = selection(
        &["dist", "**/*.xml", "none/**", "*EAD", "**/HEAD"],
        &["dist/*.map"],
    )
    .filter(from.as_slice(), &mut into)
    .unwrap();
    assert_eq!((found.entries, found.per_pattern), (2, vec![1, 1, 0, 0, 0]));
    let mut copied = tar::Archive::new(into.as_slice());
    let names: Vec<_> = copied
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["dist/", "dist/app", "report.xml"]);
}

#[test]
fn nested_roots_are_read_once() {
    assert!(is_below("a/b", "a") && is_below("a", "") && !is_below("ab", "a"));
}
