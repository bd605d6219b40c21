//! A key changes with its files and with nothing else, and leads out of the work tree nowhere.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode};

use super::super::git::git;
use super::{Allowance, MOST_BYTES, MOST_FILES, of_contents};

fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    git(directory.path(), &["init", "-q"]);
    directory
}

fn write(root: &Path, name: &str, text: &str) {
    std::fs::write(root.join(name), text).unwrap();
    git(root, &["add", "--all"]);
}

fn of_within(root: &Path, file: &str, files: usize, bytes: u64) -> std::io::Result<Option<String>> {
    of_contents(root, &[file.to_owned()], &mut Allowance { files, bytes })
}

fn of(root: &Path, file: &str) -> Option<String> {
    of_within(root, file, MOST_FILES, MOST_BYTES).unwrap()
}

#[test]
fn a_key_changes_with_its_files_only() {
    let directory = repository();
    let root = directory.path();
    write(root, "a.lock", "1");
    write(root, "other", "1");
    let before = of(root, "*.lock");
    assert_eq!(before.as_ref().map(String::len), Some(40));
    write(root, "other", "2");
    assert_eq!(of(root, "a.lock"), before);
    write(root, "a.lock", "2");
    assert_ne!(of(root, "a.lock"), before);
    assert_eq!(of(root, "missing"), None);
}

#[test]
fn files_that_swap_or_double_their_texts_have_changed() {
    let directory = repository();
    let root = directory.path();
    let key = |first: &str, second: &str| {
        write(root, "a.lock", first);
        write(root, "b.lock", second);
        of(root, "*.lock")
    };
    let keys = [key("1", "2"), key("2", "1"), key("1", "1")];
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");
    std::fs::remove_file(root.join("b.lock")).unwrap();
    assert_ne!(of(root, "*.lock"), keys[2], "a copy is gone");
}

#[test]
fn a_link_stands_for_its_own_text() {
    let directory = repository();
    let root = directory.path();
    let secret = tempfile::tempdir().unwrap();
    let (secret, link) = (secret.path().join("secret"), root.join("link"));
    let mut keys = Vec::new();
    for text in ["guessed", "other"] {
        std::fs::write(&secret, text).unwrap();
        let _ = std::fs::remove_file(&link);
        symlink(&secret, &link).unwrap();
        git(root, &["add", "--all"]);
        keys.push(of(root, "link").unwrap());
    }
    assert_eq!(keys[0], keys[1], "what it leads to does not show");
    std::fs::remove_file(&link).unwrap();
    symlink("/dev/zero", &link).unwrap();
    assert_ne!(of(root, "link").unwrap(), keys[0]);
}

#[test]
fn nothing_is_read_through_a_link_on_the_way_or_from_a_fifo() {
    let directory = repository();
    let root = directory.path();
    std::fs::create_dir(root.join("deep")).unwrap();
    write(root, "deep/file", "1");
    write(root, "fifo", "1");
    std::fs::rename(root.join("deep"), root.join("moved")).unwrap();
    symlink("moved", root.join("deep")).unwrap();
    std::fs::remove_file(root.join("fifo")).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(CWD, root.join("fifo"), mode).unwrap();
    assert_eq!(of(root, "deep/file"), None);
    assert_eq!(of(root, "fifo"), None);
}

#[test]
fn more_than_a_key_is_made_of_is_refused() {
    let directory = repository();
    let root = directory.path();
    write(root, "a", "12");
    write(root, "b", "34");
    assert!(of_within(root, "*", 2, 4).unwrap().is_some());
    let said = |files, bytes| of_within(root, "*", files, bytes).unwrap_err().to_string();
    assert!(said(1, 4).contains("10000 files"));
    assert!(said(2, 3).contains("`b`: they are more than 1024 MiB"));
}
