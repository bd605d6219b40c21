//! What most tests need: a store in a directory of its own, and names.

use std::io::Read;
use std::time::Duration;

use shipway_oci::{Descriptor, Digest, ImageManifest, Manifest, RepositoryName, Tag, media_type};
use shipway_store::{CollectOptions, CollectReport, ManifestSelector, ManifestWrite, Store};

pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    Place { store, directory }
}

pub(crate) fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub(crate) fn by_tag(name: &str) -> ManifestSelector {
    ManifestSelector::Tag(tag(name))
}

pub(crate) fn content(store: &Store, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.open_blob(digest).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A blob that the repository may read.
pub(crate) fn pushed(store: &Store, name: &RepositoryName, bytes: &[u8]) -> Digest {
    let digest = store.put_blob(bytes).unwrap().digest;
    store.link_blob(name, &digest).unwrap().unwrap();
    digest
}

/// A manifest of one configuration and some layers.
pub(crate) fn image_of(config: &[u8], layers: &[&[u8]]) -> ManifestWrite {
    let layers = layers
        .iter()
        .map(|layer| Descriptor::of(media_type::OCI_LAYER_TAR, layer))
        .collect();
    write(&Manifest::Image(ImageManifest::new(
        Descriptor::of(media_type::OCI_CONFIG, config),
        layers,
    )))
}

pub(crate) fn write(manifest: &Manifest) -> ManifestWrite {
    ManifestWrite::new(None, manifest.to_json().unwrap()).unwrap()
}

/// Takes away all that nothing needs, however new.
pub(crate) fn collect_now(store: &Store) -> CollectReport {
    // Rows are stamped in milliseconds: what was touched in this one is not older than the cutoff.
    let before = std::time::Instant::now();
    while before.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    store
        .collect(&CollectOptions {
            grace: Duration::ZERO,
            dry_run: false,
        })
        .unwrap()
}
