//! Addresses of images in directories, and what is found there.

use serde_json::json;
use shipway_oci::with_causes;

use super::*;

fn address(text: &str) -> OciLayoutAddress {
    OciLayoutAddress::parse(text).expect("an address")
}

#[test]
fn a_tag_and_a_digest_stand_behind_the_directory() {
    let digest = Digest::sha256(b"x");
    for (text, directory, tag, has_digest) in [
        ("oci-layout://base", "base", None, false),
        ("oci-layout:///a/b.c:1.2", "/a/b.c", Some("1.2"), false),
        ("oci-layout://a:b/c", "a:b/c", None, false),
        ("oci-layout://user@host/c", "user@host/c", None, false),
        (&format!("oci-layout://base@{digest}"), "base", None, true),
        (
            &format!("oci-layout://base:v1@{digest}"),
            "base",
            Some("v1"),
            true,
        ),
    ] {
        let found = address(text);
        assert_eq!(found.directory, Path::new(directory), "{text}");
        assert_eq!(found.tag.as_ref().map(Tag::as_str), tag, "{text}");
        assert_eq!(found.digest.is_some(), has_digest, "{text}");
        assert_eq!(found.to_string(), text);
    }
    assert_eq!(OciLayoutAddress::parse("docker-image://base"), None);
    assert_eq!(OciLayoutAddress::parse("base"), None);
}

/// A layout that grows.
struct Written(tempfile::TempDir, Vec<serde_json::Value>);

impl Written {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"), Vec::new())
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::sha256(bytes);
        let blobs = self.0.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("directories");
        std::fs::write(blobs.join(digest.hex()), bytes).expect("a file");
        json!({"mediaType": "application/octet-stream", "digest": digest.to_string(), "size": bytes.len()})
    }

    /// An image whose configuration has this architecture and whose layer these bytes.
    fn image(&self, architecture: &str, layer: &[u8]) -> serde_json::Value {
        let diff_ids = [Digest::sha256(layer).to_string()];
        let config = json!({"architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(config.to_string().as_bytes()), "layers": [self.blob(layer)]});
        let mut entry = self.blob(manifest.to_string().as_bytes());
        entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        entry
    }

    fn name(&mut self, mut entry: serde_json::Value, annotation: &str, name: &str) {
        entry["annotations"] = json!({ annotation: name });
        self.1.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": self.1});
        std::fs::write(self.0.path().join("index.json"), index.to_string()).expect("a file");
    }

    fn found(&self, selector: &str) -> Result<LayoutImage, String> {
        let address = address(&format!("oci-layout://{}{selector}", self.0.path().display()));
        let platform = Platform::new("linux", "amd64");
        LayoutImage::find(&address, &platform).map_err(|error| with_causes(&error))
    }
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[test]
fn an_image_is_found_by_its_name_its_digest_or_as_the_only_one() {
    let mut layout = Written::new();
    assert!(layout.found("").is_err(), "nothing is there");
    let first = layout.image("amd64", b"first");
    layout.name(first.clone(), REF_NAME, "v1");
    let only = layout.found("").expect("the only one");
    assert_eq!(first["digest"], only.manifest.to_string());
    let said = layout.found(":v2").err().expect("a refusal");
    assert!(said.contains("no image `v2`; it has v1"), "{said}");

    let second = layout.image("arm64", b"second");
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [second, layout.image("amd64", b"third")]});
    let index = layout.blob(index.to_string().as_bytes());
    layout.name(index.clone(), "io.containerd.image.name", "example.com/app");
    layout.name(index, REF_NAME, "latest");
    let of_the_index = layout.found("").expect("`latest`");
    assert_eq!(of_the_index.layers[0].digest, Digest::sha256(b"third"));
    let arm = second["digest"].as_str().expect("a digest");
    let by_digest = layout.found(&format!("@{arm}")).expect("an image");
    assert_eq!(by_digest.config.platform().architecture, "arm64");

    let store = tempfile::tempdir().expect("a directory");
    let store = Store::open(&store.path().join("store")).expect("a store");
    of_the_index.bring(&store).expect("its layers");
    assert_eq!(
        store.read_blob(&Digest::sha256(b"third"), 10).expect("a blob"),
        b"third"
    );
}

#[test]
fn what_is_not_what_it_is_called_is_refused() {
    let mut layout = Written::new();
    let image = layout.image("amd64", b"layer");
    layout.name(image.clone(), REF_NAME, "latest");
    let blobs = layout.0.path().join("blobs/sha256");
    std::fs::write(blobs.join(Digest::sha256(b"layer").hex()), "other").expect("a file");
    let store = tempfile::tempdir().expect("a directory");
    let store = Store::open(&store.path().join("store")).expect("a store");
    let found = layout.found("").expect("an image");
    assert!(found.bring(&store).is_err(), "the layer is another");

    let manifest: Digest = image["digest"]
        .as_str()
        .expect("a digest")
        .parse()
        .expect("a digest");
    std::fs::write(blobs.join(manifest.hex()), "{}").expect("a file");
    assert!(layout.found("").is_err(), "the manifest is another");
    std::fs::write(blobs.join(manifest.hex()), vec![b' '; MAX_MANIFEST_BYTES + 1]).expect("a file");
    assert!(layout.found("").is_err(), "the manifest is too long");

    let mut other = Written::new();
    let artifact = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": other.blob(b"no configuration"), "layers": []});
    let artifact = other.blob(artifact.to_string().as_bytes());
    other.name(artifact, REF_NAME, "latest");
    let said = other.found("").err().expect("a refusal");
    assert!(said.contains("is no image"), "{said}");
}
