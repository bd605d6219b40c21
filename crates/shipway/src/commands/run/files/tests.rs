//! What changed, what git could not say, and what is missing.

use super::{WorkTreeFiles, git};
use shipway_pipeline::{FileSource as _, Options, Situation, compile};

#[test]
fn what_changed_is_since_the_histories_parted() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let run = |arguments: &[&str]| {
        let identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"];
        let _ = git(root, &[&identity, arguments].concat());
    };
    let commit = |file: &str| {
        std::fs::write(root.join(file), file).unwrap();
        run(&["add", "--all"]);
        run(&["commit", "--quiet", "--message", file]);
    };
    run(&["init", "--quiet", "--initial-branch=main"]);
    commit("first");
    run(&["switch", "--quiet", "--create", "topic"]);
    commit("second");
    commit("third");
    let parting = git(root, &["rev-parse", "main"]).unwrap();
    let changed = |files: &WorkTreeFiles<'_>, to| files.changed(to).map(Option::unwrap);
    let pushed = WorkTreeFiles::new(root, None);
    assert_eq!(changed(&pushed, None).unwrap(), ["third"]);
    for reference in ["main", "refs/heads/main"] {
        assert_eq!(changed(&pushed, Some(reference)).unwrap(), ["second", "third"]);
    }
    let requested = WorkTreeFiles::new(root, Some(&parting));
    assert_eq!(changed(&requested, None).unwrap(), ["second", "third"]);
    for reference in ["gone", "--all"] {
        let said = changed(&pushed, Some(reference)).unwrap_err().to_string();
        assert!(said.contains(reference), "{said}");
    }
}

#[test]
fn a_git_that_fails_does_not_say_that_nothing_changed() {
    let directory = tempfile::tempdir().unwrap();
    let files = WorkTreeFiles::new(directory.path(), Some("0123456789"));
    let said = files.changed(None).unwrap_err().to_string();
    assert!(
        said.starts_with("`git diff --name-only -z 0123456789 --` fails"),
        "{said}"
    );
    assert!(files.paths().is_err());
}

#[test]
fn a_missing_file_is_said_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    git(root, &["init", "--quiet"]);
    std::fs::write(
        root.join("ci.yml"),
        "include: /ci/missing.yml\nbuild: {script: x}",
    )
    .unwrap();
    let said = |file: &str| {
        let found = compile(
            &WorkTreeFiles::new(root, None),
            file,
            &Situation::default(),
            Options::default(),
        );
        found.unwrap_err().remove(0).help.unwrap()
    };
    let place = |path: &str| format!("looked for at `{}`", root.join(path).display());
    assert_eq!(said("ci.yml"), place("ci/missing.yml"));
    assert!(said("nothing.yml").ends_with(&place("nothing.yml")));
}
