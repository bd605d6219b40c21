//! An image's file system as a table, read from what an independent client pulled, so that two images can be compared file
//! by file without trusting our own unpacking.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What one path of an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: tar::EntryType,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) link: Option<String>,
    pub(crate) content: Vec<u8>,
}

/// All paths of an image, without leading or trailing slashes.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Lays a layer over a tree, as the image specification's section on applying changesets says.
pub(crate) fn apply_layer(tree: &mut Tree, layer: impl Read) -> Result<()> {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry
            .path()?
            .to_string_lossy()
            .trim_start_matches("./")
            .trim_matches('/')
            .to_owned();
        if path.is_empty() || path == "." {
            continue;
        }
        let (parent, name) = path
            .rsplit_once('/')
            .map_or(("", path.as_str()), |(parent, name)| (parent, name));
        let within = |directory: &str| {
            if directory.is_empty() {
                String::new()
            } else {
                format!("{directory}/")
            }
        };
        if name == ".wh..wh..opq" {
            let prefix = within(parent);
            tree.retain(|existing, _| !existing.starts_with(&prefix));
            continue;
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let gone = format!("{}{hidden}", within(parent));
            tree.retain(|existing, _| *existing != gone && !existing.starts_with(&format!("{gone}/")));
            continue;
        }
        let header = entry.header();
        let mut node = Node {
            kind: header.entry_type(),
            mode: header.mode()? & 0o7777,
            owner: (header.uid()?, header.gid()?),
            link: entry.link_name()?.map(|link| link.to_string_lossy().into_owned()),
            content: Vec::new(),
        };
        entry.read_to_end(&mut node.content)?;
        if !node.kind.is_dir() {
            tree.retain(|existing, _| !existing.starts_with(&format!("{path}/")));
        }
        if node.kind.is_hard_link() {
            let target = node.link.take().context("a hard link names its target")?;
            let target = target.trim_start_matches("./").trim_matches('/').to_owned();
            node = tree
                .get(&target)
                .with_context(|| format!("hard link to missing `{target}`"))?
                .clone();
        }
        tree.insert(path, node);
    }
    Ok(())
}

/// Reads the image that `skopeo copy … dir:DIRECTORY` left, with its configuration.
pub(crate) fn read_skopeo_directory(directory: &Path) -> Result<(Tree, serde_json::Value)> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.join("manifest.json"))?)?;
    let blob = |descriptor: &serde_json::Value| -> Result<Vec<u8>> {
        let digest = descriptor["digest"].as_str().context("a digest")?;
        let hex = digest.strip_prefix("sha256:").context("a sha256 digest")?;
        Ok(std::fs::read(directory.join(hex))?)
    };
    let mut tree = Tree::new();
    for layer in manifest["layers"].as_array().context("layers")? {
        let bytes = blob(layer)?;
        // By its bytes: skopeo takes the compression off layers of a docker archive and leaves the type.
        match bytes.as_slice() {
            [0x1f, 0x8b, ..] => apply_layer(&mut tree, flate2::read::MultiGzDecoder::new(bytes.as_slice()))?,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                apply_layer(&mut tree, zstd::stream::read::Decoder::new(bytes.as_slice())?)?;
            }
            plain => apply_layer(&mut tree, plain)?,
        }
    }
    Ok((tree, serde_json::from_slice(&blob(&manifest["config"])?)?))
}

/// What differs between two trees, one line for each path.
pub(crate) fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, node) in expected {
        match found.get(path) {
            None => lines.push(format!("- {path}")),
            Some(other) if other != node => {
                lines.push(format!("! {path}: {} instead of {}", words(other), words(node)));
            }
            Some(_) => {}
        }
    }
    lines.extend(
        found
            .keys()
            .filter(|path| !expected.contains_key(*path))
            .map(|path| format!("+ {path}")),
    );
    lines
}

fn words(node: &Node) -> String {
    format!(
        "{:?} {:o} {:?} {:?} {} bytes",
        node.kind,
        node.mode,
        node.owner,
        node.link,
        node.content.len()
    )
}

#[test]
fn whiteouts_and_replacements_are_applied() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, content).unwrap();
    };
    add("a/.wh.gone", b"");
    add("b/.wh..wh..opq", b"");
    add("b/new", b"new");
    let layer = builder.into_inner().unwrap();

    let old = Node {
        kind: tar::EntryType::Regular,
        mode: 0o644,
        owner: (0, 0),
        link: None,
        content: b"old".to_vec(),
    };
    let mut tree: Tree = ["a/gone", "a/kept", "b/old", "bc"]
        .into_iter()
        .map(|path| (path.to_owned(), old.clone()))
        .collect();
    apply_layer(&mut tree, layer.as_slice()).unwrap();
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["a/kept", "b/new", "bc"]);
}
