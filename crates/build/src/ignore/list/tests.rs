//! Patterns and their exceptions, against tables of what moby answers.

use super::*;

fn run(file: &str) {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/dockerignore");
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        return;
    };
    let mut failures = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [patterns, path, wanted] = columns[..] else {
            panic!("three columns: {line}")
        };
        let patterns: Vec<String> = serde_json::from_str(patterns).expect(line);
        let path: String = serde_json::from_str(path).expect(line);
        let got = match IgnoreList::from_patterns(&patterns, "patterns") {
            Ok(list) => list.ignores(&path).to_string(),
            Err(_) => "error".to_owned(),
        };
        if got != wanted {
            failures.push(format!("{line}: {got}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn single_patterns_match_as_mobys() {
    run("match.tsv");
}

#[test]
fn lists_match_as_mobys() {
    run("multi.tsv");
}

#[test]
fn the_file_has_comments_and_rooted_patterns() {
    let list = IgnoreList::parse(
        b"\xef\xbb\xbf# no\n\n /target/ \n*.log\n!keep.log\n",
        ".dockerignore",
    )
    .expect("a list");
    assert!(list.ignores("target/debug/x"));
    assert!(list.ignores("a.log"));
    assert!(!list.ignores("keep.log"));
    assert!(!list.ignores("# no"));
}

#[test]
fn an_ignored_directory_is_entered_only_for_its_exceptions() {
    let list = IgnoreList::parse(b"docs\nsrc\n!docs/keep/x\n!*.md\n", ".dockerignore").expect("a list");
    assert!(list.may_except_below("docs"));
    let list = IgnoreList::parse(b"docs\nsrc\n!docs/keep/x\n", ".dockerignore").expect("a list");
    assert!(list.may_except_below("docs/keep"));
    assert!(!list.may_except_below("src"));
}
