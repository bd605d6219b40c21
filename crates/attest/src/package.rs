//! Packages as their managers list them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::purl::Purl;
use crate::scan::Release;

/// Whose packages they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Debian's and its descendants'.
    Deb,
    /// Alpine's.
    Apk,
    /// Red Hat's, Fedora's, SUSE's.
    Rpm,
    /// Rust's.
    Cargo,
    /// JavaScript's.
    Npm,
    /// Python's.
    Pypi,
    /// Go's modules.
    Golang,
    /// Ruby's.
    Gem,
    /// PHP's.
    Composer,
}

impl Ecosystem {
    /// As package URLs spell it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Golang => "golang",
            Self::Gem => "gem",
            Self::Composer => "composer",
        }
    }

    /// Whether its packages are a distribution's, which their names then say.
    fn is_of_a_distribution(self) -> bool {
        matches!(self, Self::Deb | Self::Apk | Self::Rpm)
    }
}

/// A package that a file lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// Its name, namespace included where the manager has one: `@angular/core`, `golang.org/x/net`.
    pub name: String,
    /// Its version as its manager writes it.
    pub version: String,
    /// What it was built for, or what it was built from, by the names that package URLs have for it: `arch`, `epoch`, `upstream`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub qualifiers: BTreeMap<String, String>,
    /// The licence that it declares, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who answers for it, as written: `Name <address>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<String>,
}

impl Package {
    /// A package of which no more is known.
    pub(crate) fn new(ecosystem: Ecosystem, name: &str, version: &str) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            qualifiers: BTreeMap::new(),
            license: None,
            supplier: None,
        }
    }

    pub(crate) fn qualify(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.qualifiers.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Its package URL in an image of this distribution.
    pub(crate) fn purl(&self, release: Option<&Release>) -> String {
        let release = release.filter(|_| self.ecosystem.is_of_a_distribution());
        let (name, version) = match self.ecosystem {
            Ecosystem::Golang => (self.name.to_lowercase(), self.version.clone()),
            Ecosystem::Pypi => (self.name.to_lowercase().replace('_', "-"), self.version.clone()),
            Ecosystem::Composer => (self.name.to_lowercase(), self.version.clone()),
            _ => (self.name.clone(), self.version.clone()),
        };
        let (namespace, name) = match (self.ecosystem.is_of_a_distribution(), name.rsplit_once('/')) {
            (false, Some((namespace, name))) => (namespace.to_owned(), name.to_owned()),
            (false, None) => (String::new(), name),
            (true, _) => (
                release.map(|release| release.id.clone()).unwrap_or_default(),
                name,
            ),
        };
        let mut qualifiers: BTreeMap<&str, String> = self
            .qualifiers
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        if let Some(release) = release {
            qualifiers.insert("distro", release.distro());
        }
        Purl {
            kind: self.ecosystem.kind(),
            namespace: &namespace,
            name: &name,
            version: &version,
            qualifiers,
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ecosystem_has_its_own_spelling() {
        let release = Release {
            id: "debian".into(),
            version: "12".into(),
        };
        let mut deb = Package::new(Ecosystem::Deb, "bash", "5.2.15-2+b2");
        deb.qualify("arch", "amd64");
        deb.qualify("upstream", "");
        assert_eq!(
            deb.purl(Some(&release)),
            "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12"
        );
        assert_eq!(deb.purl(None), "pkg:deb/bash@5.2.15-2%2Bb2?arch=amd64");
        for (ecosystem, name, expected) in [
            (Ecosystem::Npm, "@babel/core", "pkg:npm/%40babel/core@1"),
            (
                Ecosystem::Pypi,
                "Typing_Extensions",
                "pkg:pypi/typing-extensions@1",
            ),
            (
                Ecosystem::Golang,
                "github.com/BurntSushi/toml",
                "pkg:golang/github.com/burntsushi/toml@1",
            ),
            (
                Ecosystem::Composer,
                "Laravel/framework",
                "pkg:composer/laravel/framework@1",
            ),
            (Ecosystem::Cargo, "serde", "pkg:cargo/serde@1"),
        ] {
            assert_eq!(Package::new(ecosystem, name, "1").purl(Some(&release)), expected);
        }
    }
}
