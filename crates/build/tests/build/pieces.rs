//! Pieces of a layer are copied from the scope's earlier layers, and the layer is the one of a build that knows none.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use shipway_build::{BuildRequest, Built, Context};
use shipway_oci::Digest;
use shipway_store::Scope;

use crate::house::{House, request};

shipway_testkit::tests!(
    a_changed_file_costs_its_own_pieces,
    nothing_comes_from_a_damaged_layer,
    nothing_comes_from_a_layer_that_is_gone,
    each_scope_has_its_own,
);

const STRAIGHT: &str = "FROM scratch\nCOPY . /files/\n";
const THROUGH_A_TREE: &str = "FROM busybox\nCOPY . /files/\nRUN true\n";

/// Bytes that no compressor makes smaller, the same each time.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut noise = blake3::Hasher::new_derive_key(name).finalize_xof();
    noise.fill(&mut bytes);
    bytes
}

/// Some files of a megabyte and more, and small ones between them.
fn files() -> (tempfile::TempDir, Context) {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..8 {
        let write = |name: &str, bytes: Vec<u8>| {
            std::fs::write(folder.path().join(format!("{number}-{name}")), bytes).unwrap();
        };
        write("large", noise(&number.to_string(), 1_300_000 + number * 1000));
        write("small", b"as it was".to_vec());
    }
    let context = Context::directory(folder.path());
    (folder, context)
}

/// Makes a small file in the midst longer.
fn change(folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join("4-small"), noise("more", 3000)).unwrap();
}

fn layer(house: &House, built: &Built) -> Digest {
    house.image(built).layers.last().unwrap().digest.clone()
}

/// The layer as a build elsewhere makes it.
async fn made_elsewhere(request: BuildRequest) -> Digest {
    let mut house = House::new().await;
    house.builder = house.builder.clone().with_threads(1);
    let (built, _) = house.built(request).await;
    assert_eq!(built.pieces.copied, 0);
    layer(&house, &built)
}

async fn a_changed_file_costs_its_own_pieces() {
    for text in [STRAIGHT, THROUGH_A_TREE] {
        let house = House::new().await;
        let (folder, files) = files();
        let (first, _) = house.built(request(files.clone(), text)).await;
        assert!(first.pieces.all >= 10, "{:?}", first.pieces);
        assert_eq!(first.pieces.copied, 0);
        let (same, _) = house.built(request(files.clone(), text)).await;
        assert_eq!(same.pieces.all, 0, "no layer was made");
        change(&folder);
        let mut without = request(files.clone(), text);
        without.no_cache = true;
        let (without, _) = house.built(without).await;
        assert_eq!(without.pieces.copied, 0);
        std::fs::write(folder.path().join("0-more"), "at the beginning").unwrap();
        let (second, _) = house.built(request(files.clone(), text)).await;
        let pieces = second.pieces;
        assert!(
            pieces.copied < pieces.all && pieces.copied + 6 >= pieces.all,
            "{pieces:?}"
        );
        assert_eq!(layer(&house, &second), made_elsewhere(request(files, text)).await);
    }
}

/// Where a blob's bytes are.
fn blob_of(house: &House, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    house
        .store
        .directory()
        .join(format!("blobs/sha256/{}/{hex}", &hex[..2]))
}

async fn nothing_comes_from_a_damaged_layer() {
    let house = House::new().await;
    let (folder, files) = files();
    let (first, _) = house.built(request(files.clone(), STRAIGHT)).await;
    let damaged = blob_of(&house, &layer(&house, &first));
    let mut blob = std::fs::File::options().write(true).open(damaged).unwrap();
    for megabyte in 0..6 {
        blob.seek(SeekFrom::Start((megabyte << 20) + 5000)).unwrap();
        blob.write_all(b"something else").unwrap();
    }
    change(&folder);
    let (second, _) = house.built(request(files.clone(), STRAIGHT)).await;
    let pieces = second.pieces;
    assert!(pieces.copied > 0 && pieces.copied < pieces.all - 5, "{pieces:?}");
    assert_eq!(
        layer(&house, &second),
        made_elsewhere(request(files, STRAIGHT)).await
    );
}

async fn nothing_comes_from_a_layer_that_is_gone() {
    let house = House::new().await;
    let (folder, files) = files();
    let (first, _) = house.built(request(files.clone(), STRAIGHT)).await;
    // What is known of it stays, as after a loss on the disk.
    std::fs::remove_file(blob_of(&house, &layer(&house, &first))).unwrap();
    change(&folder);
    let (second, _) = house.built(request(files.clone(), STRAIGHT)).await;
    assert_eq!(second.pieces.copied, 0);
    assert_eq!(
        layer(&house, &second),
        made_elsewhere(request(files, STRAIGHT)).await
    );
}

async fn each_scope_has_its_own() {
    let house = House::new().await;
    let (folder, files) = files();
    let of = |scope: &Scope| {
        let mut request = request(files.clone(), STRAIGHT);
        request.cache_scope = scope.clone();
        request
    };
    let [one, other] = ["project/a", "project/b"].map(|scope| scope.parse().unwrap());
    house.built(of(&one)).await;
    change(&folder);
    let (foreign, _) = house.built(of(&other)).await;
    assert_eq!(foreign.pieces.copied, 0);
    let (own, _) = house.built(of(&one)).await;
    assert!(own.pieces.copied > 0);
    assert_eq!(layer(&house, &own), layer(&house, &foreign));
}
