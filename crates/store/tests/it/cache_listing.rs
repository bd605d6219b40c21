//! The build cache as a whole: listed, and made smaller from the end that was used longest ago.

use std::time::Duration;

use shipway_store::{CollectOptions, Scope, Store};

use crate::support::place;

fn put(store: &Store, scope: &Scope, key: u8, blob: &[u8]) {
    let blob = store.put_blob(blob).unwrap();
    store
        .put_cache_record(scope, &[key; 32], &[key], &[blob.digest])
        .unwrap();
}

fn keys(store: &Store) -> Vec<u8> {
    let entries = store.cache_entries().unwrap();
    entries.iter().map(|entry| entry.key[0]).collect()
}

#[test]
fn records_are_listed_with_what_they_keep() {
    let place = place();
    let store = &place.store;
    let other: Scope = "project/a".parse().unwrap();
    put(store, &Scope::user(), 1, b"one");
    put(store, &other, 2, b"two bytes");
    put(store, &other, 3, b"one");
    store.put_cache_record(&other, &[4; 32], b"nothing", &[]).unwrap();
    let entries = store.cache_entries().unwrap();
    assert_eq!(keys(store), [4, 3, 2, 1], "the last used first");
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let bytes: u64 = entry.blobs.iter().map(|(_, bytes)| bytes).sum();
            (entry.scope.as_str(), bytes, entry.is_shared)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("project/a", 0, false),
            ("project/a", 3, true),
            ("project/a", 9, false),
            ("user", 3, true)
        ]
    );
    assert_eq!(
        store.cache_records(&other, 2).unwrap(),
        [b"nothing".to_vec(), vec![3]]
    );
    assert!(store.remove_cache_record(&entries[1]).unwrap());
    assert!(!store.remove_cache_record(&entries[1]).unwrap(), "it is gone");
    assert_eq!(keys(store), [4, 2, 1]);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let place = place();
    let store = &place.store;
    for key in 1..=4 {
        put(store, &Scope::user(), key, &[key; 10]);
    }
    // A second record of the newest blob takes no more room.
    put(store, &Scope::user(), 5, &[4; 10]);
    assert_eq!(store.shrink_cache(40, true).unwrap(), 0);
    assert_eq!(store.shrink_cache(20, true).unwrap(), 2);
    assert_eq!(keys(store).len(), 5, "that was a question");
    assert_eq!(store.shrink_cache(20, false).unwrap(), 2);
    assert_eq!(keys(store), [5, 4, 3]);
    let freed = store
        .collect(&CollectOptions {
            grace: Duration::ZERO,
            dry_run: false,
        })
        .unwrap();
    assert_eq!((freed.blobs, freed.bytes), (2, 20));
    assert_eq!(store.shrink_cache(0, false).unwrap(), 3);
    assert!(keys(store).is_empty());
}
