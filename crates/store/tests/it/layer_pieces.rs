//! Pieces of layers are found through the records of their own scope, and go with the blob.

use shipway_oci::Digest;
use shipway_store::{Scope, Store};

use crate::support::{collect_now, place};

fn layer(store: &Store, scope: &Scope, name: u8) -> Digest {
    let digest = store.put_blob(&[name; 100]).unwrap().digest;
    store
        .put_cache_record(scope, &[name; 32], b"record", std::slice::from_ref(&digest))
        .unwrap();
    digest
}

#[test]
fn they_are_those_of_the_scope_s_records() {
    let place = place();
    let store = &place.store;
    let other: Scope = "project/a".parse().unwrap();
    let [first, second] = [1, 2].map(|name| layer(store, &Scope::user(), name));
    let foreign = layer(store, &other, 3);
    let unrecorded = store.put_blob(b"of no record").unwrap().digest;
    for (blob, pieces) in [
        (&first, "one"),
        (&second, "two"),
        (&foreign, "three"),
        (&unrecorded, "four"),
    ] {
        store.keep_layer_pieces(blob, pieces.as_bytes()).unwrap();
    }
    let found = |scope: &Scope, most| store.layer_pieces(scope, most).unwrap();
    let two = (second, b"two".to_vec());
    assert_eq!(
        found(&Scope::user(), 100),
        [two.clone(), (first.clone(), b"one".to_vec())]
    );
    assert_eq!(found(&Scope::user(), 5), [two]);
    assert_eq!(found(&other, 100), [(foreign, b"three".to_vec())]);
    assert_eq!(found(&"project/b".parse().unwrap(), 100), []);
    store.keep_layer_pieces(&first, b"other").unwrap();
    assert_eq!(found(&Scope::user(), 100)[1], (first, b"other".to_vec()));
    store
        .keep_layer_pieces(&Digest::sha256(b"nowhere"), b"five")
        .unwrap();
}

#[test]
fn they_go_with_the_blob() {
    let place = place();
    let store = &place.store;
    let blob = layer(store, &Scope::user(), 1);
    store.keep_layer_pieces(&blob, b"pieces").unwrap();
    store.shrink_cache(0, false).unwrap();
    assert_eq!(store.layer_pieces(&Scope::user(), 100).unwrap(), []);
    assert_eq!(collect_now(store).blobs, 1);
    // The same bytes again, under a record again.
    layer(store, &Scope::user(), 1);
    assert_eq!(store.layer_pieces(&Scope::user(), 100).unwrap(), []);
    let db = rusqlite::Connection::open(store.directory().join("store.sqlite")).unwrap();
    let rows: i64 = db
        .query_row("SELECT count(*) FROM layer_pieces", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}
