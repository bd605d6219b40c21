//! npm: the lock file of a project, and the `package.json` of each package that is installed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::CatalogError;
use crate::package::{Ecosystem, Package};

/// Nested as deep as npm's own tree gets; serde_json refuses much deeper ones anyway.
const DEEPEST: usize = 64;

#[derive(Deserialize)]
struct Lock {
    /// Versions 2 and 3: by the path of each package; of the project itself it is empty.
    #[serde(default)]
    packages: BTreeMap<String, Entry>,
    /// Version 1: by name, each with its own below it.
    #[serde(default)]
    dependencies: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    license: Option<License>,
    /// A package of the same project elsewhere, which has an entry of its own.
    #[serde(default)]
    link: bool,
    #[serde(default)]
    dependencies: Dependencies,
}

/// Entries in version 1, and the ranges that are asked for in the others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Dependencies {
    Entries(BTreeMap<String, Entry>),
    Other(serde::de::IgnoredAny),
}

impl Default for Dependencies {
    fn default() -> Self {
        Self::Entries(BTreeMap::new())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum License {
    Expression(String),
    Object {
        #[serde(rename = "type")]
        kind: String,
    },
    Other(serde::de::IgnoredAny),
}

impl License {
    fn text(self) -> Option<String> {
        match self {
            Self::Expression(text) | Self::Object { kind: text } => Some(text),
            Self::Other(_) => None,
        }
    }
}

/// Whether a directory is that of an installed package: `node_modules/name` or `node_modules/@scope/name`.
pub(super) fn is_installed(directory: &str) -> bool {
    let mut parts = directory.rsplit('/').skip(1);
    match parts.next() {
        Some("node_modules") => true,
        Some(scope) if scope.starts_with('@') => parts.next() == Some("node_modules"),
        _ => false,
    }
}

pub(super) fn read_lock(bytes: &[u8]) -> Result<Vec<Package>, CatalogError> {
    let lock: Lock = serde_json::from_slice(bytes)?;
    let mut packages = Vec::new();
    if lock.packages.is_empty() {
        nested(lock.dependencies, DEEPEST, &mut packages);
        return Ok(packages);
    }
    for (path, entry) in lock.packages {
        let installed = path.rsplit_once("node_modules/").map(|(_, name)| name.to_owned());
        if let (Some(name), false) = (entry.name.or(installed), entry.link) {
            packages.extend(package(&name, entry.version, entry.license));
        }
    }
    Ok(packages)
}

fn nested(entries: BTreeMap<String, Entry>, depth: usize, packages: &mut Vec<Package>) {
    for (name, entry) in entries {
        packages.extend(package(&name, entry.version, entry.license));
        if let (Dependencies::Entries(below), true) = (entry.dependencies, depth > 0) {
            nested(below, depth - 1, packages);
        }
    }
}

pub(super) fn read_package(bytes: &[u8]) -> Result<Vec<Package>, CatalogError> {
    #[derive(Deserialize)]
    struct File {
        name: Option<String>,
        version: Option<String>,
        license: Option<License>,
    }
    let file: File = serde_json::from_slice(bytes)?;
    let package = file
        .name
        .and_then(|name| package(&name, file.version, file.license));
    Ok(package.into_iter().collect())
}

fn package(name: &str, version: Option<String>, license: Option<License>) -> Option<Package> {
    let version = version.filter(|version| !version.is_empty())?;
    let mut package = Package::new(Ecosystem::Npm, name, &version);
    package.license = license.and_then(License::text);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packages: &[Package]) -> Vec<String> {
        packages.iter().map(|package| package.purl(None)).collect()
    }

    #[test]
    fn lock_files_of_all_versions_are_read() {
        let third = br#"{"lockfileVersion":3,"packages":{"":{"name":"app","version":"1.0.0"},
            "node_modules/@babel/core":{"version":"7.1.0","license":"MIT","dependencies":{"a":"^1"}},
            "node_modules/a/node_modules/b":{"version":"2.0.0"},"node_modules/own":{"link":true},"own":{"version":"3.0.0"}}}"#;
        let packages = read_lock(third).unwrap();
        assert_eq!(
            names(&packages),
            [
                "pkg:npm/app@1.0.0",
                "pkg:npm/%40babel/core@7.1.0",
                "pkg:npm/b@2.0.0"
            ]
        );
        assert_eq!(packages[1].license.as_deref(), Some("MIT"));
        let first = br#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}}}}"#;
        assert_eq!(
            names(&read_lock(first).unwrap()),
            ["pkg:npm/a@1.0.0", "pkg:npm/b@2.0.0"]
        );
    }

    #[test]
    fn installed_packages_say_themselves_what_they_are() {
        let packages =
            read_package(br#"{"name":"a","version":"1.2.3","license":{"type":"ISC","url":"x"}}"#).unwrap();
        assert_eq!(
            (packages[0].version.as_str(), packages[0].license.as_deref()),
            ("1.2.3", Some("ISC"))
        );
        assert!(read_package(br#"{"type":"module"}"#).unwrap().is_empty());
        for (directory, expected) in [
            ("app/node_modules/a", true),
            ("app/node_modules/@s/a", true),
            ("node_modules/a", true),
            ("app/node_modules/a/src", false),
            ("app", false),
            ("", false),
        ] {
            assert_eq!(is_installed(directory), expected, "{directory}");
        }
    }
}
