use std::time::Duration;

use shipway_oci::{Descriptor, Digest, ImageManifest, Manifest, media_type};
use shipway_store::{BlobInfo, CollectOptions, CollectReport, FsckOptions, ManifestWrite, Scope, Store};

use crate::support::{Place, by_tag, collect_now, content, image_of, place, pushed, repository, tag};

/// A database connection behind the store's back, to make time pass and crashes happen.
fn behind(store: &Store) -> rusqlite::Connection {
    rusqlite::Connection::open(store.directory().join("store.sqlite")).unwrap()
}

fn age_everything(store: &Store) {
    behind(store)
        .execute_batch("UPDATE blobs SET touched = 1; UPDATE linked_blobs SET touched = 1;")
        .unwrap();
}

fn doom(store: &Store, digest: &Digest) {
    let changed = behind(store).execute("UPDATE blobs SET doomed = 1 WHERE digest = ?1", [digest.as_str()]);
    assert_eq!(changed.unwrap(), 1);
}

#[test]
fn what_nothing_needs_goes_and_the_rest_stays() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let name = repository("a");
    for blob in [&b"{}"[..], b"layer"] {
        pushed(&store, &name, blob);
    }
    let mut image = image_of(b"{}", &[b"layer"]);
    image.tags = vec![tag("x")];
    store.put_manifest(&name, &image).unwrap();
    let stray = store.put_blob(b"stray").unwrap();
    let unused = pushed(&store, &name, b"never named");

    let grace = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: false,
    };
    assert_eq!(
        store.collect(&grace).unwrap(),
        CollectReport::default(),
        "all of it is new"
    );
    age_everything(&store);
    let counted = store
        .collect(&CollectOptions {
            dry_run: true,
            ..grace
        })
        .unwrap();
    assert_eq!(
        counted,
        CollectReport {
            blobs: 2,
            bytes: 5 + 11
        }
    );
    assert_eq!(store.usage().unwrap().blobs, 4, "a dry run took something");
    assert_eq!(store.collect(&grace).unwrap(), counted);

    assert_eq!(store.blob(&stray.digest).unwrap(), None);
    assert_eq!(store.repository_blob(&name, &unused).unwrap(), None);
    assert!(store.open_blob(&unused).is_err());
    assert!(store.manifest(&name, &by_tag("x")).unwrap().is_some());
    assert_eq!(content(&store, &Digest::sha256(b"layer")), b"layer");
    assert!(store.fsck(&FsckOptions::default()).unwrap().is_clean());
}

#[test]
fn a_deleted_image_frees_its_blobs_but_not_those_of_others() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let push = |name: &str, layers: &[&[u8]]| {
        let name = repository(name);
        pushed(&store, &name, b"{}");
        layers.iter().for_each(|layer| drop(pushed(&store, &name, layer)));
        let image = image_of(b"{}", layers);
        store.put_manifest(&name, &image).unwrap();
        image.digest
    };
    let first = push("a", &[b"shared", b"own"]);
    push("b", &[b"shared"]);
    store.delete_manifest(&repository("a"), &first).unwrap();
    assert_eq!(collect_now(&store), CollectReport { blobs: 1, bytes: 3 });
    // What is left of it belongs to b, and a may not read it any more.
    let shared = Digest::sha256(b"shared");
    assert_eq!(store.repository_blob(&repository("a"), &shared).unwrap(), None);
    assert!(
        store
            .repository_blob(&repository("b"), &shared)
            .unwrap()
            .is_some()
    );
    assert!(!store.repository_exists(&repository("a")).unwrap());
}

#[test]
fn asking_extends_the_lease() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let hour = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: false,
    };
    let name = repository("a");
    let asked = store.put_blob(b"asked").unwrap().digest;
    let linked = pushed(&store, &name, b"linked");
    let silent = store.put_blob(b"silent").unwrap().digest;
    age_everything(&store);
    assert!(store.blob(&asked).unwrap().is_some());
    assert!(store.repository_blob(&name, &linked).unwrap().is_some());
    assert_eq!(store.collect(&hour).unwrap().blobs, 1);
    assert!(store.blob(&asked).unwrap().is_some());
    assert!(store.repository_blob(&name, &linked).unwrap().is_some());
    assert!(store.blob(&silent).unwrap().is_none());
}

#[test]
fn a_doomed_blob_does_not_exist_for_strangers_and_comes_back_for_its_owner() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let info = store.put_blob(b"doomed").unwrap();
    doom(&store, &info.digest);
    assert_eq!(store.blob_repositories(&info.digest, 10).unwrap(), []);
    let refused = store.put_cache_record(
        &shipway_store::Scope::user(),
        &[0; 32],
        b"",
        std::slice::from_ref(&info.digest),
    );
    assert!(refused.is_err());

    assert_eq!(
        store.blob(&info.digest).unwrap(),
        Some(info.clone()),
        "a check brings it back"
    );
    doom(&store, &info.digest);
    assert_eq!(
        store.put_blob(b"doomed").unwrap(),
        info,
        "an upload brings it back"
    );
    doom(&store, &info.digest);
    assert!(
        store.link_blob(&repository("a"), &info.digest).unwrap().is_some(),
        "a mount brings it back"
    );
    assert_eq!(content(&store, &info.digest), b"doomed");
    let hour = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: false,
    };
    assert_eq!(store.collect(&hour).unwrap().blobs, 0);
}

#[test]
fn a_collection_that_died_between_file_and_row_is_finished_by_the_next() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let BlobInfo { digest, .. } = store.put_blob(b"half gone").unwrap();
    doom(&store, &digest);
    let path = store
        .directory()
        .join("blobs/sha256")
        .join(&digest.hex()[..2])
        .join(digest.hex());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        store.blob(&digest).unwrap(),
        None,
        "a row without bytes came back"
    );
    assert_eq!(store.link_blob(&repository("a"), &digest).unwrap(), None);
    assert!(store.fsck(&FsckOptions::default()).unwrap().is_clean());
    assert_eq!(store.collect(&CollectOptions::default()).unwrap().blobs, 1);
    store.put_blob(b"half gone").unwrap();
    assert_eq!(content(&store, &digest), b"half gone");
}

#[test]
fn more_than_one_batch() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let name = repository("a");
    for number in 0..150u32 {
        let digest = store.put_blob(&number.to_le_bytes()).unwrap().digest;
        if number % 2 == 0 {
            store.link_blob(&name, &digest).unwrap().unwrap();
        }
    }
    assert_eq!(
        collect_now(&store),
        CollectReport {
            blobs: 150,
            bytes: 600
        }
    );
    assert_eq!(store.usage().unwrap(), Default::default());
    assert!(!store.repository_exists(&name).unwrap());
}

#[test]
fn a_reader_that_has_a_blob_open_reads_it_to_its_end() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let digest = store.put_blob(b"being read").unwrap().digest;
    let mut file = store.open_blob(&digest).unwrap();
    assert_eq!(collect_now(&store).blobs, 1);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    assert_eq!(bytes, b"being read");
}

/// Naming a digest in a layer that registries need not hold gives no right to it, and keeps it alive no longer than its owner does.
#[test]
fn a_digest_that_is_only_known_keeps_nothing() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let (mine, hers) = (repository("mine"), repository("hers"));
    let secret = pushed(&store, &hers, b"secret");
    pushed(&store, &mine, b"{}");
    let layer = Descriptor::of(media_type::OCI_LAYER_NONDISTRIBUTABLE_GZIP, b"secret");
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let manifest = Manifest::Image(ImageManifest::new(config, vec![layer]));
    let write = ManifestWrite::new(None, manifest.to_json().unwrap()).unwrap();
    store.put_manifest(&mine, &write).unwrap();
    behind(&store)
        .execute_batch("DELETE FROM linked_blobs WHERE space = (SELECT id FROM spaces WHERE name = 'hers')")
        .unwrap();
    age_everything(&store);
    collect_now(&store);
    assert_eq!(store.blob(&secret).unwrap(), None);

    // In a repository that has it, it is one of the image's.
    let secret = pushed(&store, &hers, b"secret");
    pushed(&store, &hers, b"{}");
    store.put_manifest(&hers, &write).unwrap();
    age_everything(&store);
    collect_now(&store);
    assert!(store.blob(&secret).unwrap().is_some());
}

#[test]
fn what_work_under_way_made_or_asked_for_stays_whatever_the_grace() {
    let Place { store, directory } = place();
    let [old, asked] = [b"old", b"ask"].map(|bytes| store.put_blob(bytes).unwrap().digest);
    age_everything(&store);
    let other = Store::open(&directory.path().join("store")).unwrap();
    let hold = store.hold().unwrap();
    let made = store.put_blob(b"made").unwrap().digest;
    assert!(store.blob(&asked).unwrap().is_some());
    assert_eq!(collect_now(&other).blobs, 1, "what was there before is nobody's");
    assert_eq!(store.blob(&old).unwrap(), None);
    assert_eq!(content(&store, &made), b"made");
    assert_eq!(content(&store, &asked), b"ask");

    drop(hold);
    age_everything(&store);
    assert_eq!(collect_now(&other).blobs, 2);
}

#[test]
fn what_goes_without_the_caches_is_known_beforehand() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let blob = |bytes: &[u8]| store.put_blob(bytes).unwrap();
    for bytes in [&b"{}"[..], b"pulled", b"mine"] {
        blob(bytes);
    }
    let name = "alpine:3".parse().unwrap();
    let pulled = Scope::pulled("group/project:protected").unwrap();
    store
        .put_image(&pulled, &name, &image_of(b"{}", &[b"pulled"]))
        .unwrap();
    store
        .put_image(&Scope::user(), &name, &image_of(b"{}", &[b"mine"]))
        .unwrap();
    let cached = blob(b"cached").digest;
    store
        .put_cache_record(&Scope::user(), &[1; 32], b"record", &[cached])
        .unwrap();
    age_everything(&store);

    let told = store.collectable_without_caches(Duration::ZERO).unwrap();
    assert_eq!(told, CollectReport { blobs: 2, bytes: 12 });
    let asked = (
        store.forget_pulled(true).unwrap(),
        store.prune_cache(Duration::ZERO, true).unwrap(),
    );
    assert_eq!(asked, (1, 1));
    assert_eq!(collect_now(&store).blobs, 0, "it was only asked");
    let done = (
        store.forget_pulled(false).unwrap(),
        store.prune_cache(Duration::ZERO, false).unwrap(),
    );
    assert_eq!(done, asked);
    assert_eq!(collect_now(&store), told);
}
