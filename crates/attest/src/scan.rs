//! What a layer says about packages, and which of it an image shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::package::Package;

/// What a layer holds that says which packages there are. The same for the same layer; kept under its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerScan {
    /// Which rules it was made by; a scan by others is made anew.
    version: u32,
    /// Files that list packages or name the distribution, by their path from the root, without a slash in front.
    pub files: BTreeMap<String, ScannedFile>,
    /// Paths that the layer takes away from those below, with all that is in them.
    removed: BTreeSet<String>,
    /// Directories of which nothing is left of what those below have.
    opaque: BTreeSet<String>,
    /// What was not read, and why, in words for the reader of the document.
    pub passed_over: BTreeMap<String, String>,
}

/// A file that lists packages or names the distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedFile {
    /// Of its content, in hexadecimal; SPDX wants it of every file.
    pub sha1: String,
    /// Of its content, in hexadecimal.
    pub sha256: String,
    /// What it lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// The distribution that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<Release>,
}

/// A distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    /// `ID` of `os-release`.
    pub(crate) id: String,
    /// `VERSION_ID`; empty for one that has none.
    pub(crate) version: String,
}

impl Release {
    /// As package URLs have it: `debian-12`.
    pub(crate) fn distro(&self) -> String {
        if self.version.is_empty() {
            self.id.clone()
        } else {
            format!("{}-{}", self.id, self.version)
        }
    }
}

/// A file of an image, and the layer that it is from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) file: &'a ScannedFile,
    pub(crate) layer: usize,
}

impl LayerScan {
    /// The rules of this version: raised when what is read or how changes.
    const VERSION: u32 = 1;

    pub(crate) fn new() -> Self {
        Self {
            version: Self::VERSION,
            ..Self::default()
        }
    }

    pub(crate) fn remove(&mut self, path: String) {
        self.removed.insert(path);
    }

    pub(crate) fn make_opaque(&mut self, directory: String) {
        self.opaque.insert(directory);
    }

    pub(crate) fn changes(&self) -> usize {
        self.removed.len() + self.opaque.len()
    }

    /// Reads one that was kept; none when other rules made it or it is damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let scan: Self = serde_json::from_slice(bytes).ok()?;
        (scan.version == Self::VERSION).then_some(scan)
    }

    /// As bytes to be kept.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn takes_away(&self, path: &str) -> bool {
        self.removed.contains(path)
            || self.opaque.contains("")
            || parents(path).any(|parent| self.removed.contains(parent) || self.opaque.contains(parent))
    }
}

/// The directories that a path is in, deepest first, without the root.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(slash, _)| &path[..slash])
}

/// The files that an image shows of its layers, which are given bottom first.
pub(crate) fn shown<'a>(layers: &[&'a LayerScan]) -> BTreeMap<&'a str, Shown<'a>> {
    let mut shown: BTreeMap<&str, Shown<'_>> = BTreeMap::new();
    for (layer, scan) in layers.iter().enumerate() {
        if scan.changes() > 0 {
            shown.retain(|path, _| !scan.takes_away(path));
        }
        shown.extend(
            scan.files
                .iter()
                .map(|(path, file)| (path.as_str(), Shown { file, layer })),
        );
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(files: &[&str], removed: &[&str], opaque: &[&str]) -> LayerScan {
        let file = ScannedFile {
            sha1: String::new(),
            sha256: String::new(),
            packages: Vec::new(),
            release: None,
        };
        let mut scan = LayerScan::new();
        scan.files = files
            .iter()
            .map(|path| ((*path).to_owned(), file.clone()))
            .collect();
        removed.iter().for_each(|path| scan.remove((*path).to_owned()));
        opaque
            .iter()
            .for_each(|path| scan.make_opaque((*path).to_owned()));
        scan
    }

    #[test]
    fn an_upper_layer_replaces_removes_and_empties() {
        let base = scan(&["a/lock", "b/c/lock", "b/lock", "d/lock", "e/lock"], &[], &[]);
        let upper = scan(&["d/lock", "b/new"], &["a", "e/lock"], &["b"]);
        let shown: Vec<(&str, usize)> = shown(&[&base, &upper])
            .into_iter()
            .map(|(path, shown)| (path, shown.layer))
            .collect();
        assert_eq!(shown, [("b/new", 1), ("d/lock", 1)]);
    }

    #[test]
    fn a_sibling_with_the_same_beginning_stays() {
        let base = scan(&["app/lock", "application/lock"], &[], &[]);
        let upper = scan(&[], &["app"], &[]);
        assert_eq!(
            shown(&[&base, &upper]).into_keys().collect::<Vec<_>>(),
            ["application/lock"]
        );
        let all = scan(&[], &[], &[""]);
        assert!(shown(&[&base, &all]).is_empty());
    }

    #[test]
    fn a_scan_by_other_rules_is_none() {
        let scan = scan(&["a/lock"], &["b"], &["c"]);
        assert_eq!(LayerScan::parse(&scan.to_json()).as_ref(), Some(&scan));
        let other = String::from_utf8(scan.to_json())
            .unwrap()
            .replace("\"version\":1", "\"version\":0");
        assert_eq!(LayerScan::parse(other.as_bytes()), None);
        assert_eq!(LayerScan::parse(b"{"), None);
    }
}
