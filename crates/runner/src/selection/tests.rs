//! What artifacts and caches take in, and that nested roots are read once.

use super::{Pattern, Selection, is_below};
use std::io::{self, Write};

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
fn the_history_is_meant_only_by_who_names_it() {
    let named_like_it = selection(&[".gitlab-ci.yml", ".github/x", "*"], &[]);
    assert!(named_like_it.takes_in(".gitlab-ci.yml") && named_like_it.takes_in("a"));
    assert!(!named_like_it.takes_in(".git/config") && !named_like_it.leads_below(".git"));
    let one_file = selection(&[".git/HEAD", "*"], &[]);
    assert!(one_file.takes_in(".git/HEAD") && one_file.leads_below(".git"));
    assert!(!one_file.takes_in(".git/config"));
}

#[test]
fn files_are_left_out_by_wildcards_exclusions_and_of_the_whole_project() {
    for (paths, exclude, whole) in [
        (&["a", "b/c"][..], &[][..], true),
        (&["a", "b/*"], &[], false),
        (&["{a,b}"], &[], false),
        (&["a"], &["a/b"], false),
        (&["."], &[], false),
    ] {
        assert_eq!(
            selection(paths, exclude).takes_in_whole_roots(),
            whole,
            "{paths:?}"
        );
    }
}

#[test]
fn what_goes_wrong_is_said_when_all_has_been_read() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let archive = archive(&["a", "b", "c"]).repeat(500);
    let mut from = archive.as_slice();
    let error = selection(&["a"], &[]).filter(&mut from, Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(from.is_empty(), "the writer meets a closed pipe");
}

#[test]
fn nested_roots_are_read_once() {
    assert!(is_below("a/b", "a") && is_below("a", "") && !is_below("ab", "a"));
}
