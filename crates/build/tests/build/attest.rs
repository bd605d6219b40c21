//! What is said beside an image: its packages and how it was made, in BuildKit's layout.

use serde_json::Value;
use shipway_build::{BuildRequest, Built, Context, Detail, ProvenanceRequest, RemoteSource};
use shipway_oci::{Digest, ImageIndex, Manifest, Platform, Reference};

use crate::house::{House, context, request};

shipway_testkit::tests!(
    packages_are_listed_from_what_this_build_wrote_and_from_its_base,
    a_known_layer_is_not_looked_at_again,
    an_image_is_the_same_with_and_without,
    the_provenance_is_what_happened
);

const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n";

const DOCKERFILE: &str = "FROM busybox AS base\n\
    COPY status /var/lib/dpkg/status\n\
    FROM base\n\
    COPY Cargo.lock package-lock.json /app/\n\
    RUN printf 'require (\\n\\tx.y/z v1.0.0\\n)\\n' > /app/go.mod && rm /app/package-lock.json\n";

fn files() -> (tempfile::TempDir, Context) {
    context(&[
        ("status", STATUS),
        (
            "Cargo.lock",
            "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n",
        ),
        (
            "package-lock.json",
            r#"{"packages":{"node_modules/gone":{"version":"1.0.0"}}}"#,
        ),
    ])
}

fn attested(files: Context) -> BuildRequest {
    let mut wanted = request(files, DOCKERFILE);
    wanted.sbom = true;
    wanted.tags = vec![Reference::parse("example.com/app:1").unwrap()];
    wanted
}

fn index(house: &House, built: &Built) -> ImageIndex {
    let stored = house.store.image_manifest(&built.manifest).unwrap().unwrap();
    match Manifest::parse(Some(&stored.media_type), &stored.bytes).unwrap() {
        Manifest::Index(index) => index,
        Manifest::Image(_) => panic!("an index"),
    }
}

/// The statements about an image, by the type of their predicate.
fn statements(house: &House, built: &Built) -> Vec<(String, Vec<u8>)> {
    let index = index(house, built);
    let attached = &index.manifests[1];
    assert_eq!(attached.platform, Some(Platform::new("unknown", "unknown")));
    assert_eq!(
        attached.annotations["vnd.docker.reference.digest"],
        index.manifests[0].digest.to_string()
    );
    let stored = house.store.image_manifest(&attached.digest).unwrap().unwrap();
    let Manifest::Image(manifest) = Manifest::parse(None, &stored.bytes).unwrap() else {
        panic!("a manifest")
    };
    let layers = manifest.layers.iter();
    layers
        .map(|layer| {
            let bytes = std::io::read_to_string(house.store.open_blob(&layer.digest).unwrap()).unwrap();
            (
                layer.annotations["in-toto.io/predicate-type"].clone(),
                bytes.into_bytes(),
            )
        })
        .collect()
}

fn purls(statement: &[u8]) -> Vec<String> {
    let statement: Value = serde_json::from_slice(statement).unwrap();
    let packages = statement["predicate"]["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            package["externalRefs"][0]["referenceLocator"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn expected() -> Vec<String> {
    let platform = Platform::host().to_string().replace('/', "%2F");
    vec![
        format!("pkg:docker/example.com/app@1?platform={platform}"),
        "pkg:cargo/serde@1.0.0".to_owned(),
        "pkg:deb/busybox/bash@5.2?arch=amd64&distro=busybox".to_owned(),
        "pkg:golang/x.y/z@v1.0.0".to_owned(),
    ]
}

async fn packages_are_listed_from_what_this_build_wrote_and_from_its_base() {
    let house = House::new().await;
    let (_folder, files) = files();
    let (built, _) = house.built(attested(files.clone())).await;
    let [(kind, statement)] = &statements(&house, &built)[..] else {
        panic!("one statement")
    };
    assert_eq!(kind, "https://spdx.dev/Document");
    assert_eq!(purls(statement), expected());
    let document: Value = serde_json::from_slice(statement).unwrap();
    let image = house.image(&built);
    assert_eq!(document["subject"][0]["digest"]["sha256"], image.manifest.hex());
    let files_told = document["predicate"]["files"].as_array().unwrap();
    let status = files_told
        .iter()
        .find(|file| file["fileName"] == "/var/lib/dpkg/status")
        .unwrap();
    assert_eq!(status["comment"], format!("layerID: {}", image.layers[1].digest));
    assert_eq!(
        document["predicate"]["creationInfo"]["created"],
        "1980-01-01T00:00:00Z"
    );
    // The same once more, whoever looked at the layers.
    let (again, _) = house.built(attested(files.clone())).await;
    assert_eq!(again.manifest, built.manifest);
    let elsewhere = House::new().await;
    let (there, _) = elsewhere.built(attested(files)).await;
    assert_eq!(there.manifest, built.manifest);
}

async fn a_known_layer_is_not_looked_at_again() {
    let house = House::new().await;
    let (_folder, files) = files();
    // Steps that were cached before anybody asked for packages are looked at when somebody does.
    let mut plain = attested(files.clone());
    plain.sbom = false;
    let (without, _) = house.built(plain).await;
    let image = house.image(&without);
    let (first, witness) = house.built(attested(files.clone())).await;
    assert_eq!(witness.cached(), 3);
    assert_eq!(purls(&statements(&house, &first)[0].1), expected());
    // Damaged where nobody looks any more: the scans of all layers are kept.
    let house = house.without_keepers().await;
    for layer in &image.layers {
        let path = house.directory.path().join("data/store/blobs");
        let blob = walk(&path)
            .into_iter()
            .find(|path| path.to_string_lossy().contains(layer.digest.hex()));
        std::fs::write(blob.unwrap(), b"").unwrap();
    }
    let (second, _) = house.built(attested(files)).await;
    assert_eq!(second.manifest, first.manifest);
}

fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found
}

async fn an_image_is_the_same_with_and_without() {
    let house = House::new().await;
    let (_folder, files) = files();
    let mut plain = attested(files.clone());
    plain.sbom = false;
    let (plain, _) = house.built(plain).await;
    let mut full = attested(files);
    full.provenance = Some(ProvenanceRequest::default());
    let (full, _) = house.built(full).await;
    assert_eq!(full.id, plain.id);
    assert_ne!(full.manifest, plain.manifest);
    assert_eq!(house.image(&full).manifest, plain.manifest);
    assert_eq!(statements(&house, &full).len(), 2);
    // By its name it is the image, and it is listed once.
    let images = house.runtime.images();
    let scope = shipway_store::Scope::user();
    let found = images
        .resolve(&scope, "example.com/app:1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, plain.id);
    let listed = images.list(&scope).await.unwrap();
    let named = listed.iter().filter(|listed| listed.image.id == plain.id);
    assert_eq!(named.filter(|listed| !listed.references.is_empty()).count(), 1);
}

async fn the_provenance_is_what_happened() {
    let house = House::new().await;
    let (_folder, files) = files();
    let mut wanted = attested(files.clone());
    wanted.sbom = false;
    wanted
        .build_args
        .insert("TOKEN".to_owned(), Some("hunter2".to_owned()));
    wanted.provenance = Some(ProvenanceRequest {
        detail: Detail::Max,
        builder_id: "https://ci.example.com/1".to_owned(),
        ..ProvenanceRequest::default()
    });
    house.built(request(files.clone(), DOCKERFILE)).await;
    let (built, _) = house.built(wanted.clone()).await;
    let told = |built: &Built| -> Value {
        let [(kind, statement)] = &statements(&house, built)[..] else {
            panic!("one statement")
        };
        assert_eq!(kind, "https://slsa.dev/provenance/v1");
        serde_json::from_slice::<Value>(statement).unwrap()["predicate"].take()
    };
    let predicate = told(&built);
    let definition = &predicate["buildDefinition"];
    let base = house
        .runtime
        .images()
        .resolve(&shipway_store::Scope::user(), "busybox")
        .await
        .unwrap()
        .unwrap();
    let platform = Platform::host().to_string().replace('/', "%2F");
    assert_eq!(
        definition["resolvedDependencies"],
        serde_json::json!([{
            "uri": format!("pkg:docker/busybox@latest?platform={platform}"),
            "digest": {"sha256": base.manifest.hex()},
        }])
    );
    assert_eq!(
        definition["externalParameters"]["request"]["args"]["build-arg:TOKEN"],
        "hunter2"
    );
    let image = house.image(&built);
    let steps = definition["internalParameters"]["buildConfig"]["steps"]
        .as_array()
        .unwrap();
    let layers: Vec<&Value> = steps.iter().map(|step| &step["layer"]).collect();
    let made: Vec<Value> = image.config.rootfs.diff_ids[1..]
        .iter()
        .map(|id| Value::from(id.to_string()))
        .collect();
    assert_eq!(layers, made.iter().collect::<Vec<_>>());
    assert!(steps.iter().all(|step| step["cached"] == true));
    let metadata = &predicate["runDetails"]["metadata"];
    assert_eq!(metadata["shipway_completeness"]["resolvedDependencies"], false);
    assert!(metadata.get("shipway_hermetic").is_none());
    assert!(metadata["startedOn"].as_str() <= metadata["finishedOn"].as_str());
    // With a context that is known by its commit and no network nothing is missing, and less is told.
    let commit = Digest::sha256(b"commit").hex()[..40].to_owned();
    wanted.provenance = Some(ProvenanceRequest {
        source: Some(RemoteSource {
            uri: "https://example.com/app.git".to_owned(),
            algorithm: "sha1".to_owned(),
            digest: commit.clone(),
        }),
        ..ProvenanceRequest::default()
    });
    let (built, _) = house.built(wanted).await;
    let predicate = told(&built);
    assert!(!predicate.to_string().contains("hunter2"));
    let source = &predicate["buildDefinition"]["externalParameters"]["configSource"];
    assert_eq!(source["digest"]["sha1"], commit);
    assert_eq!(predicate["runDetails"]["metadata"]["shipway_hermetic"], true);
}
