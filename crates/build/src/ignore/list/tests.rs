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

/// A list says of a path what it says on the way there, and never loses what it may take in again.
#[test]
fn foreign_lists() {
    let seeds = [
        "*\n!src/**/*.rs\n",
        "# c\n/target\n**/x?[a-z]\\*\n!!a\n",
        "a/../b\n.\n!../c\n",
    ];
    shipway_testkit::Foreign::near(seeds)
        .and_files(shipway_testkit::shared_inputs("vectors/dockerignore").as_deref())
        .with_words(&[
            "**/", "*", "!", "[^a-z]", "\\", "?", "/", "..", "{a,b}", "(", "|", "+", "$", "^",
        ])
        .up_to(8192)
        .check(|bytes| {
            let Ok(list) = IgnoreList::parse(bytes, ".dockerignore") else {
                return;
            };
            for path in ["src", "src/main.rs", "a/b/c/d.rs", "target/x", "é/\n", "a b/*"] {
                let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
                if !list.ignores(path) && !parent.is_empty() && list.ignores(parent) {
                    assert!(list.may_except_below(parent), "{path} is never reached");
                }
            }
        });
}

/// A megabyte of wildcards would be gigabytes of automata.
#[test]
fn wildcards_have_a_number() {
    let line = format!("{}x", "?*".repeat(48));
    let few = format!("{line}\n").repeat(500);
    assert!(IgnoreList::parse(few.as_bytes(), ".dockerignore").is_ok());
    let many = format!("{line}\n").repeat(10_000);
    let error = IgnoreList::parse(many.as_bytes(), ".dockerignore").expect_err("too many");
    assert!(matches!(error, IgnoreError::TooMany { .. }), "{error}");
    // What needs no compiler does not count.
    let plain = "**/node_modules/of/some/length\nbuild/output/**\n/a/plain/path\n".repeat(3_000);
    assert!(IgnoreList::parse(plain.as_bytes(), ".dockerignore").is_ok());
}
