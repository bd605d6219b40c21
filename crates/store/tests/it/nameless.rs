use std::time::Duration;

use shipway_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, Reference, media_type};
use shipway_store::{ManifestWrite, Scope, Store};

use crate::support::{collect_now, place, write};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn image(store: &Store, seed: &str, subject: Option<&ManifestWrite>) -> ManifestWrite {
    store.put_blob(seed.as_bytes()).unwrap();
    let config = Descriptor::of(media_type::OCI_CONFIG, seed.as_bytes());
    let mut manifest = ImageManifest::new(config, Vec::new());
    manifest.subject = subject.map(|subject| Descriptor::of(media_type::OCI_MANIFEST, &subject.bytes));
    write(&Manifest::Image(manifest))
}

fn index(of: &ManifestWrite) -> ManifestWrite {
    let member = Descriptor::of(media_type::OCI_MANIFEST, &of.bytes);
    write(&Manifest::Index(ImageIndex::new(vec![member])))
}

/// A day goes by.
fn age(store: &Store) {
    rusqlite::Connection::open(store.directory().join("store.sqlite"))
        .unwrap()
        .execute("UPDATE held_manifests SET held = held - 86400000", [])
        .unwrap();
}

fn listed(store: &Store) -> Vec<(Scope, Digest)> {
    let nameless = store.nameless_images().unwrap().into_iter();
    nameless.map(|image| (image.scope, image.manifest)).collect()
}

fn expire(store: &Store) -> Vec<(Scope, Digest)> {
    let asked = store.expire_nameless(HOUR, true).unwrap();
    let expired = store.expire_nameless(HOUR, false).unwrap();
    assert_eq!(asked, expired, "the question and the deed differ");
    expired
}

#[test]
fn an_image_that_lost_its_name_goes_after_its_time_and_its_bytes_with_it() {
    let place = place();
    let store = &place.store;
    let scopes = [
        Scope::imported(),
        Scope::project("group/one:protected").unwrap(),
        Scope::pulled("group/one:protected").unwrap(),
        Scope::user(),
    ];
    let (old, new) = (image(store, "old", None), image(store, "new", None));
    for scope in &scopes {
        store.put_image(scope, &reference("a:1"), &old).unwrap();
    }
    age(store);
    assert_eq!((listed(store), expire(store)), (vec![], vec![]), "it has a name");
    for scope in &scopes {
        store.put_image(scope, &reference("a:1"), &new).unwrap();
    }
    let nameless = scopes.map(|scope| (scope, old.digest.clone()));
    assert_eq!(listed(store), nameless);
    assert_eq!(expire(store), [], "its time begins when it loses its name");
    age(store);
    assert_eq!(expire(store), nameless);
    assert_eq!(listed(store), []);
    assert_eq!(collect_now(store).blobs, 1);
    assert_eq!(
        store.image(&Scope::user(), &reference("a:1")).unwrap(),
        Some(new.digest)
    );
}

#[test]
fn built_again_without_a_name_it_is_young_again() {
    let place = place();
    let store = &place.store;
    let unnamed = image(store, "unnamed", None);
    store.put_unnamed_image(&Scope::user(), &unnamed).unwrap();
    age(store);
    store.put_unnamed_image(&Scope::user(), &unnamed).unwrap();
    assert_eq!(expire(store), []);
    age(store);
    assert_eq!(expire(store), [(Scope::user(), unnamed.digest)]);
}

#[test]
fn what_an_index_or_a_subject_keeps_is_not_nameless() {
    let place = place();
    let store = &place.store;
    let user = Scope::user();
    let member = image(store, "member", None);
    let named = image(store, "named", None);
    let signature = image(store, "signature", Some(&named));
    store.put_unnamed_image(&user, &member).unwrap();
    store
        .put_image(&user, &reference("many:1"), &index(&member))
        .unwrap();
    store.put_image(&user, &reference("one:1"), &named).unwrap();
    store.put_unnamed_image(&user, &signature).unwrap();
    age(store);
    assert_eq!((listed(store), expire(store)), (vec![], vec![]));

    // An index without a name takes its members along, and is listed alone.
    store.put_image(&user, &reference("many:1"), &named).unwrap();
    age(store);
    let alone = (user.clone(), index(&member).digest);
    assert_eq!(listed(store), std::slice::from_ref(&alone));
    assert_eq!(expire(store), [(user, member.digest), alone]);
}

#[test]
fn what_a_pod_has_been_lent_and_what_is_of_a_job_or_a_repository_stays() {
    let place = place();
    let store = &place.store;
    let (user, pod) = (Scope::user(), Scope::lent("3f2a").unwrap());
    let stood_on = image(store, "stood on", None);
    store.put_unnamed_image(&user, &stood_on).unwrap();
    let of_job = image(store, "of a job", None);
    store.put_unnamed_image(&Scope::job(7), &of_job).unwrap();
    assert!(store.lend_image(&user, &stood_on.digest, &pod).unwrap());
    assert!(store.is_lent(&stood_on.digest).unwrap());
    assert!(!store.is_lent(&of_job.digest).unwrap());
    assert!(
        !store.lend_image(&user, &of_job.digest, &pod).unwrap(),
        "of another scope"
    );
    age(store);
    assert_eq!(listed(store), [(user.clone(), stood_on.digest.clone())]);
    assert_eq!(expire(store), []);
    assert_eq!(collect_now(store).blobs, 0);
    // A name that is taken away is no concern of the pod's either.
    assert!(store.forget_manifest(&user, &stood_on.digest).unwrap());
    assert_eq!(collect_now(store).blobs, 0);
    store.forget_scope(&pod).unwrap();
    assert_eq!(collect_now(store).blobs, 1);
    assert_eq!(store.lasting_scopes().unwrap(), []);
}

#[test]
fn a_repository_keeps_what_was_pushed_into_it_by_digest() {
    let place = place();
    let store = &place.store;
    let both = image(store, "both", None);
    crate::support::pushed(store, &crate::support::repository("a"), b"both");
    store
        .put_manifest(&crate::support::repository("a"), &both)
        .unwrap();
    store.put_unnamed_image(&Scope::user(), &both).unwrap();
    age(store);
    assert_eq!(expire(store), [(Scope::user(), both.digest.clone())]);
    assert_eq!(collect_now(store).blobs, 0);
    // Lent to a pod it may leave a repository, whose owner asked for that.
    store.put_unnamed_image(&Scope::user(), &both).unwrap();
    let pod = Scope::lent("3f2a").unwrap();
    assert!(store.lend_image(&Scope::user(), &both.digest, &pod).unwrap());
    assert_eq!(store.expire_untagged(HOUR, true).unwrap().len(), 1);
}
