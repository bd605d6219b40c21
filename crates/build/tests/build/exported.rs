//! Caches that go from one installation to another.

use std::path::Path;
use std::sync::Arc;

use shipway_build::{Built, CacheImport};
use shipway_oci::{Descriptor, Digest, ImageIndex, ImageManifest, media_type};

use crate::house::{House, Witness, context, request};

shipway_testkit::tests!(
    everything_is_known_elsewhere,
    a_result_alone_is_enough_until_files_are_needed,
    an_image_carries_its_cache,
    a_layer_that_is_not_what_is_claimed_costs_a_cold_build,
    an_import_never_becomes_a_record_of_the_scope,
    what_is_no_cache_is_a_warning,
);

const DOCKERFILE: &str = "FROM busybox AS one\n\
    RUN echo one > /one; echo more > /more\n\
    RUN true\n\
    FROM busybox\n\
    WORKDIR /work\n\
    COPY . .\n\
    COPY --from=one /one /one\n\
    RUN cat a.txt /one > /both\n";
/// Its steps that have a key.
const STEPS: usize = 6;

async fn export(house: &House, built: &Built, to: &Path, mode: &str) {
    let export = format!("type=local,dest={},mode={mode}", to.display());
    let export = export.parse().unwrap();
    house
        .builder
        .export_cache(&export, &built.steps, None, &())
        .await
        .unwrap();
}

fn import(from: &Path) -> Vec<CacheImport> {
    vec![format!("type=local,src={}", from.display()).parse().unwrap()]
}

fn warnings(witness: &Witness) -> Vec<String> {
    let log = witness.log().into_iter();
    log.filter(|line| line.starts_with("warning")).collect()
}

async fn everything_is_known_elsewhere() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let (first, _) = house.built(request(files.clone(), DOCKERFILE)).await;
    let cache = tempfile::tempdir().unwrap();
    export(&house, &first, cache.path(), "max").await;
    // Nothing runs in a place where nothing can.
    let other = House::new().await.without_keepers().await;
    let mut again = request(files.clone(), DOCKERFILE);
    again.cache_from = import(cache.path());
    let (second, witness) = other.built(again).await;
    assert_eq!((&first.id, &first.manifest), (&second.id, &second.manifest));
    assert_eq!(first.steps, second.steps);
    assert_eq!(witness.cached(), STEPS, "{:?}", witness.log());
    // What was only known by the import goes out as well.
    let further = tempfile::tempdir().unwrap();
    export(&other, &second, further.path(), "max").await;
    let third = House::new().await;
    let mut changed = request(files, &DOCKERFILE.replace("cat a.txt", "cat /one a.txt"));
    changed.cache_from = import(further.path());
    let (built, witness) = third.built(changed).await;
    assert_eq!(witness.cached(), STEPS - 1, "{:?}", witness.log());
    let both = third.file(&third.image(&built), "both").unwrap();
    assert_eq!(both, b"one\naone\n");
}

async fn a_result_alone_is_enough_until_files_are_needed() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let (first, _) = house.built(request(files.clone(), DOCKERFILE)).await;
    let cache = tempfile::tempdir().unwrap();
    export(&house, &first, cache.path(), "min").await;
    let other = House::new().await.without_keepers().await;
    let mut again = request(files.clone(), DOCKERFILE);
    again.cache_from = import(cache.path());
    let (second, witness) = other.built(again.clone()).await;
    assert_eq!(first.id, second.id);
    assert_eq!(witness.cached(), STEPS, "{:?}", witness.log());
    // The files of the first stage are nowhere, and here they are needed: it is built.
    let third = House::new().await;
    let text = DOCKERFILE
        .replace("/one /one", "/one /1")
        .replace("a.txt /one", "a.txt /1");
    let mut changed = request(files, &text);
    changed.cache_from = import(cache.path());
    let (built, witness) = third.built(changed).await;
    let said = warnings(&witness);
    assert!(said.iter().any(|line| line.contains("mode=max")), "{said:?}");
    assert_eq!(third.file(&third.image(&built), "1").unwrap(), b"one\n");
}

async fn an_image_carries_its_cache() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let mut inline = request(files.clone(), DOCKERFILE);
    inline.inline_cache = true;
    let (first, _) = house.built(inline.clone()).await;
    let (plain, _) = house.built(request(files.clone(), DOCKERFILE)).await;
    assert_ne!(first.id, plain.id, "the cache is in the configuration");
    let mut as_argument = request(files.clone(), DOCKERFILE);
    let argument = ("BUILDKIT_INLINE_CACHE".to_owned(), Some("1".to_owned()));
    as_argument.build_args.extend([argument]);
    let (again, witness) = house.built(as_argument).await;
    assert_eq!(
        first.id, again.id,
        "and the same each time, however it is asked for"
    );
    assert!(warnings(&witness).is_empty(), "{:?}", witness.log());
    let layout = tempfile::tempdir().unwrap();
    let stored = house.store.image_manifest(&first.manifest).unwrap().unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&stored.bytes).unwrap();
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
    let blobs = blobs.map(|blob| house.store.read_blob(&blob.digest, 1 << 30).unwrap());
    lay_out(layout.path(), &stored.bytes, blobs.collect());
    let other = House::new().await.without_keepers().await;
    inline.cache_from = import(layout.path());
    let (second, witness) = other.built(inline).await;
    assert_eq!(first.id, second.id);
    assert_eq!(witness.cached(), STEPS, "{:?}", witness.log());
}

async fn a_layer_that_is_not_what_is_claimed_costs_a_cold_build() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let (first, _) = house.built(request(files.clone(), DOCKERFILE)).await;
    let cache = tempfile::tempdir().unwrap();
    export(&house, &first, cache.path(), "max").await;
    // Another blob stands for each layer: a sound one, whose name is its own.
    let (mut manifest, config) = read(cache.path());
    let mut document = String::from_utf8(config).unwrap();
    let false_layer = house.store.put_blob(&gzip(b"no tar")).unwrap();
    let blob = house.store.read_blob(&false_layer.digest, 1 << 20).unwrap();
    for layer in &mut manifest.layers {
        document = document.replace(layer.digest.as_str(), false_layer.digest.as_str());
        (layer.digest, layer.size) = (false_layer.digest.clone(), false_layer.size);
    }
    manifest.config = Descriptor::of(&manifest.config.media_type, document.as_bytes());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let hostile = tempfile::tempdir().unwrap();
    lay_out(hostile.path(), &bytes, vec![document.into_bytes(), blob]);
    let other = House::new().await;
    let mut needing = request(files, &DOCKERFILE.replace("cat a.txt", "cat /one a.txt"));
    needing.cache_from = import(hostile.path());
    let (built, witness) = other.built(needing).await;
    let said = warnings(&witness);
    assert!(said.iter().any(|line| line.contains("promises")), "{said:?}");
    let both = other.file(&other.image(&built), "both").unwrap();
    assert_eq!(both, b"one\naone\n");
}

async fn an_import_never_becomes_a_record_of_the_scope() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let (first, _) = house.built(request(files.clone(), DOCKERFILE)).await;
    let cache = tempfile::tempdir().unwrap();
    export(&house, &first, cache.path(), "max").await;
    let other = House::new().await;
    let mut again = request(files.clone(), DOCKERFILE);
    again.cache_from = import(cache.path());
    let (_, witness) = other.built(again.clone()).await;
    assert_eq!(witness.cached(), STEPS);
    let (_, witness) = other.built(request(files, DOCKERFILE)).await;
    assert_eq!(witness.cached(), 0, "{:?}", witness.log());
    again.no_cache = true;
    let (_, witness) = other.built(again).await;
    assert_eq!(witness.cached(), 0, "{:?}", witness.log());
}

async fn what_is_no_cache_is_a_warning() {
    let house = Arc::new(House::new().await);
    let (_folder, files) = context(&[("a.txt", "a")]);
    let empty = tempfile::tempdir().unwrap();
    let foreign = tempfile::tempdir().unwrap();
    let config = b"{}".to_vec();
    let of_buildkit = Descriptor::of("application/vnd.buildkit.cacheconfig.v0", &config);
    let manifest = serde_json::to_vec(&ImageManifest::new(of_buildkit, Vec::new())).unwrap();
    lay_out(foreign.path(), &manifest, vec![config]);
    let broken = tempfile::tempdir().unwrap();
    std::fs::write(broken.path().join("index.json"), "{\"schemaVersion\":2,").unwrap();
    for (place, expected) in [
        (empty.path(), "none yet"),
        (foreign.path(), "BuildKit's cache"),
        (broken.path(), "cannot be read"),
    ] {
        let mut asking = request(files.clone(), "FROM busybox\nRUN true\n");
        asking.cache_from = import(place);
        let (_, witness) = house.built(asking).await;
        let said = warnings(&witness);
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    }
}

/// The only manifest of a layout, and its configuration.
fn read(layout: &Path) -> (ImageManifest, Vec<u8>) {
    let at = |digest: &Digest| layout.join("blobs/sha256").join(digest.hex());
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: ImageIndex = serde_json::from_slice(&index).unwrap();
    let manifest = std::fs::read(at(&index.manifests[0].digest)).unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&manifest).unwrap();
    let config = std::fs::read(at(&manifest.config.digest)).unwrap();
    (manifest, config)
}

/// A layout with one manifest in it, named `latest`.
fn lay_out(layout: &Path, manifest: &[u8], blobs: Vec<Vec<u8>>) {
    let folder = layout.join("blobs/sha256");
    std::fs::create_dir_all(&folder).unwrap();
    for blob in blobs.iter().map(Vec::as_slice).chain([manifest]) {
        std::fs::write(folder.join(Digest::sha256(blob).hex()), blob).unwrap();
    }
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, manifest);
    let name = "org.opencontainers.image.ref.name".to_owned();
    entry.annotations.insert(name, "latest".to_owned());
    let index = serde_json::to_vec(&ImageIndex::new(vec![entry])).unwrap();
    std::fs::write(layout.join("index.json"), index).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
