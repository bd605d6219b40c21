//! An archive has what was asked for, and links lead it nowhere else.

use super::archive;
use crate::Trace;
use crate::selection::Selection;
use crate::variables::Variables;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Files that are asked for, and beside them what cannot be read (by who is not root) or archived.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    let at = |name: &str| project.path().join(name);
    for directory in ["out/deep", "src/deep"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for file in ["out/deep/a.o", "out/b.log", "src/deep/c.log", "d.log"] {
        fs::write(at(file), file).unwrap();
    }
    symlink("deep/a.o", at("out/link")).unwrap();
    for private in ["src/deep/c.log", "src/deep"] {
        fs::set_permissions(at(private), Permissions::from_mode(0o000)).unwrap();
    }
    // To open it would be to wait for ever.
    mknodat(CWD, at("out/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    drop(UnixListener::bind(at("socket")).unwrap());
    project
}

fn archived(project: &Path, roots: &[&str], patterns: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let trace = Trace::new(std::io::sink(), Vec::new());
    let variables = Variables::new(Vec::new(), &[], Vec::new(), "/tmp");
    let selection = Selection::new(&owned(patterns), &[], &variables, "/p", &trace);
    let output = tempfile::NamedTempFile::new().unwrap();
    let left_out = archive(
        project,
        &owned(roots),
        &selection,
        output.reopen().unwrap(),
        &CancellationToken::new(),
    )
    .unwrap();
    let mut archive = tar::Archive::new(File::open(output.path()).unwrap());
    let names = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    (names, left_out)
}

#[test]
fn only_what_is_asked_for_is_in_the_archive() {
    let project = project();
    let (names, left_out) = archived(project.path(), &[""], &["*.log", "out/deep"]);
    assert_eq!(names, ["d.log", "out/deep/", "out/deep/a.o"]);
    assert!(left_out.is_empty(), "{left_out:?}");
    let (names, left_out) = archived(project.path(), &["out"], &["out"]);
    assert_eq!(
        names,
        ["out/", "out/b.log", "out/deep/", "out/deep/a.o", "out/link"]
    );
    assert_eq!(left_out, ["out/pipe"]);
}
