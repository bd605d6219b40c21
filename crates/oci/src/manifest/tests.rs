//! What of a manifest is understood, what comes back unchanged, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()), "size": content.len()})
}

fn parse(media_type: Option<&str>, value: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(media_type, value.to_string().as_bytes())
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG, "{}"),
        "layers": [descriptor(media_type::OCI_LAYER_GZIP, "a")],
    })
}

#[test]
fn unknown_fields_come_back() {
    let mut value = image();
    value["layers"][0]["x-mine"] = json!({"deep": [1, null, "two"]});
    value["layers"][0]["platform"] = json!({"os": "linux", "architecture": "amd64", "features": ["sse4"]});
    value["org.example"] = json!(["kept"]);
    let back: Value = serde_json::from_slice(&parse(None, &value).unwrap().to_json().unwrap()).unwrap();
    assert_eq!(back, value);
}

#[test]
fn references_are_distinct_and_of_their_kind() {
    let mut value = image();
    value["layers"] = json!([
        descriptor(media_type::OCI_LAYER_GZIP, "a"),
        descriptor(media_type::OCI_LAYER_GZIP, "a"),
        descriptor(media_type::OCI_LAYER_NONDISTRIBUTABLE_GZIP, "elsewhere"),
    ]);
    value["subject"] = descriptor(media_type::OCI_MANIFEST, "subject");
    value["annotations"] = json!({"k": "v"});
    let references = parse(
        Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        &value,
    )
    .unwrap()
    .references();
    assert_eq!(references.blobs, [Digest::sha256(b"{}"), Digest::sha256(b"a")]);
    assert_eq!(references.optional_blobs, [Digest::sha256(b"elsewhere")]);
    assert_eq!(references.subject, Some(Digest::sha256(b"subject")));
    assert_eq!(references.artifact_type.as_deref(), Some(media_type::OCI_CONFIG));
    assert_eq!(references.annotations["k"], "v");

    let index = json!({"schemaVersion": 2, "manifests": [descriptor(media_type::OCI_MANIFEST, "m")]});
    let references = parse(None, &index).unwrap().references();
    assert_eq!(references.manifests, [Digest::sha256(b"m")]);
    assert_eq!(references.sparse().optional_manifests, [Digest::sha256(b"m")]);
}

#[test]
fn null_lists_are_empty() {
    let mut value = image();
    value["layers"] = Value::Null;
    value["annotations"] = Value::Null;
    assert!(matches!(parse(None, &value), Ok(Manifest::Image(image)) if image.layers.is_empty()));
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": null});
    assert!(matches!(parse(None, &index), Ok(Manifest::Index(_))));
}

#[test]
fn a_document_has_one_meaning() {
    let mut both = image();
    both["manifests"] = json!([]);
    assert!(matches!(parse(None, &both), Err(ManifestError::Ambiguous)));
    assert!(matches!(
        parse(Some(media_type::OCI_INDEX), &image()),
        Err(ManifestError::TypeMismatch { .. })
    ));
    let mut untyped = image();
    untyped.as_object_mut().unwrap().remove("mediaType");
    assert!(matches!(parse(None, &untyped), Ok(Manifest::Image(_))));
    assert!(matches!(
        parse(Some(media_type::DOCKER_MANIFEST), &untyped),
        Ok(Manifest::Image(_))
    ));
    assert!(matches!(
        parse(Some(media_type::DOCKER_MANIFEST_LIST), &untyped),
        Err(ManifestError::Ambiguous)
    ));
}

#[test]
fn refusals() {
    assert!(matches!(
        parse(Some("text/plain"), &image()),
        Err(ManifestError::UnsupportedType { .. })
    ));
    let mut old = image();
    old["schemaVersion"] = json!(1);
    assert!(matches!(
        parse(None, &old),
        Err(ManifestError::SchemaVersion { found: 1 })
    ));
    let mut negative = image();
    negative["layers"][0]["size"] = json!(-1);
    assert!(matches!(parse(None, &negative), Err(ManifestError::Json { .. })));
    let mut bad_digest = image();
    bad_digest["config"]["digest"] = json!("sha256:zz");
    assert!(matches!(
        parse(None, &bad_digest),
        Err(ManifestError::Json { .. })
    ));
    let deep = format!(
        "{{\"schemaVersion\":2,\"x\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(matches!(
        Manifest::parse(None, deep.as_bytes()),
        Err(ManifestError::Json { .. })
    ));
    let large = vec![b' '; MAX_MANIFEST_BYTES + 1];
    assert!(matches!(
        Manifest::parse(None, &large),
        Err(ManifestError::TooLarge { .. })
    ));
    let entry = descriptor(media_type::OCI_MANIFEST, "m");
    let many = json!({"schemaVersion": 2, "manifests": vec![entry; MAX_MANIFEST_ENTRIES + 1]});
    assert!(matches!(
        parse(None, &many),
        Err(ManifestError::TooManyEntries { .. })
    ));
}

#[test]
fn a_manifest_of_almost_four_megabytes_is_read() {
    let mut value = image();
    value["annotations"] = (0..390)
        .map(|i| (format!("k{i}"), json!("x".repeat(10_000))))
        .collect::<Map<_, _>>()
        .into();
    assert!(parse(None, &value).is_ok());
}

#[test]
fn select_takes_the_best_fit() {
    let entry = |platform: Option<&str>, content: &str| Descriptor {
        platform: platform.map(|text| text.parse().unwrap()),
        ..Descriptor::of(media_type::OCI_MANIFEST, content.as_bytes())
    };
    let index = ImageIndex::new(vec![
        entry(None, "any"),
        entry(Some("unknown/unknown"), "attestation"),
        entry(Some("linux/arm/v6"), "six"),
        entry(Some("linux/arm/v7"), "seven"),
    ]);
    let pick = |platform: &str| index.select(&platform.parse().unwrap()).unwrap().digest.clone();
    assert_eq!(pick("linux/arm/v7"), Digest::sha256(b"seven"));
    assert_eq!(pick("linux/arm/v6"), Digest::sha256(b"six"));
    assert_eq!(pick("linux/amd64"), Digest::sha256(b"any"));
}

proptest! {
    #[test]
    fn parsing_is_total(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9]{0,80}") {
        let _ = Manifest::parse(None, &bytes);
        let _ = Manifest::parse(None, text.as_bytes());
    }

    #[test]
    fn a_changed_field_never_panics(field in 0usize..4, text in "\\PC{0,20}", number: i64) {
        let mut value = image();
        let name = ["schemaVersion", "mediaType", "config", "layers"][field];
        value[name] = json!(text);
        let _ = parse(None, &value);
        value[name] = json!(number);
        let _ = parse(None, &value);
    }

    #[test]
    fn layers_round_trip(sizes in prop::collection::vec(any::<u64>(), 0..20)) {
        let layers = sizes.iter().map(|size| Descriptor::new(media_type::OCI_LAYER_ZSTD, Digest::sha256(&size.to_le_bytes()), *size));
        let manifest = Manifest::Image(ImageManifest::new(Descriptor::of(media_type::OCI_CONFIG, b"{}"), layers.collect()));
        prop_assert_eq!(Manifest::parse(Some(manifest.media_type()), &manifest.to_json().unwrap()).unwrap(), manifest);
    }
}

/// What is read can be written, reads as the same again, and refers to no more than a manifest may.
#[test]
fn foreign_manifests() {
    let index = ImageIndex::new(vec![Descriptor {
        platform: Some("linux/arm64/v8".parse().unwrap()),
        ..Descriptor::of(media_type::OCI_MANIFEST, b"m")
    }]);
    let seeds = [
        serde_json::to_vec(&image()).unwrap(),
        Manifest::Index(index).to_json().unwrap(),
        br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[],"annotations":{"a":"b"},"subject":null,"artifactType":"x"}"#.to_vec(),
        br#"{"schemaVersion":1,"name":"a","fsLayers":[{"blobSum":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}"#.to_vec(),
    ];
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        let Ok(manifest) = Manifest::parse(None, bytes) else {
            return;
        };
        let references = manifest.references();
        assert!(references.blobs.len() + references.manifests.len() <= 2 * MAX_MANIFEST_ENTRIES);
        let written = manifest.to_json().unwrap();
        assert_eq!(
            Manifest::parse(Some(manifest.media_type()), &written).unwrap(),
            manifest
        );
    });
}
