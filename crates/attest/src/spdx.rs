//! The software of an image as an SPDX 2.3 document, <https://spdx.github.io/spdx-spec/v2.3/>.
//!
//! The document depends on nothing but the image: its namespace is made of the image's digest, its time is the image's, its elements are
//! sorted. A package that several files list is one package; each file says in a comment which layer it is from, in BuildKit's words.

mod license;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use shipway_oci::Digest;

use self::license::Declared;
use self::model::{
    Checksum, CreationInfo, Document, ExternalReference, File, NO_ASSERTION, Package as Element, Relationship,
};
use crate::catalog::Format;
use crate::package::{Ecosystem, Package};
use crate::scan::{LayerScan, Release, Shown, shown};

/// Sources that a package names in words; the others are told by their relationships.
const MOST_SOURCES: usize = 3;

/// A layer of the image and what it says.
#[derive(Debug, Clone, Copy)]
pub struct ScannedLayer<'a> {
    /// The digest of the layer's blob.
    pub digest: &'a Digest,
    /// What it says.
    pub scan: &'a LayerScan,
}

/// What a document is about.
#[derive(Debug, Clone, Copy)]
pub struct Sbom<'a> {
    /// What the image is called; empty for one without a name.
    pub name: &'a str,
    /// Its package URL, when it has a name.
    pub purl: Option<&'a str>,
    /// The digest of its manifest.
    pub manifest: &'a Digest,
    /// Its time, as its configuration has it.
    pub created: &'a str,
    /// Its layers, bottom first.
    pub layers: &'a [ScannedLayer<'a>],
}

/// A package of the document, and the files that list it.
struct Listed<'a> {
    package: &'a Package,
    sources: BTreeSet<&'a str>,
}

/// Writes the document.
pub fn sbom(about: &Sbom<'_>) -> serde_json::Value {
    let scans: Vec<&LayerScan> = about.layers.iter().map(|layer| layer.scan).collect();
    let shown = shown(&scans);
    let release = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| shown.get(path)?.file.release.as_ref());
    let listed = listed(&shown, release);
    let sources: BTreeSet<&str> = listed
        .values()
        .flat_map(|listed| &listed.sources)
        .copied()
        .collect();

    let name = if about.name.is_empty() {
        "image"
    } else {
        about.name
    };
    let mut packages = vec![image(about, name)];
    let mut relationships = vec![Relationship::new(model::DOCUMENT, "DESCRIBES", model::IMAGE)];
    for (purl, listed) in &listed {
        let id = package_id(listed.package, purl);
        relationships.push(Relationship::new(model::IMAGE, "CONTAINS", &id));
        for source in &listed.sources {
            let mut relationship = Relationship::new(&id, "OTHER", &file_id(source));
            relationship.comment = Some("evident-by: the package is listed in this file".to_owned());
            relationships.push(relationship);
        }
        packages.push(element(id, purl, listed));
    }
    let files = sources.iter().filter_map(|path| {
        let shown = shown.get(path)?;
        Some(file(path, shown, about.layers.get(shown.layer)?.digest))
    });
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: model::DOCUMENT,
        name: name.to_owned(),
        namespace: namespace(about),
        creation_info: CreationInfo {
            created: about.created.to_owned(),
            creators: vec![format!("Tool: shipway-{}", env!("CARGO_PKG_VERSION"))],
        },
        comment: passed_over(about.layers),
        packages,
        files: files.collect(),
        relationships,
    };
    serde_json::to_value(document).unwrap_or_default()
}

/// The same document has the same namespace, and another one another.
fn namespace(about: &Sbom<'_>) -> String {
    let of = format!(
        "{}\n{}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        about.manifest,
        about.name,
        about.created
    );
    format!(
        "https://spdx.org/spdxdocs/shipway-{}",
        Digest::sha256(of.as_bytes()).hex()
    )
}

fn listed<'a>(
    shown: &BTreeMap<&'a str, Shown<'a>>,
    release: Option<&Release>,
) -> BTreeMap<String, Listed<'a>> {
    let mut listed: BTreeMap<String, Listed<'_>> = BTreeMap::new();
    for (path, Shown { file, .. }) in shown {
        let beside = |name: &str| match path.rsplit_once('/') {
            Some((directory, _)) => format!("{directory}/{name}"),
            None => name.to_owned(),
        };
        let better = Format::of(path).and_then(Format::yields_to);
        if better.is_some_and(|name| shown.contains_key(beside(name).as_str())) {
            continue;
        }
        for package in &file.packages {
            let entry = listed.entry(package.purl(release)).or_insert_with(|| Listed {
                package,
                sources: BTreeSet::new(),
            });
            entry.sources.insert(path);
        }
    }
    listed
}

fn image(about: &Sbom<'_>, name: &str) -> Element {
    Element {
        id: model::IMAGE.to_owned(),
        name: name.to_owned(),
        version: about.manifest.to_string(),
        purpose: Some("CONTAINER"),
        checksums: vec![Checksum::new("SHA256", about.manifest.hex())],
        external_refs: about.purl.map(ExternalReference::purl).into_iter().collect(),
        ..Element::default()
    }
}

fn element(id: String, purl: &str, listed: &Listed<'_>) -> Element {
    let declared = listed.package.license.as_deref().map(Declared::new);
    let (license, comments) = match declared {
        Some(Declared::Expression(expression)) => (expression, None),
        Some(Declared::Words(words)) => (NO_ASSERTION.to_owned(), Some(format!("declared as: {words}"))),
        None => (NO_ASSERTION.to_owned(), None),
    };
    Element {
        id,
        name: listed.package.name.clone(),
        version: listed.package.version.clone(),
        supplier: listed
            .package
            .supplier
            .as_deref()
            .map(|text| supplier(listed.package.ecosystem, text)),
        license_declared: license,
        license_comments: comments,
        source_info: Some(source_info(&listed.sources)),
        external_refs: vec![ExternalReference::purl(purl)],
        ..Element::default()
    }
}

fn source_info(sources: &BTreeSet<&str>) -> String {
    let named: Vec<String> = sources
        .iter()
        .take(MOST_SOURCES)
        .map(|path| format!("/{path}"))
        .collect();
    match sources.len().saturating_sub(MOST_SOURCES) {
        0 => format!("listed in {}", named.join(", ")),
        more => format!("listed in {} and {more} more", named.join(", ")),
    }
}

/// SPDX puts the address into brackets of its own. Who maintains a package is a person there, however many they are; a vendor is not.
fn supplier(ecosystem: Ecosystem, text: &str) -> String {
    let kind = if ecosystem == Ecosystem::Rpm {
        "Organization"
    } else {
        "Person"
    };
    match text.split_once('<') {
        Some((name, address)) => format!(
            "{kind}: {} ({})",
            name.trim(),
            address.trim_end().trim_end_matches('>')
        ),
        None => format!("{kind}: {}", text.trim()),
    }
}

fn file(path: &str, shown: &Shown<'_>, layer: &Digest) -> File {
    File {
        id: file_id(path),
        name: format!("/{path}"),
        checksums: vec![
            Checksum::new("SHA1", &shown.file.sha1),
            Checksum::new("SHA256", &shown.file.sha256),
        ],
        license_concluded: NO_ASSERTION,
        copyright_text: NO_ASSERTION,
        comment: format!("layerID: {layer}"),
    }
}

/// What the reader has to know that is not in the document.
fn passed_over(layers: &[ScannedLayer<'_>]) -> Option<String> {
    let mut told = Vec::new();
    for ScannedLayer { digest, scan } in layers {
        told.extend(
            scan.passed_over
                .iter()
                .map(|(path, why)| format!("/{path} of layer {digest}: {why}")),
        );
    }
    (!told.is_empty()).then(|| format!("Not read: {}", told.join("; ")))
}

fn package_id(package: &Package, purl: &str) -> String {
    format!(
        "SPDXRef-Package-{}-{}-{}",
        package.ecosystem.kind(),
        words(&package.name),
        short(purl)
    )
}

fn file_id(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("SPDXRef-File-{}-{}", words(name), short(path))
}

/// An identifier has letters, digits, dots and dashes.
fn words(text: &str) -> String {
    let allowed = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == '.' {
            letter
        } else {
            '-'
        }
    };
    text.chars().take(100).map(allowed).collect()
}

fn short(text: &str) -> String {
    Digest::sha256(text.as_bytes()).hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests;
