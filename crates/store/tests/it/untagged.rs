use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shipway_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, media_type};
use shipway_store::{ManifestSelector, ManifestWrite, Store, UntaggedManifest};

use crate::support::{collect_now, place, pushed, repository, tag, write};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An image of its own, or one that says something about another.
fn image(store: &Store, seed: &str, subject: Option<&ManifestWrite>) -> ManifestWrite {
    pushed(store, &repository("a"), seed.as_bytes());
    let config = Descriptor::of(media_type::OCI_CONFIG, seed.as_bytes());
    let mut manifest = ImageManifest::new(config, Vec::new());
    manifest.subject = subject.map(|subject| Descriptor::of(media_type::OCI_MANIFEST, &subject.bytes));
    write(&Manifest::Image(manifest))
}

fn index(of: &[&ManifestWrite]) -> ManifestWrite {
    let manifests = of
        .iter()
        .map(|child| Descriptor::of(media_type::OCI_MANIFEST, &child.bytes));
    write(&Manifest::Index(ImageIndex::new(manifests.collect())))
}

fn put(store: &Store, manifest: &ManifestWrite, tagged: &[&str]) -> Digest {
    let tags = tagged.iter().map(|name| tag(name)).collect();
    let write = ManifestWrite {
        tags,
        ..manifest.clone()
    };
    store.put_manifest(&repository("a"), &write).unwrap();
    write.digest
}

/// A week goes by.
fn age(store: &Store) {
    rusqlite::Connection::open(store.directory().join("store.sqlite"))
        .unwrap()
        .execute("UPDATE held_manifests SET held = held - 604800000", [])
        .unwrap();
}

fn expire(store: &Store) -> Vec<Digest> {
    let asked = store.expire_untagged(DAY, true).unwrap();
    let expired = store.expire_untagged(DAY, false).unwrap();
    assert_eq!(asked, expired, "the question and the deed differ");
    let in_a = |manifest: &UntaggedManifest| manifest.repository == repository("a");
    assert!(expired.iter().all(in_a));
    expired.into_iter().map(|manifest| manifest.digest).collect()
}

#[test]
fn tags_indexes_and_subjects_keep_what_they_name() {
    let place = place();
    let store = &place.store;
    let child = image(store, "child", None);
    let tagged = image(store, "tagged", None);
    let signature = image(store, "signature", Some(&tagged));
    let of_signature = image(store, "of the signature", Some(&signature));
    let kept = [
        put(store, &child, &[]),
        put(store, &index(&[&child]), &["multi"]),
        put(store, &tagged, &["x"]),
        put(store, &signature, &[]),
        put(store, &of_signature, &[]),
    ];
    let old = image(store, "old", None);
    let lone = image(store, "lone", None);
    let orphan = image(store, "orphan", Some(&lone));
    let mut gone = vec![
        put(store, &old, &[]),
        put(store, &index(&[&old]), &[]),
        put(store, &lone, &[]),
        put(store, &orphan, &[]),
    ];
    assert_eq!(expire(store), [], "all of it is new");
    age(store);
    let mut expired = expire(store);
    gone.sort();
    expired.sort();
    assert_eq!(expired, gone);
    for digest in kept {
        let found = store.manifest(&repository("a"), &ManifestSelector::Digest(digest));
        assert!(found.unwrap().is_some());
    }
    assert_eq!(collect_now(store).blobs, 3, "old, lone and orphan had one each");
    assert_eq!(expire(store), []);
}

#[test]
fn the_time_begins_when_the_last_tag_leaves_or_it_is_pushed_again() {
    let place = place();
    let store = &place.store;
    let (moved, deleted, again, next) = (
        image(store, "moved", None),
        image(store, "deleted", None),
        image(store, "again", None),
        image(store, "next", None),
    );
    put(store, &moved, &["latest"]);
    put(store, &deleted, &["once"]);
    put(store, &again, &[]);
    age(store);
    put(store, &next, &["latest"]);
    put(store, &again, &[]);
    assert!(store.delete_tag(&repository("a"), &tag("once")).unwrap());
    assert_eq!(expire(store), []);
    age(store);
    let mut expired = expire(store);
    let mut gone = [moved.digest, deleted.digest, again.digest];
    expired.sort();
    gone.sort();
    assert_eq!(expired, gone);
}

/// What another repository holds is none of this one's business.
#[test]
fn another_repository_keeps_the_bytes() {
    let place = place();
    let store = &place.store;
    let both = image(store, "both", None);
    put(store, &both, &[]);
    pushed(store, &repository("b"), b"both");
    let tagged = ManifestWrite {
        tags: vec![tag("x")],
        ..both.clone()
    };
    store.put_manifest(&repository("b"), &tagged).unwrap();
    age(store);
    assert_eq!(expire(store), std::slice::from_ref(&both.digest));
    let by_digest = ManifestSelector::Digest(both.digest);
    assert!(store.manifest(&repository("a"), &by_digest).unwrap().is_none());
    assert!(store.manifest(&repository("b"), &by_digest).unwrap().is_some());
}

/// A push of an index races the expiry of its image: whatever was accepted is whole.
#[test]
fn a_push_beside_it_is_whole_or_refused() {
    let place = place();
    let store = &place.store;
    let child = image(store, "child", None);
    let by_digest = ManifestSelector::Digest(child.digest.clone());
    let filler = image(store, "filler", None);
    let behind = rusqlite::Connection::open(store.directory().join("store.sqlite")).unwrap();
    behind.busy_timeout(Duration::from_secs(10)).unwrap();
    let mut older = behind.prepare("UPDATE held_manifests SET held = 0").unwrap();
    let done = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.expire_untagged(Duration::ZERO, false).unwrap();
            }
        });
        let mut accepted = 0;
        for _ in 0..200 {
            put(store, &child, &[]);
            let mut parent = index(&[&child]);
            parent.tags = vec![tag("t")];
            older.execute([]).unwrap();
            if store.put_manifest(&repository("a"), &parent).is_ok() {
                accepted += 1;
                // An expiry that had decided before has done it when this returns.
                put(store, &filler, &[]);
                let found = store.manifest(&repository("a"), &by_digest).unwrap();
                if found.is_none() {
                    done.store(true, Ordering::Relaxed);
                }
                assert!(found.is_some(), "an accepted index lost its image");
                store.delete_manifest(&repository("a"), &parent.digest).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        accepted
    });
    assert!(accepted > 0, "nothing was raced");
}
