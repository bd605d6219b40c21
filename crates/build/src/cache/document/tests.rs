//! There and back, what contradicts itself, and foreign bytes.

use std::str::FromStr as _;

use super::*;

fn key(number: u8) -> CacheKey {
    CacheKey::from_str(&format!("{number:02x}").repeat(32)).unwrap()
}

fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

fn layer(of: &str, kept: bool) -> Option<DocumentLayer> {
    Some(DocumentLayer {
        diff_id: digest(of),
        digest: kept.then(|| digest(&format!("{of} packed"))),
    })
}

fn blob(of: &str) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_GZIP, digest(&format!("{of} packed")), 7)
}

fn artifact(document: &Document, layers: Vec<Descriptor>) -> (ImageManifest, Vec<u8>) {
    let bytes = serde_json::to_vec(document).unwrap();
    (
        ImageManifest::new(Descriptor::of(CONFIG_TYPE, &bytes), layers),
        bytes,
    )
}

fn sample() -> Document {
    let (one, two, three, four) = (key(1), key(2), key(3), key(4));
    Document::new([
        (&one, layer("a", true)),
        (&two, None),
        (&three, layer("a", true)),
        (&four, layer("b", false)),
    ])
}

#[test]
fn what_is_written_is_read() {
    let (manifest, bytes) = artifact(&sample(), vec![blob("a")]);
    let claims = Document::read(&manifest, &bytes).unwrap().steps;
    let kept = Some(Claim {
        diff_id: digest("a"),
        blob: Some(blob("a")),
    });
    assert_eq!(claims[&key(1)], kept);
    assert_eq!(claims[&key(2)], None);
    assert_eq!(claims[&key(3)], kept);
    let known = claims[&key(4)].as_ref().unwrap();
    assert_eq!((&known.diff_id, &known.blob), (&digest("b"), &None));
    assert_eq!(
        sample().layers.len(),
        2,
        "a layer that two steps gave stands there once"
    );
}

#[test]
fn an_image_carries_the_cache_of_its_own_layers() {
    let one = key(1);
    let document = Document::new([(&one, layer("a", false))]);
    let mut config = ImageConfig::default();
    config.rootfs.diff_ids = vec![digest("base"), digest("a")];
    config
        .other
        .insert(INLINE_KEY.to_owned(), serde_json::to_value(&document).unwrap());
    let bytes = config.to_json().unwrap();
    let of_image = Descriptor::of(media_type::OCI_CONFIG, &bytes);
    let manifest = ImageManifest::new(of_image.clone(), vec![blob("base"), blob("a")]);
    let claims = Document::read(&manifest, &bytes).unwrap().steps;
    assert_eq!(claims[&key(1)].as_ref().unwrap().blob, Some(blob("a")));
    let short = ImageManifest::new(of_image, vec![blob("a")]);
    assert!(matches!(
        Document::read(&short, &bytes),
        Err(DocumentError::Contradiction { .. })
    ));
}

#[test]
fn what_is_not_ours_is_told_apart() {
    let read = |media_type: &str, bytes: &[u8]| {
        let manifest = ImageManifest::new(Descriptor::of(media_type, bytes), Vec::new());
        Document::read(&manifest, bytes).unwrap_err().to_string()
    };
    for (media_type, bytes, said) in [
        (BUILDKIT_CONFIG, &b"{}"[..], "BuildKit's cache"),
        (
            media_type::OCI_CONFIG,
            br#"{"moby.buildkit.cache.v0":"e30="}"#,
            "BuildKit's cache",
        ),
        (media_type::OCI_CONFIG, b"{}", "no cache in it"),
        (
            "application/vnd.cncf.helm.config.v1+json",
            b"{}",
            "no cache in it",
        ),
        (CONFIG_TYPE, br#"{"version":2,"other":1}"#, "version 2"),
        (CONFIG_TYPE, b"{}", "no cache in it"),
        (CONFIG_TYPE, b"[", "cannot be read"),
        (
            CONFIG_TYPE,
            br#"{"version":1,"layers":[],"steps":{"00":null}}"#,
            "a key is none",
        ),
    ] {
        let found = read(media_type, bytes);
        assert!(
            found.contains(said),
            "{}: {found}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let refused = |change: fn(&mut Document), layers: Vec<Descriptor>| {
        let mut document = sample();
        change(&mut document);
        let (manifest, bytes) = artifact(&document, layers);
        Document::read(&manifest, &bytes).unwrap_err().to_string()
    };
    let unlisted = refused(|_| {}, Vec::new());
    assert!(unlisted.contains("its manifest does not"), "{unlisted}");
    let outside = refused(
        |document| document.steps.values_mut().for_each(|layer| *layer = Some(2)),
        vec![blob("a")],
    );
    assert!(outside.contains("not listed"), "{outside}");
    let no_layer = Descriptor::new("text/plain", blob("a").digest, 7);
    let other = refused(|_| {}, vec![no_layer]);
    assert!(other.contains("that is none"), "{other}");
}

#[test]
fn foreign_documents_are_read_or_refused() {
    let mut document = sample();
    document.mounts = vec![(&mount("/c")).into()];
    let mut blobs = vec![blob("a")];
    blobs.extend(parts(&mount("/c")));
    let (manifest, bytes) = artifact(&document, blobs);
    shipway_testkit::Foreign::near([bytes]).check(|bytes| {
        if let Ok(contents) = Document::read(&manifest, bytes) {
            for claim in contents.steps.into_values().flatten() {
                assert!(claim.blob.is_none_or(|found| found == blob("a")));
            }
            for mount in contents.mounts {
                let known =
                    |part: &Descriptor| manifest.layers.iter().any(|layer| layer.digest == part.digest);
                assert!(parts(&mount).iter().all(known));
            }
        }
    });
}

fn mount(of: &str) -> MountClaim {
    let part = |kind: &str, name: &str, size| Descriptor::new(kind, digest(&format!("{of} {name}")), size);
    MountClaim {
        key: MountKey::of(of),
        id: of.to_owned(),
        index: part(INDEX_TYPE, "index", 10),
        packs: vec![part(PACK_TYPE, "pack", 70), part(PACK_TYPE, "other", 80)],
        size: 300,
        day: 20_000,
    }
}

fn parts(mount: &MountClaim) -> Vec<Descriptor> {
    std::iter::once(&mount.index)
        .chain(&mount.packs)
        .cloned()
        .collect()
}

#[test]
fn mounts_are_read_as_they_were_written_whatever_a_registry_made_of_their_types() {
    let mut document = sample();
    document.mounts = vec![(&mount("/c")).into(), (&mount("apt")).into()];
    let mut blobs = vec![blob("a")];
    blobs.extend(parts(&mount("/c")));
    blobs.extend(parts(&mount("apt")));
    for part in &mut blobs[1..4] {
        part.media_type = media_type::OCI_LAYER_ZSTD.to_owned();
    }
    let (manifest, bytes) = artifact(&document, blobs);
    let read = Document::read(&manifest, &bytes).unwrap();
    assert_eq!(read.mounts, [mount("/c"), mount("apt")]);
    assert_eq!(read.steps.len(), 4);
}

#[test]
fn mounts_that_contradict_the_manifest_are_refused() {
    type Change = fn(&mut Document, &mut Vec<Descriptor>);
    let refused = |change: Change| {
        let mut document = Document::new([]);
        document.mounts = vec![(&mount("/c")).into()];
        let mut blobs = parts(&mount("/c"));
        change(&mut document, &mut blobs);
        let (manifest, bytes) = artifact(&document, blobs);
        Document::read(&manifest, &bytes).unwrap_err().to_string()
    };
    let cases: [(Change, &str); 8] = [
        (|_, blobs| drop(blobs.pop()), "its manifest does not"),
        (|_, blobs| drop(blobs.remove(0)), "its manifest does not"),
        (|_, blobs| blobs[0].size = MOST_INDEX_BYTES + 1, "too large"),
        (|_, blobs| blobs[1].size = MOST_PACK_BYTES + 1, "too large"),
        (|document, _| document.mounts[0].size = u64::MAX, "too large"),
        (|document, _| document.mounts[0].key.push('0'), "is none"),
        (
            |document, _| document.mounts.push(document.mounts[0].clone()),
            "twice",
        ),
        (
            |document, _| document.mounts = vec![document.mounts[0].clone(); MOST_MOUNTS + 1],
            "too many",
        ),
    ];
    for (change, said) in cases {
        let found = refused(change);
        assert!(found.contains(said), "{said}: {found}");
    }
}
