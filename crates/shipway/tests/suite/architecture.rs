//! The architecture as a test: which crate may know which, where the outside may come in, how large a file may grow.
//!
//! The tables below are the design. A dependency that is not in them fails with the chain that brought it in, and so
//! does a crate that the tables do not name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Each crate with the workspace crates that it may depend on. Arrows may skip layers downwards, never up or sideways.
const ALLOWED: &[(&str, &[&str])] = &[
    ("shipway-oci", &[]),
    ("shipway-attest", &["shipway-oci"]),
    ("shipway-store", &["shipway-oci"]),
    ("shipway-access", &["shipway-store", "shipway-oci"]),
    (
        "shipway-registry",
        &["shipway-access", "shipway-store", "shipway-oci"],
    ),
    ("shipway-sandbox", &[]),
    (
        "shipway-container",
        &[
            "shipway-registry",
            "shipway-sandbox",
            "shipway-access",
            "shipway-store",
            "shipway-oci",
        ],
    ),
    (
        "shipway-build",
        &[
            "shipway-attest",
            "shipway-container",
            "shipway-registry",
            "shipway-sandbox",
            "shipway-access",
            "shipway-store",
            "shipway-oci",
        ],
    ),
    (
        "shipway-engine",
        &[
            "shipway-build",
            "shipway-attest",
            "shipway-container",
            "shipway-registry",
            "shipway-sandbox",
            "shipway-access",
            "shipway-store",
            "shipway-oci",
        ],
    ),
    ("shipway-pipeline", &[]),
    (
        "shipway-runner",
        &[
            "shipway-engine",
            "shipway-pipeline",
            "shipway-build",
            "shipway-attest",
            "shipway-container",
            "shipway-registry",
            "shipway-sandbox",
            "shipway-access",
            "shipway-store",
            "shipway-oci",
        ],
    ),
    (
        "shipway",
        &[
            "shipway-runner",
            "shipway-engine",
            "shipway-pipeline",
            "shipway-build",
            "shipway-attest",
            "shipway-container",
            "shipway-registry",
            "shipway-sandbox",
            "shipway-access",
            "shipway-store",
            "shipway-oci",
        ],
    ),
    ("shipway-testkit", &["shipway-store", "shipway-oci"]),
];

/// Outside crates that a crate must never reach, directly or through others, and why.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "shipway-oci",
        &["tokio", "hyper", "reqwest", "rusqlite"],
        "the vocabulary does no I/O of its own",
    ),
    (
        "shipway-attest",
        &["tokio", "hyper", "reqwest", "rustix", "rand"],
        "the same image has the same documents",
    ),
    (
        "shipway-sandbox",
        &["tokio", "hyper", "reqwest"],
        "a process that forks must be single-threaded",
    ),
    (
        "shipway-store",
        &["hyper", "reqwest", "http"],
        "bytes at rest know no protocol",
    ),
    (
        "shipway-pipeline",
        &["tokio", "hyper", "reqwest", "rusqlite", "rustix"],
        "the compiler is pure",
    ),
];

/// Lines that no source file may exceed.
const MOST_LINES: usize = 600;

/// How many of a hundred source files have how many lines at most. Tests beside a module are source files too.
const SHORT: [(usize, usize); 2] = [(50, 150), (90, 400)];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .exec()
        .expect("cargo metadata")
}

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("two folders up")
        .to_path_buf()
}

/// Every package with its normal dependencies, by name.
fn normal_dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    let name = |id| metadata[id].name.to_string();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in &resolve.nodes {
        let dependencies = node
            .deps
            .iter()
            .filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            })
            .map(|dependency| name(&dependency.pkg));
        graph.entry(name(&node.id)).or_default().extend(dependencies);
    }
    graph
}

/// The shortest way from one package to another, as `a -> b -> c`.
fn chain(graph: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> Option<String> {
    let mut seen = BTreeSet::from([from.to_owned()]);
    let mut queue = std::collections::VecDeque::from([vec![from.to_owned()]]);
    while let Some(path) = queue.pop_front() {
        let last = path.last().expect("a path has a start");
        if last == to {
            return Some(path.join(" -> "));
        }
        for next in graph.get(last).into_iter().flatten() {
            if seen.insert(next.clone()) {
                queue.push_back(path.iter().cloned().chain([next.clone()]).collect());
            }
        }
    }
    None
}

#[test]
fn crates_depend_only_downwards() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(permitted) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table of crates", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = allowed.contains_key(dependency.name.as_str());
            let test_only = dependency.kind == DependencyKind::Development;
            if !ours || permitted.contains(&dependency.name.as_str()) {
                continue;
            }
            if test_only && dependency.name == "shipway-testkit" {
                continue;
            }
            wrong.push(format!("{} -> {}", package.name, dependency.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies against the design:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let graph = normal_dependencies(&metadata());
    let mut wrong = Vec::new();
    for (from, targets, reason) in FORBIDDEN {
        for target in *targets {
            if let Some(path) = chain(&graph, from, target) {
                wrong.push(format!("{path}: {reason}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies against the design:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn anyhow_stays_in_the_binary_and_in_tests() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let may = ["shipway", "shipway-testkit"].contains(&package.name.as_str());
        for dependency in &package.dependencies {
            if dependency.name == "anyhow" && dependency.kind == DependencyKind::Normal && !may {
                wrong.push(package.name.to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "library crates with untyped errors: {wrong:?}");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let inherits = manifest.contains("[lints]\nworkspace = true");
        let sandbox =
            package.name == "shipway-sandbox" && manifest.contains("undocumented_unsafe_blocks = \"deny\"");
        assert!(
            inherits || sandbox,
            "{} does not say `[lints] workspace = true`",
            package.manifest_path
        );
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a source folder") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn library_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(workspace().join("crates")).expect("crates") {
        sources(&entry.expect("a crate").path().join("src"), &mut found);
    }
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
}

#[test]
fn every_file_opens_with_its_reason() {
    let silent: Vec<_> = library_sources()
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).expect("source").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "files without a module doc: {silent:#?}");
}

/// Every source file with its number of lines, the longest first.
fn by_length() -> Vec<(usize, PathBuf)> {
    let lines = |path: &Path| std::fs::read_to_string(path).expect("source").lines().count();
    let mut files: Vec<_> = library_sources()
        .into_iter()
        .map(|path| (lines(&path), path))
        .collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    files
}

#[test]
fn no_file_outgrows_a_head() {
    let large: Vec<_> = by_length()
        .into_iter()
        .take_while(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(
        large.is_empty(),
        "files over {MOST_LINES} lines, split them along their ideas: {large:#?}"
    );
}

#[test]
fn most_files_are_short() {
    let files = by_length();
    for (percent, most) in SHORT {
        // One in `100 / (100 - percent)` files may be longer.
        let may_be_longer = files.len() * (100 - percent) / 100;
        let (lines, _) = files[may_be_longer];
        let longest: Vec<_> = files.iter().take(10).collect();
        assert!(
            lines <= most,
            "{percent} of 100 source files shall have {most} lines at most, the one at that place has {lines}. Split a file \
             that holds two ideas, or move a long module's tests beside it. The longest are {longest:#?}"
        );
    }
}

#[test]
fn the_two_ends_of_the_protocol_do_not_know_each_other() {
    for (end, other) in [("server", "crate::client"), ("client", "crate::server")] {
        let mut found = Vec::new();
        sources(&workspace().join("crates/registry/src").join(end), &mut found);
        for path in found {
            let text = std::fs::read_to_string(&path).expect("source");
            assert!(!text.contains(other), "{} imports {other}", path.display());
        }
    }
}
