//! `changes` and `exists`: globs over the repository, matched as Ruby's `File.fnmatch` does with `PATHNAME`, `DOTMATCH` and
//! `EXTGLOB`. What the file source answers is asked once per compilation.

use std::{collections::HashMap, rc::Rc};

use super::Context;
use crate::diagnostic::Span;

/// GitLab's bound: past it, `exists` and `changes` hold.
const CHECKS: usize = 50_000;

/// Alternatives that braces may expand to.
const ALTERNATIVES: usize = 256;

/// Answers of the file source.
#[derive(Default)]
pub(super) struct Known {
    paths: Option<Rc<Vec<String>>>,
    changed: HashMap<Option<String>, Option<Rc<Vec<String>>>>,
    checks: usize,
}

impl Context<'_> {
    /// Whether one of the patterns names a file, or with a slash at its end a directory.
    pub(super) fn exists(&mut self, span: Span, patterns: &[String]) -> bool {
        let Some(paths) = self.paths(span) else {
            return false;
        };
        patterns.iter().any(|pattern| match pattern.strip_suffix('/') {
            None => self.any_match(pattern, paths.iter().map(String::as_str)),
            Some(directory) => {
                let parents = paths.iter().flat_map(|path| {
                    path.char_indices()
                        .filter(|(_, character)| *character == '/')
                        .filter_map(|(at, _)| path.get(..at))
                });
                self.any_match(directory, parents)
            }
        })
    }

    /// Whether a changed file matches one of the patterns; true when there is nothing to compare with: only a push to a
    /// branch that was there before, or a merge request, changes anything, as GitLab sees it.
    pub(super) fn changed(&mut self, span: Span, patterns: &[String], compare_to: Option<&str>) -> bool {
        let before = &self.situation.commit.before_sha;
        let new = before.chars().all(|digit| digit == '0');
        let unknown = self.situation.is_for_tag() || (new && self.situation.merge_request.is_none());
        if compare_to.is_none() && unknown {
            return true;
        }
        let key = compare_to.map(str::to_owned);
        if !self.files.changed.contains_key(&key) {
            let answer = match self.source.changed(compare_to) {
                Ok(answer) => answer.map(Rc::new),
                Err(error) => {
                    self.reports
                        .error(span, format!("the changed files cannot be found out: {error}"));
                    None
                }
            };
            self.files.changed.insert(key.clone(), answer);
        }
        let Some(changed) = self.files.changed.get(&key).cloned().flatten() else {
            return true;
        };
        patterns
            .iter()
            .any(|pattern| self.any_match(pattern, changed.iter().map(String::as_str)))
    }

    /// All files, for `exists` and for patterns in `include`.
    pub(super) fn paths(&mut self, span: Span) -> Option<Rc<Vec<String>>> {
        if self.files.paths.is_none() {
            match self.source.paths() {
                Ok(paths) => self.files.paths = Some(Rc::new(paths)),
                Err(error) => {
                    self.reports.error(
                        span,
                        format!("the files of the repository cannot be listed: {error}"),
                    );
                }
            }
        }
        self.files.paths.clone()
    }

    fn any_match<'p>(&mut self, pattern: &str, mut paths: impl Iterator<Item = &'p str>) -> bool {
        let pattern = Glob::new(pattern);
        paths.any(|path| {
            self.files.checks += 1;
            self.files.checks > CHECKS || pattern.matches(path)
        })
    }
}

/// A pattern with its braces expanded, by path segments.
pub(super) struct Glob(Vec<Vec<Vec<char>>>);

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(
            expand_braces(&pattern.chars().collect::<Vec<_>>())
                .iter()
                .map(|one| {
                    one.split(|character| *character == '/')
                        .map(<[char]>::to_vec)
                        .collect()
                })
                .collect(),
        )
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let path: Vec<Vec<char>> = path.split('/').map(|segment| segment.chars().collect()).collect();
        self.0.iter().any(|pattern| segments_match(pattern, &path))
    }
}

/// In order, as a shell has them; braces beyond the ceiling stand for themselves.
fn expand_braces(pattern: &[char]) -> Vec<Vec<char>> {
    let mut open = vec![pattern.to_vec()];
    let mut expanded = Vec::new();
    let mut pairs = 0;
    while let Some(pattern) = open.pop() {
        let braces = first_braces(&pattern)
            .filter(|_| pairs < ALTERNATIVES && open.len() + expanded.len() < ALTERNATIVES);
        let Some((start, close, commas)) = braces else {
            expanded.push(pattern);
            continue;
        };
        pairs += 1;
        let mut end = close;
        for before in commas.into_iter().rev().chain([start]) {
            let mut one = pattern.get(..start).unwrap_or_default().to_vec();
            one.extend_from_slice(pattern.get(before + 1..end).unwrap_or_default());
            one.extend_from_slice(pattern.get(close + 1..).unwrap_or_default());
            open.push(one);
            end = before;
        }
    }
    expanded
}

/// Places of the first pair of braces and of the commas directly inside.
fn first_braces(pattern: &[char]) -> Option<(usize, usize, Vec<usize>)> {
    let mut open = None;
    let mut level = 0usize;
    let mut commas = Vec::new();
    let mut escaped = false;
    for (position, character) in pattern.iter().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match (character, level) {
            ('\\', _) => escaped = true,
            ('{', _) => {
                level += 1;
                open = open.or(Some(position));
            }
            ('}', 1) => return Some((open?, position, commas)),
            ('}', 2..) => level -= 1,
            (',', 1) => commas.push(position),
            _ => {}
        }
    }
    None
}

/// `**` before a slash stands for any number of directories. Dynamic programming, so that many of them cost no time.
fn segments_match(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    let mut reachable = vec![false; path.len() + 1];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    for (position, segment) in pattern.iter().enumerate() {
        let mut next = vec![false; path.len() + 1];
        let any_depth = segment.as_slice() == ['*', '*'] && position + 1 < pattern.len();
        let mut seen = false;
        for (at, here) in reachable.iter().enumerate() {
            if any_depth {
                seen |= here;
                if let Some(slot) = next.get_mut(at) {
                    *slot = seen;
                }
            } else if *here
                && path.get(at).is_some_and(|part| segment_matches(segment, part))
                && let Some(slot) = next.get_mut(at + 1)
            {
                *slot = true;
            }
        }
        reachable = next;
    }
    reachable.last() == Some(&true)
}

fn segment_matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => set_matches(pattern, p, text.get(t).copied()),
            Some('\\') if p + 1 < pattern.len() => (pattern.get(p + 1) == text.get(t)).then_some(p + 2),
            Some(literal) => (Some(literal) == text.get(t)).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((star, from))) => {
                retry = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|character| *character == '*'))
}

/// Where the pattern goes on after a `[set]` that takes the character.
fn set_matches(pattern: &[char], open: usize, character: Option<char>) -> Option<usize> {
    let character = character?;
    let mut at = open + 1;
    let negated = matches!(pattern.get(at), Some('!' | '^'));
    at += usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        let low = match pattern.get(at)? {
            ']' if at > first => break,
            '\\' => {
                at += 1;
                *pattern.get(at)?
            }
            other => *other,
        };
        let mut high = low;
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|next| *next != ']') {
            high = *pattern.get(at + 2)?;
            at += 2;
        }
        found |= (low..=high).contains(&character);
        at += 1;
    }
    (found != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{CHECKS, Glob};
    use crate::{CommitFacts, FileSource, Options, RefKind, Situation, compile};

    /// A repository in which a push changed `src/main.rs`, and which differs from `main` in `README.md`.
    struct Repository(&'static str);

    impl FileSource for Repository {
        fn read(&self, _path: &str, _limit: usize) -> io::Result<Option<Vec<u8>>> {
            Ok(Some(self.0.as_bytes().to_vec()))
        }

        fn paths(&self) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn changed(&self, compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
            match compare_to {
                None => Ok(Some(vec!["src/main.rs".to_owned()])),
                Some("main") => Ok(Some(vec!["README.md".to_owned()])),
                Some(_) => Err(io::Error::other("no such ref")),
            }
        }
    }

    const CHANGES: &str = "
always: {script: x}
code: {script: x, rules: [{changes: ['**/*.rs']}]}
text: {script: x, rules: [{changes: ['*.md']}]}
text since main: {script: x, rules: [{changes: {paths: ['*.md'], compare_to: main}}]}
only code: {script: x, only: {changes: ['src/*']}}
except code: {script: x, except: {changes: ['src/*']}}
";

    fn jobs(before_sha: &str, ref_kind: RefKind) -> Vec<String> {
        let commit = CommitFacts {
            before_sha: before_sha.to_owned(),
            ..CommitFacts::default()
        };
        let situation = Situation {
            commit,
            ref_kind,
            ref_name: "x".to_owned(),
            ..Situation::default()
        };
        let compiled = compile(&Repository(CHANGES), "ci.yml", &situation, Options::default()).unwrap();
        compiled
            .pipeline
            .jobs
            .iter()
            .map(|job| job.name.to_string())
            .collect()
    }

    #[test]
    fn changes_are_those_of_a_push_to_a_known_branch() {
        assert_eq!(
            jobs("abc", RefKind::Branch),
            ["always", "code", "text since main", "only code"]
        );
        let all = ["always", "code", "text", "text since main", "only code"];
        assert_eq!(jobs(&"0".repeat(40), RefKind::Branch), all);
        assert_eq!(jobs("abc", RefKind::Tag), [&all[..], &["except code"]].concat());
    }

    /// A repository with so many files, none of which is a `.rs`.
    struct Many(usize, &'static str);

    impl FileSource for Many {
        fn read(&self, _path: &str, _limit: usize) -> io::Result<Option<Vec<u8>>> {
            Ok(Some(self.1.as_bytes().to_vec()))
        }

        fn paths(&self) -> io::Result<Vec<String>> {
            Ok((0..self.0).map(|number| format!("src/{number}.c")).collect())
        }

        fn changed(&self, _compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
            Ok(None)
        }
    }

    #[test]
    fn exists_holds_past_gitlabs_bound_on_checks() {
        let text = "always: {script: x}\njob: {script: x, rules: [{exists: ['*.rs', '**/*.rs']}]}";
        let jobs = |files| {
            let compiled = compile(
                &Many(files, text),
                "ci.yml",
                &Situation::default(),
                Options::default(),
            );
            compiled.unwrap().pipeline.jobs.len()
        };
        assert_eq!(
            jobs(CHECKS / 2),
            1,
            "each of two patterns is checked with each file"
        );
        assert_eq!(jobs(CHECKS / 2 + 1), 2);
    }

    #[test]
    fn changes_and_exists_take_fifty_patterns() {
        for key in ["changes", "exists"] {
            for (number, fits) in [(50, true), (51, false)] {
                let globs = vec!["'a'"; number].join(", ");
                let text =
                    format!("always: {{script: x}}\njob: {{script: x, rules: [{{{key}: [{globs}]}}]}}");
                let files = std::collections::BTreeMap::from([("ci.yml".to_owned(), text.into_bytes())]);
                let compiled = compile(&files, "ci.yml", &Situation::default(), Options::default());
                assert_eq!(compiled.is_ok(), fits, "{key} {number}");
            }
        }
    }

    #[test]
    fn a_source_that_cannot_answer_is_an_error() {
        let source = Repository("job: {script: x, rules: [{changes: {paths: [a], compare_to: gone}}]}");
        let diagnostics = compile(&source, "ci.yml", &Situation::default(), Options::default()).unwrap_err();
        assert!(
            diagnostics[0].message.contains("no such ref"),
            "{}",
            diagnostics[0]
        );
    }

    #[test]
    fn globs_match_as_ruby_matches_them() {
        for (pattern, path, expected) in [
            ("Dockerfile", "Dockerfile", true),
            ("Dockerfile", "a/Dockerfile", false),
            ("./Dockerfile", "Dockerfile", false),
            ("*.md", "a.md", true),
            ("*.md", "a/b.md", false),
            ("**/*.md", "a.md", true),
            ("**/*.md", "a/b/c.md", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", false),
            ("*", ".hidden", true),
            ("*.{rb,py}", "x.py", true),
            ("{a,b{c,d}}/x", "bd/x", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[", "[", false),
            ("", "", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(path), expected, "{pattern} {path}");
        }
        assert!(!Glob::new(&format!("{}x", "**/".repeat(60))).matches(&"a/".repeat(200)));
        assert!(!Glob::new(&"*a".repeat(100)).matches(&"a".repeat(99)));
    }

    #[test]
    fn braces_without_end_are_answered() {
        for long in [
            "{a}".repeat(50_000),
            "{a,b}".repeat(5_000),
            "{".repeat(50_000),
            format!("{{{}}}", ",".repeat(50_000)),
        ] {
            assert!(!Glob::new(&long).matches("x/y"));
        }
        assert!(Glob::new("{a,b{c,d}}/{e,}x").matches("bd/x"));
        assert!(!Glob::new("{a,b{c,d}}/{e,}x").matches("b/x"));
    }
}
