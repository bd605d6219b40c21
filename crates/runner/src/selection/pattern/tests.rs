//! Patterns as GitLab takes them, hostile ones included.

use super::Pattern;

#[test]
fn patterns_take_in_what_gitlab_takes_in() {
    let table = [
        ("build", "build/a/b.o", true),
        ("build/", "build/a", true),
        ("./build", "build", true),
        ("build", "rebuild/a", false),
        ("*.txt", "a.txt", true),
        ("*.txt", "dir/a.txt", false),
        ("**/*.txt", "a.txt", true),
        ("**/*.txt", "x/y/a.txt", true),
        ("out/**/*.o", "out/a.o", true),
        ("out/**/*.o", "out/x/y/a.o", true),
        ("out/**", "out/x/y", true),
        ("*/", "dir/below", true),
        ("report-[0-9].xml", "report-7.xml", true),
        ("report-[!0-9].xml", "report-7.xml", false),
        ("{a,b/c}/x", "b/c/x", true),
        ("{a,b}.{txt,md}", "b.md", true),
        ("file?.log", "file1.log", true),
        ("file?.log", "fileä.log", true),
        ("file?.log", "file/.log", false),
        (".config", ".config/x", true),
        ("*", ".hidden", true),
        ("/builds/g/p/dist", "dist/app", true),
        ("a/../b", "b", true),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
    ];
    for (pattern, path, expected) in table {
        let parsed = Pattern::parse(pattern, "/builds/g/p").unwrap();
        assert_eq!(parsed.takes_in(path), expected, "{pattern} {path}");
    }
}

#[test]
fn nothing_outside_the_project_is_a_pattern() {
    for outside in ["/etc/passwd", "../other", "a/../../b", "/builds/g/project2"] {
        assert!(Pattern::parse(outside, "/builds/g/p").is_none(), "{outside}");
    }
}

#[test]
fn a_search_starts_where_wildcards_do() {
    for (pattern, prefix) in [
        ("a/b/*.o", "a/b"),
        ("*.o", ""),
        ("a/{b,c}/d", "a"),
        ("dist", "dist"),
    ] {
        assert_eq!(
            Pattern::parse(pattern, "/p").unwrap().fixed_prefix(),
            prefix,
            "{pattern}"
        );
    }
}

#[test]
fn a_search_looks_only_where_something_may_be() {
    for (pattern, directory, expected) in [
        ("*.log", "", true),
        ("*.log", "src", false),
        ("*.log", "a.log/deep", true),
        ("out/*/a", "out/x", true),
        ("out/*/a", "out/x/b", false),
        ("out/*/a", "src", false),
        ("**/a", "x/y", true),
        ("{a,b/c}/d", "b", true),
        ("{a,b/c}/d", "c", false),
    ] {
        let parsed = Pattern::parse(pattern, "/p").unwrap();
        assert_eq!(parsed.leads_below(directory), expected, "{pattern} {directory}");
    }
}

#[test]
fn a_hostile_pattern_ends() {
    let pattern = Pattern::parse(&"**/".repeat(200), "/p").unwrap();
    let star = Pattern::parse(&"*a".repeat(200), "/p").unwrap();
    assert!(pattern.takes_in("a/b"));
    assert!(!star.takes_in(&"a".repeat(150)));
}

/// What a pattern takes in is inside the project, and the search for it starts where it can be found.
#[test]
fn foreign_patterns() {
    let seeds = [
        "build/**/*.{js,css}",
        "/builds/group/project/a?[b-d]*",
        "**/**/**/x",
        "a/../b",
        "{a,{b,c}}/[!x]",
        "dir/",
    ];
    shipway_testkit::Foreign::near(seeds)
        .with_words(&["**/", "*", "{a,b}", "[a-z]", "..", "/", "\\"])
        .up_to(2048)
        .check_text(|text| {
            let Some(pattern) = Pattern::parse(text, "/builds/group/project") else {
                return;
            };
            let prefix = pattern.fixed_prefix();
            for path in ["a", "build/x/y.js", "a/b/c/d/e/f/g/x", "b", "dir/f"] {
                if pattern.matches(path) {
                    assert!(
                        path.starts_with(prefix.trim_end_matches('/')),
                        "{path} is not below {prefix}"
                    );
                    assert!(pattern.takes_in(path));
                }
            }
            let _ = pattern.leads_below("a/b");
        });
}

#[test]
fn a_long_pattern_needs_no_stack() {
    for long in ["*".repeat(200_000), "**/".repeat(200_000), "{a}".repeat(20_000)] {
        let pattern = Pattern::parse(&long, "/p").unwrap();
        let _ = (
            pattern.takes_in("a/b"),
            pattern.matches("a"),
            pattern.leads_below("a/b"),
        );
    }
}
