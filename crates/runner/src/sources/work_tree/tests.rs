//! Against a real repository, unpacked with a real tar reader.

use super::{Sources, WorkTree};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args([
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_job_gets_the_tracked_files_as_they_are_on_disk() {
    let repository = tempfile::tempdir().unwrap();
    let root = repository.path();
    git(root, &["init", "-q"]);
    fs::create_dir_all(root.join("src/deep")).unwrap();
    fs::write(root.join("src/deep/file"), "committed").unwrap();
    fs::write(root.join("gone"), "gone").unwrap();
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("run.sh", root.join("link")).unwrap();
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "first"]);
    git(root, &["tag", "v1.0"]);
    let head = git(root, &["rev-parse", "HEAD"]);
    fs::write(root.join("src/deep/file"), "changed").unwrap();
    fs::write(root.join("stray"), "stray").unwrap();
    fs::remove_file(root.join("gone")).unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let tree = WorkTree::new(root, 20, "https://example.com/group/project.git", scratch.path());
    let mut archive = Vec::new();
    let report = tree.write(&mut archive).unwrap();

    let job = tempfile::tempdir().unwrap();
    let mut reader = tar::Archive::new(archive.as_slice());
    reader.set_preserve_permissions(true);
    reader.unpack(job.path()).unwrap();
    assert_eq!(
        fs::read_to_string(job.path().join("src/deep/file")).unwrap(),
        "changed"
    );
    assert_eq!(
        fs::metadata(job.path().join("run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o777
    );
    assert_eq!(
        fs::metadata(job.path().join("src/deep/file"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o666
    );
    assert_eq!(
        fs::read_link(job.path().join("link")).unwrap(),
        Path::new("run.sh")
    );
    assert!(!job.path().join("stray").exists() && !job.path().join("gone").exists());
    assert_eq!(git(job.path(), &["describe", "--tags"]), "v1.0");
    assert_eq!(git(job.path(), &["rev-parse", "HEAD"]), head);
    assert_eq!(
        git(job.path(), &["remote", "get-url", "origin"]),
        "https://example.com/group/project.git"
    );
    let status = git(job.path(), &["-c", "core.fileMode=true", "status", "--porcelain"]);
    assert_eq!(status, "D gone\n M src/deep/file");

    assert_eq!((report.revision, report.files, report.differs), (head, 3, true));
    assert!(
        report.notes[0].contains("gone, src/deep/file"),
        "{:?}",
        report.notes
    );
    assert!(report.notes[1].contains("left out: stray"), "{:?}", report.notes);
}

/// What `git describe` says in a job of that work tree, and how often its history has been copied by now.
fn described(tree: &WorkTree, histories: &Path) -> (String, Vec<std::ffi::OsString>) {
    let mut archive = Vec::new();
    tree.write(&mut archive).unwrap();
    let job = tempfile::tempdir().unwrap();
    tar::Archive::new(archive.as_slice()).unpack(job.path()).unwrap();
    let copies = fs::read_dir(histories).unwrap();
    (
        git(job.path(), &["describe", "--tags"]),
        copies.map(|copy| copy.unwrap().file_name()).collect(),
    )
}

#[test]
fn the_history_is_copied_again_when_it_or_its_tags_are_others() {
    let repository = tempfile::tempdir().unwrap();
    let root = repository.path();
    git(root, &["init", "-q"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", "first"]);
    git(root, &["tag", "v1"]);
    let histories = tempfile::tempdir().unwrap();
    let run = |remote: &str| {
        described(
            &WorkTree::new(root, 20, remote, histories.path()),
            histories.path(),
        )
    };

    let first = run("https://example.com/group/project.git");
    assert_eq!((first.0.as_str(), first.1.len()), ("v1", 1));
    fs::write(root.join("untracked"), "").unwrap();
    assert_eq!(run("https://example.com/group/project.git"), first);

    let moved = run("https://example.com/other/project.git");
    assert!(moved.1.len() == 1 && moved.1 != first.1, "one stays: {moved:?}");
    git(root, &["tag", "--force", "v2"]);
    git(root, &["tag", "--delete", "v1"]);
    let tagged = run("https://example.com/other/project.git");
    assert!(
        tagged.0 == "v2" && tagged.1 != moved.1,
        "the new tag is known: {tagged:?}"
    );
    git(root, &["commit", "-q", "--allow-empty", "-m", "second"]);
    assert!(
        run("https://example.com/other/project.git")
            .0
            .starts_with("v2-1-g")
    );
}

#[test]
fn a_percent_sign_in_the_path_leads_to_no_neighbour() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["p%41", "pA"] {
        let root = parent.path().join(name);
        fs::create_dir(&root).unwrap();
        git(&root, &["init", "-q"]);
        git(&root, &["commit", "-q", "--allow-empty", "-m", name]);
    }
    let (root, scratch) = (parent.path().join("p%41"), tempfile::tempdir().unwrap());
    let tree = WorkTree::new(&root, 20, "https://example.com/p.git", scratch.path());
    let mut archive = Vec::new();
    tree.write(&mut archive).unwrap();
    let job = tempfile::tempdir().unwrap();
    tar::Archive::new(archive.as_slice()).unpack(job.path()).unwrap();
    assert_eq!(git(job.path(), &["log", "--format=%s"]), "p%41");
}

#[test]
fn where_the_history_ends_is_read_or_the_work_tree_is_not() {
    let repository = tempfile::tempdir().unwrap();
    let root = repository.path();
    git(root, &["init", "-q"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", "first"]);
    let copy = root.join("copy");
    let address = format!("file://{}", root.display());
    git(root, &["clone", "-q", "--depth=1", &address, "copy"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", "second"]);
    let histories = tempfile::tempdir().unwrap();
    let tree = || WorkTree::new(&copy, 20, "https://example.com/p.git", histories.path());
    tree().write(&mut Vec::new()).unwrap();
    // What git itself passes over, and nobody can read, root included.
    fs::remove_file(copy.join(".git/shallow")).unwrap();
    fs::create_dir(copy.join(".git/shallow")).unwrap();
    let error = tree().write(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains(".git/shallow"), "{error}");
}
