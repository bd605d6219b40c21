//! `deny.toml` as a test: what comes in from outside has a licence and a source that are wanted, and is not banned.
//!
//! The file is cargo-deny's, which whoever has it runs with `make audit`. That program takes minutes to compile and its
//! database of advisories is a git repository that a closed network does not have, so what CI can judge is judged here, from
//! what `cargo metadata` says of the locked graph. A rule in the file that this test does not know fails it: nothing there
//! may be without effect. Advisories and yanked releases are `make audit`'s alone.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::architecture::workspace;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    graph: Graph,
    #[expect(dead_code, reason = "not judged here")]
    advisories: toml::Table,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: String,
    deny: Vec<Ban>,
}

/// A crate, whatever its version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
}

/// As cargo names it, whichever mirror serves it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The rules, and every package that the targets of the file need, for builds and for tests, by its id.
fn graph() -> (Rules, BTreeMap<String, Package>) {
    let text = std::fs::read_to_string(workspace().join("deny.toml")).expect("deny.toml");
    let rules: Rules = toml::from_str(&text)
        .map_err(|error| error.message().to_owned())
        .expect("deny.toml has only rules that this test judges");
    assert_eq!(rules.sources.unknown_registry, "deny");
    assert_eq!(rules.sources.unknown_git, "deny");
    assert_eq!(
        rules.bans.multiple_versions, "warn",
        "nothing here would refuse them"
    );
    let mut packages = BTreeMap::new();
    for target in &rules.graph.targets {
        let metadata = locked(target);
        let needed: BTreeSet<_> = metadata
            .resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .map(|node| &node.id)
            .collect();
        packages.extend(
            metadata
                .packages
                .iter()
                .filter(|package| needed.contains(&package.id))
                .map(|package| (package.id.to_string(), package.clone())),
        );
    }
    assert!(
        packages.len() > 100,
        "only {} packages were found",
        packages.len()
    );
    (rules, packages)
}

fn locked(target: &str) -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(["--locked".to_owned(), format!("--filter-platform={target}")])
        .exec()
        .expect("cargo metadata")
}

#[test]
fn licences_are_those_that_are_wanted() {
    let (rules, packages) = graph();
    let wanted: Vec<Licensee> = rules
        .licenses
        .allow
        .iter()
        .map(|name| Licensee::parse(name).expect("a licence that SPDX knows"))
        .collect();
    let unwanted: Vec<_> = packages
        .values()
        .filter(|package| {
            !package
                .license
                .as_ref()
                .is_some_and(|license| is_wanted(license, &wanted))
        })
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(
        unwanted.is_empty(),
        "licences that deny.toml does not allow: {unwanted:#?}"
    );
}

/// Old manifests write `/` for `OR`, which the lax reading takes.
fn is_wanted(license: &str, wanted: &[Licensee]) -> bool {
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|required| wanted.iter().any(|one| one.satisfies(required)))
    })
}

#[test]
fn what_is_banned_does_not_come_in() {
    let (rules, packages) = graph();
    let names: BTreeSet<&str> = packages.values().map(|package| package.name.as_str()).collect();
    let found: Vec<_> = rules
        .bans
        .deny
        .iter()
        .filter(|ban| names.contains(ban.name.as_str()))
        .map(|ban| {
            format!(
                "{}: {}; `cargo tree -i {}` shows who brings it",
                ban.name, ban.reason, ban.name
            )
        })
        .collect();
    assert!(found.is_empty(), "crates that deny.toml bans: {found:#?}");
}

#[test]
fn everything_comes_from_the_one_registry_or_from_here() {
    let (_, packages) = graph();
    let strange: Vec<_> = packages
        .values()
        .filter(|package| match &package.source {
            Some(source) => source.repr != CRATES_IO,
            None => !package
                .manifest_path
                .starts_with(workspace().to_str().expect("a plain path")),
        })
        .map(|package| package.id.to_string())
        .collect();
    assert!(strange.is_empty(), "packages from elsewhere: {strange:#?}");
}

#[test]
fn a_licence_is_wanted_by_its_whole_expression() {
    let wanted =
        ["MIT", "Apache-2.0 WITH LLVM-exception"].map(|name| Licensee::parse(name).expect("a licence"));
    for (license, expected) in [
        ("MIT", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("", false),
        ("whatever the author likes", false),
    ] {
        assert_eq!(is_wanted(license, &wanted), expected, "{license}");
    }
}
