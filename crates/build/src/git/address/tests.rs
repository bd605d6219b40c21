//! What is a git repository and what it says of itself; the shapes of BuildKit's `dfgitutil` and `gitutil`.

use super::*;

/// `remote reference folder`, `-` where there is none.
fn parsed(text: &str) -> String {
    match GitAddress::parse_context(text) {
        None => "none".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(address)) => {
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {} {}",
                address.remote,
                or(&address.reference),
                or(&address.folder)
            )
        }
    }
}

#[test]
fn repositories_and_what_is_none() {
    for (text, wanted) in [
        ("https://git.test/", "none"),
        ("https://git.test/app", "none"),
        ("https://git.test/app.git/", "none"),
        ("https://git.test/app.git.tar", "none"),
        ("http://git.test/app.git:#main", "none"),
        ("ftp://git.test/app.git", "none"),
        ("file:///srv/app.git", "none"),
        ("ext::sh -c true", "none"),
        ("./app.git", "none"),
        (".git", "none"),
        ("git.test/group/app.git", "none"),
        ("https:///app.git", "none"),
        ("ssh://-oProxyCommand=x/app.git", "none"),
        ("git@-oProxyCommand=x:app", "none"),
        ("https://git.test/app.git", "https://git.test/app.git - -"),
        (
            "https://git.test/app.git#0ddba11",
            "https://git.test/app.git 0ddba11 -",
        ),
        (
            "https://git.test/app.git#rel/1.2:a/b",
            "https://git.test/app.git rel/1.2 a/b",
        ),
        (
            "https://git.test/app.git#:docs",
            "https://git.test/app.git - docs",
        ),
        ("git://git.test/app", "git://git.test/app - -"),
        ("ssh://git@git.test:2222/app", "ssh://git@git.test:2222/app - -"),
        ("git@git.test:group/app", "git@git.test:group/app - -"),
        ("git@git.test:app.git?subdir=/d#v1", "git@git.test:app.git v1 d"),
        (
            "github.com/moby/moby#master",
            "https://github.com/moby/moby master -",
        ),
        (
            "github.com/moby/moby?tag=v1",
            "https://github.com/moby/moby refs/tags/v1 -",
        ),
        (
            "https://git.test/app.git?ref=v1&subdir=/a/b",
            "https://git.test/app.git v1 a/b",
        ),
        (
            "https://git.test/app.git?branch=dev",
            "https://git.test/app.git refs/heads/dev -",
        ),
        (
            "https://git.test/app.git?tag=refs/tags/v1",
            "https://git.test/app.git refs/tags/v1 -",
        ),
        (
            "https://git.test/app.git?mtime=commit",
            "https://git.test/app.git - -",
        ),
    ] {
        assert_eq!(parsed(text), wanted, "{text}");
    }
    assert!(
        GitAddress::parse("github.com/moby/moby").is_none(),
        "ADD takes it for a path"
    );
}

#[test]
fn contradictions_and_unknown_queries_are_refused() {
    for (query, words) in [
        ("?ref=a#b", "ref conflicts"),
        ("?ref=a&tag=b", "ref conflicts"),
        ("?tag=a&branch=b", "branch conflicts"),
        ("?subdir=a#:b", "subdir conflicts"),
        ("?mtime=now", "invalid mtime"),
        ("?fetch-by-commit=maybe", "invalid fetch-by-commit"),
        ("?commit=xyz", "invalid commit"),
        ("?other=1", "unexpected query `other`"),
        ("?ref=", "exactly one value"),
        ("?ref=a&ref=b", "exactly one value"),
        ("#--upload-pack=x", "no name for a git reference"),
        ("#a..b", "no name for a git reference"),
        ("?ref=a%0Ab", "no name for a git reference"),
    ] {
        let said = parsed(&format!("https://git.test/app.git{query}"));
        assert!(said.contains(words), "{query}: {said}");
    }
}

#[test]
fn switches_and_commits() {
    let address = GitAddress::parse(
        "https://git.test/app.git?keep-git-dir&submodules=false&commit=0DDBA11&fetch-by-commit=1",
    );
    let address = address.expect("a repository").expect("usable");
    assert_eq!(
        (address.keep_git_dir, address.submodules),
        (Some(true), Some(false))
    );
    assert_eq!(address.checksum.as_deref(), Some("0ddba11"));
    assert!(address.fetch_by_commit);
}

#[test]
fn what_logs_in_is_not_shown() {
    for (text, shown) in [
        (
            "https://me:secret@git.test/app.git#main:d",
            "https://xxxxx:xxxxx@git.test/app.git#main:d",
        ),
        (
            "https://t0ken@git.test:8443/a@b.git",
            "https://xxxxx@git.test:8443/a@b.git",
        ),
        ("ssh://git@git.test/app.git", "ssh://git@git.test/app.git"),
        (
            "ssh://git:secret@git.test/app.git",
            "ssh://git:xxxxx@git.test/app.git",
        ),
        ("git@git.test:app.git#x", "git@git.test:app.git#x"),
    ] {
        let address = GitAddress::parse(text).expect("a repository").expect("usable");
        assert_eq!(address.to_string(), shown);
    }
}

#[test]
fn foreign_addresses() {
    let seeds = [
        "https://me:secret@git.test/app.git?ref=v1&subdir=/a&keep-git-dir=1#v1:a",
        "git@git.test:group/app.git?submodules=0#main",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        if let Some(Ok(address)) = GitAddress::parse_context(text) {
            assert!(
                address
                    .reference
                    .iter()
                    .all(|reference| !reference.starts_with('-'))
            );
            assert!(!address.remote.contains(['?', '#', ' ', '\n']));
        }
    });
}
