//! What the documents name is there: every test, every file, every link.
//!
//! A table whose last column is one of [`COLUMNS`] promises that each word in backticks of that column shows what its row
//! says. A word is a file or folder of tests, a test's own name, a case, a crate, a variable or a program of the tests; one
//! that is nothing of these has been renamed or was never there. That a test shows what its row promises is for readers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::architecture::workspace;

/// The headings of the columns that name tests.
const COLUMNS: &[&str] = &["Shown by", "Test"];

/// Everything that a document may name.
struct Named {
    /// Files and folders, from the root of the work tree, without those that are built.
    paths: Vec<String>,
    /// The functions that run as tests.
    tests: BTreeSet<String>,
    /// What the tests and the scripts say, to find names of cases, of variables and of programs in.
    sources: String,
}

impl Named {
    fn read() -> Self {
        let mut named = Self {
            paths: Vec::new(),
            tests: BTreeSet::new(),
            sources: String::new(),
        };
        for folder in ["crates", "docs", "scripts", "examples"] {
            named.walk(&workspace().join(folder));
        }
        assert!(
            named.tests.len() > 500,
            "only {} tests were found",
            named.tests.len()
        );
        named
    }

    fn walk(&mut self, path: &Path) {
        let relative = path.strip_prefix(workspace()).expect("a path below the root");
        self.paths
            .push(relative.to_str().expect("a plain path").to_owned());
        if path.is_dir() {
            for entry in std::fs::read_dir(path).expect("a folder") {
                self.walk(&entry.expect("an entry").path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            self.source(&std::fs::read_to_string(path).expect("a source file"));
        }
    }

    /// Takes the names of the functions under an attribute of a test, and of those that a table of tests lists.
    fn source(&mut self, text: &str) {
        let table = text
            .split_once("TESTS: &[")
            .or_else(|| text.split_once("tests!"))
            .map(|(_, table)| table);
        let mut attribute = false;
        for line in text.lines().map(str::trim) {
            let name = ["fn ", "async fn ", "pub(crate) fn ", "pub(crate) async fn "]
                .iter()
                .find_map(|start| line.strip_prefix(start))
                .and_then(|rest| rest.split(['(', '<']).next());
            if line.starts_with("#[") {
                attribute |= line.contains("test");
            } else if let Some(name) = name {
                if attribute || table.is_some_and(|table| table.contains(name)) {
                    self.tests.insert(name.to_owned());
                }
                attribute = false;
            } else if !line.starts_with("//") && !line.is_empty() {
                attribute = false;
            }
        }
        self.sources.push_str(text);
    }

    /// Whether a word in backticks is something; commands, keywords and files that users write are taken as prose.
    fn knows(&self, word: &str) -> bool {
        let first = word.split([' ', '=']).next().unwrap_or_default();
        if first.starts_with("SHIPWAY_TEST_") {
            return self.sources.contains(&format!("\"{first}\""));
        }
        if word.contains(['/', '.']) {
            let prose = !word.contains('/') && !word.ends_with(".rs");
            return prose || self.is_path(first);
        }
        let prose = word.contains(' ') || word.contains(|c: char| c.is_ascii_uppercase());
        prose || self.is_path(word) || self.is_test(word) || self.is_case(word)
    }

    /// A test, or with a star some whose names begin so.
    fn is_test(&self, word: &str) -> bool {
        match word.strip_suffix('*') {
            Some(start) => self.tests.iter().any(|test| test.starts_with(start)),
            None => self.tests.contains(word),
        }
    }

    /// A path from the root, or the end of one below `crates`; a bare word is a crate.
    fn is_path(&self, word: &str) -> bool {
        let word = word.trim_end_matches('/');
        self.paths.iter().any(|path| {
            path == word
                || path.strip_prefix("crates/") == Some(word)
                || (word.contains(['/', '.']) && path.ends_with(&format!("/{word}")))
        })
    }

    /// A case has a folder, or stands in a test as a string or, with a star, as the start of one.
    fn is_case(&self, word: &str) -> bool {
        let folder = format!("/cases/{word}");
        let string = match word.strip_suffix('*') {
            Some(start) => format!("\"{start}"),
            None => format!("\"{word}\""),
        };
        self.paths.iter().any(|path| path.ends_with(&folder))
            || (!word.contains('_') && self.sources.contains(&string))
    }
}

/// The documents of the work tree, with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| workspace().join(name))
        .into();
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(workspace().join(folder)).expect("documents") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a document");
            (path, text)
        })
        .collect()
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let named = Named::read();
    let mut missing = String::new();
    let mut looked_at = 0;
    for (path, text) in documents() {
        let mut column = None;
        for (number, line) in text.lines().enumerate() {
            let Some(cells) = cells(line) else {
                column = None;
                continue;
            };
            if column.is_none() {
                column = Some(cells.iter().position(|cell| COLUMNS.contains(cell)));
            }
            let Some(Some(column)) = column else { continue };
            for word in cells.get(column).into_iter().flat_map(|cell| quoted(cell)) {
                looked_at += 1;
                if !named.knows(word) {
                    let place = path.strip_prefix(workspace()).expect("below the root").display();
                    writeln!(missing, "  {place}:{}: `{word}`", number + 1).expect("a string");
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "tests that documents name and nobody has:\n{missing}"
    );
    assert!(
        looked_at > 100,
        "only {looked_at} names were found in the documents"
    );
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = String::new();
    for (path, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                path.with_file_name(file)
            };
            let leads = file.exists()
                && (heading.is_empty()
                    || std::fs::read_to_string(&file).is_ok_and(|text| has_heading(&text, heading)));
            if !leads {
                writeln!(broken, "  {}: {target}", path.display()).expect("a string");
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{broken}");
}

/// Whether a document has the heading that an anchor names, as GitLab and GitHub write anchors.
fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let slug: String = line
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        slug == anchor
    })
}

#[test]
fn each_decision_has_a_number_of_its_own() {
    let entries = std::fs::read_dir(workspace().join("docs/decisions")).expect("decisions");
    let mut numbers: Vec<_> = entries
        .map(|entry| entry.expect("a decision").file_name().to_string_lossy()[..4].to_owned())
        .collect();
    numbers.sort_unstable();
    let numbered: Vec<_> = (1..=numbers.len()).map(|number| format!("{number:04}")).collect();
    assert_eq!(numbers, numbered);
}
