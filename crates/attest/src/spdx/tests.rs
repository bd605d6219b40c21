//! Whole documents: packages of several layers, their relationships, the same bytes for the same image.

use super::*;
use crate::LayerScanner;
use shipway_testkit::Tar;

fn scan(tar: Tar) -> LayerScan {
    let mut scanner = LayerScanner::default();
    scanner.push(&tar.bytes());
    scanner.finish()
}

fn document(layers: &[(Digest, LayerScan)]) -> serde_json::Value {
    let layers: Vec<ScannedLayer<'_>> = layers
        .iter()
        .map(|(digest, scan)| ScannedLayer { digest, scan })
        .collect();
    sbom(&Sbom {
        name: "app:1",
        purl: Some("pkg:docker/app@1?platform=linux%2Famd64"),
        manifest: &Digest::sha256(b"manifest"),
        created: "1980-01-01T00:00:00Z",
        layers: &layers,
    })
}

fn layers() -> Vec<(Digest, LayerScan)> {
    let base = Tar::new()
        .file("usr/lib/os-release", "ID=debian\nVERSION_ID=12\n")
        .file(
            "var/lib/dpkg/status",
            "Package: bash\nStatus: install ok installed\nVersion: 5\nMaintainer: A B <a@b>\n\nPackage: old\nVersion: 1\n",
        );
    let upper = Tar::new()
        .file(
            "var/lib/dpkg/status",
            "Package: bash\nStatus: install ok installed\nVersion: 5\nMaintainer: A B <a@b>\n",
        )
        .file(
            "app/node_modules/a/package.json",
            r#"{"name":"a","version":"1.0.0","license":"MIT"}"#,
        )
        .file(
            "app/node_modules/b/node_modules/a/package.json",
            r#"{"name":"a","version":"1.0.0","license":"MIT"}"#,
        )
        .file("app/go.mod", "require x.y/z v1.0.0\n")
        .file("app/go.sum", "x.y/z v0.9.0 h1:a=\nx.y/z v1.0.0 h1:a=\n")
        .file("other/go.sum", "x.y/w v0.1.0 h1:a=\n")
        .file("app/Cargo.lock", "not [ toml");
    vec![
        (Digest::sha256(b"base"), scan(base)),
        (Digest::sha256(b"upper"), scan(upper)),
    ]
}

fn purls(document: &serde_json::Value) -> Vec<&str> {
    let packages = document["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
        .collect()
}

#[test]
fn packages_of_all_layers_are_listed_once_with_where_they_are_from() {
    let layers = layers();
    let document = document(&layers);
    assert_eq!(
        purls(&document),
        [
            "pkg:docker/app@1?platform=linux%2Famd64",
            "pkg:deb/debian/bash@5?distro=debian-12",
            "pkg:golang/x.y/w@v0.1.0",
            "pkg:golang/x.y/z@v1.0.0",
            "pkg:npm/a@1.0.0",
        ]
    );
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["creationInfo"]["created"], "1980-01-01T00:00:00Z");
    let bash = &document["packages"][1];
    assert_eq!(bash["supplier"], "Person: A B (a@b)");
    assert_eq!(bash["sourceInfo"], "listed in /var/lib/dpkg/status");
    assert_eq!(document["packages"][4]["licenseDeclared"], "MIT");
    let status = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["fileName"] == "/var/lib/dpkg/status")
        .unwrap();
    assert_eq!(status["comment"], format!("layerID: {}", layers[1].0));
    assert_eq!(status["checksums"][0]["algorithm"], "SHA1");
    assert!(
        document["comment"]
            .as_str()
            .unwrap()
            .contains("/app/Cargo.lock of layer")
    );
}

#[test]
fn every_relationship_leads_somewhere_and_no_identifier_is_there_twice() {
    let document = document(&layers());
    let mut ids = BTreeSet::from([document["SPDXID"].as_str().unwrap()]);
    for element in ["packages", "files"]
        .iter()
        .flat_map(|kind| document[kind].as_array().unwrap())
    {
        assert!(ids.insert(element["SPDXID"].as_str().unwrap()));
    }
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(
                ids.contains(relationship[end].as_str().unwrap()),
                "{relationship}"
            );
        }
    }
}

#[test]
fn the_same_image_has_the_same_document() {
    let first = document(&layers());
    assert_eq!(first, document(&layers()));
    let other = document(&layers()[..1]);
    assert_ne!(first["packages"], other["packages"]);
}
