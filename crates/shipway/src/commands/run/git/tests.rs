//! Remotes of every form, and the facts of real work trees.

use super::super::doubt::cures;
use super::{Origin, RefKind, WorkTreeFacts, git, path_from_name, remote_parts};

#[test]
fn the_forms_of_a_remote_have_one_origin() {
    let origin = |remote: &str| Origin::of_server(&remote_parts(remote).unwrap().0);
    let forms = [
        "https://GitLab.com/group/project.git",
        "https://me:token@gitlab.com:443/group/project",
        "git@gitlab.com:group/project.git",
        "ssh://git@gitlab.com.:22/group/project",
    ];
    for form in forms {
        assert_eq!(origin(form), Origin::Host("gitlab.com".into()), "{form}");
    }
    assert_ne!(origin("https://evil.example/group/project"), origin(forms[0]));
}

#[test]
fn the_remote_names_server_and_project() {
    let table = [
        (
            "https://gitlab.com/group/sub/project.git",
            Some(("https://gitlab.com", "group/sub/project")),
        ),
        (
            "https://me:token@gitlab.example.com/g/p",
            Some(("https://gitlab.example.com", "g/p")),
        ),
        (
            "git@gitlab.com:group/project.git",
            Some(("https://gitlab.com", "group/project")),
        ),
        (
            "ssh://git@host:2222/group/project.git",
            Some(("https://host", "group/project")),
        ),
        ("https://[::1]:8443/g/p", Some(("https://[::1]", "g/p"))),
        ("ssh://git@[::2]/g/p", Some(("https://[::2]", "g/p"))),
        ("file:///srv/git/project.git", None),
        ("/srv/git/project.git", None),
        ("../sibling", None),
        ("https://host/../..", None),
        ("", None),
    ];
    for (remote, expected) in table {
        let expected = expected.map(|(url, path)| (url.to_owned(), path.to_owned()));
        assert_eq!(remote_parts(remote), expected, "{remote}");
    }
}

#[test]
fn a_work_tree_tells_its_facts() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let told = |arguments: &[&str]| git(root, arguments).unwrap_or_default();
    told(&["init", "--initial-branch=trunk"]);
    assert!(WorkTreeFacts::read(root).is_err(), "no commit yet");
    for (key, value) in [("user.name", "A B"), ("user.email", "old@example.com")] {
        told(&["config", key, value]);
    }
    told(&["config", "--add", "user.email", "new@example.com"]);
    told(&["commit", "--allow-empty", "--message=first"]);
    let first = WorkTreeFacts::read(root).unwrap();
    assert_eq!(first.commit.before_sha, "");
    assert_eq!(
        (first.ref_name.as_str(), first.default_branch.as_str()),
        ("trunk", "trunk")
    );

    told(&["commit", "--allow-empty", "--message=second\n\nwhy\n"]);
    told(&["branch", "main/part"]);
    told(&["branch", "master"]);
    let second = WorkTreeFacts::read(root).unwrap();
    assert_eq!(second.commit.before_sha, first.commit.sha);
    assert_eq!(second.commit.sha, told(&["rev-parse", "HEAD"]));
    assert_eq!(second.commit.message, "second\n\nwhy");
    assert_eq!(second.commit.author, "A B <new@example.com>");
    assert_eq!(second.commit.timestamp, told(&["log", "-1", "--format=%cI"]));
    assert_eq!(
        (second.user.name.as_str(), second.user.email.as_str()),
        ("A B", "new@example.com")
    );
    assert_eq!(second.default_branch, "master");
}

#[test]
fn a_tag_of_the_same_name_does_not_rename_a_branch() {
    let directory = tempfile::tempdir().unwrap();
    let told = |arguments: &[&str]| git(directory.path(), arguments).unwrap_or_default();
    told(&["init", "--initial-branch=trunk"]);
    told(&["config", "user.name", "n"]);
    told(&["config", "user.email", "e@example.com"]);
    told(&["commit", "--allow-empty", "--message=first"]);
    told(&["update-ref", "refs/remotes/origin/trunk", "HEAD"]);
    told(&[
        "symbolic-ref",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/trunk",
    ]);
    told(&["commit", "--allow-empty", "--message=second"]);
    for tag in ["trunk", "origin/trunk"] {
        told(&["tag", tag]);
    }
    let read = || {
        let facts = WorkTreeFacts::read(directory.path()).unwrap();
        (facts.ref_name, facts.ref_kind, facts.default_branch)
    };
    let branch = ("trunk".to_owned(), RefKind::Branch, "trunk".to_owned());
    assert_eq!(read(), branch);
    told(&["checkout", "--detach", "HEAD~1"]);
    assert_eq!(read(), branch, "a branch that contains the commit");
}

#[test]
fn only_a_default_branch_that_is_known_is_protected() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("theirs");
    let told = |arguments: &[&str]| git(directory.path(), arguments);
    let address = format!("file://{}", theirs.display());
    told(&["init", "--initial-branch=trunk", "theirs"]);
    let inside = |arguments: &[&str]| git(&theirs, arguments).unwrap_or_default();
    inside(&["config", "user.name", "n"]);
    inside(&["config", "user.email", "e@example.com"]);
    inside(&["commit", "--allow-empty", "--message=first"]);
    inside(&["branch", "contributed"]);
    inside(&["branch", "master"]);
    let cloned = |name: &str, options: &[&str]| {
        told(&[&["clone", "--quiet"], options, &[&address, name]].concat());
        WorkTreeFacts::read(&directory.path().join(name)).unwrap()
    };

    let shallow = cloned("shallow", &["--depth=1", "--branch=contributed"]);
    assert_eq!(
        shallow.origin,
        Origin::Directory(directory.path().canonicalize().unwrap().join("shallow"))
    );
    assert_eq!(shallow.default_branch, "contributed");
    assert_eq!(shallow.protected_branch, None);
    let usual = cloned("usual", &["--depth=1", "--branch=master"]);
    assert_eq!(usual.protected_branch, None, "a name is no proof");
    assert!(usual.has_doubt());
    let cure = cures(&usual);
    assert!(cure.contains("`git remote set-head origin --auto`"), "{cure}");
    let (_, offline) = cure.split_once("`git ").unwrap();
    let offline: Vec<&str> = offline.split('`').next().unwrap().split(' ').collect();
    git(&usual.root, &offline);
    let told = WorkTreeFacts::read(&usual.root).unwrap();
    assert_eq!(told.protected_branch.as_deref(), Some("master"), "{offline:?}");
    let other = cloned("other", &["--origin=upstream", "--branch=contributed"]);
    assert!(cures(&other).contains("symbolic-ref"));
    assert_eq!(
        other.protected_branch, None,
        "a remote of another name is one too"
    );
    let whole = cloned("whole", &["--branch=contributed"]);
    assert_eq!(whole.protected_branch.as_deref(), Some("trunk"));
    assert!(!whole.has_doubt());
    let own = WorkTreeFacts::read(&theirs).unwrap();
    assert_eq!(own.protected_branch.as_deref(), Some("master"));
    assert!(!own.has_doubt());
}

#[test]
fn a_directory_name_becomes_a_path() {
    assert_eq!(path_from_name("My Project!"), "My-Project");
    assert_eq!(path_from_name("..."), "project");
}
