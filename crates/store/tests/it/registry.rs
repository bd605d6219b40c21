use shipway_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, media_type};
use shipway_store::{ManifestSelector, PutManifestError, Referrers, ReferrersPage, Removal, Store};

use crate::support::{Place, by_tag, image_of, place, pushed, repository, tag, write};

fn push(store: &Store, name: &str, layer: &[u8], tags: &[&str]) -> Digest {
    let name = repository(name);
    pushed(store, &name, b"{}");
    pushed(store, &name, layer);
    let mut manifest = image_of(b"{}", &[layer]);
    manifest.tags = tags.iter().map(|name| tag(name)).collect();
    store.put_manifest(&name, &manifest).unwrap();
    manifest.digest
}

#[test]
fn a_manifest_is_served_as_it_was_put() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let digest = push(&store, "a/b", b"layer", &["one", "two"]);
    let by_digest = ManifestSelector::Digest(digest.clone());
    for selector in [by_tag("one"), by_tag("two"), by_digest] {
        let found = store.manifest(&repository("a/b"), &selector).unwrap().unwrap();
        assert_eq!(found.digest, digest);
        assert_eq!(found.media_type, media_type::OCI_MANIFEST);
        assert_eq!(Digest::sha256(&found.bytes), digest);
        assert_eq!(store.manifest(&repository("a"), &selector).unwrap(), None);
    }
}

#[test]
fn knowing_a_digest_is_no_permission() {
    let Place {
        store,
        directory: _kept,
    } = place();
    push(&store, "private", b"secret layer", &["x"]);
    let thief = repository("thief");
    pushed(&store, &thief, b"{}");
    let manifest = image_of(b"{}", &[b"secret layer"]);
    let missing = Digest::sha256(b"secret layer");
    let error = store.put_manifest(&thief, &manifest).unwrap_err();
    assert!(matches!(error, PutManifestError::MissingBlob { digest } if digest == missing));
    assert_eq!(store.repository_blob(&thief, &missing).unwrap(), None);
    assert_eq!(
        store
            .manifest(&thief, &ManifestSelector::Digest(manifest.digest))
            .unwrap(),
        None
    );
    assert_eq!(
        store.blob_repositories(&missing, 10).unwrap(),
        [repository("private")]
    );
}

#[test]
fn a_refused_manifest_leaves_no_trace() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let error = store
        .put_manifest(&repository("new"), &image_of(b"{}", &[]))
        .unwrap_err();
    assert!(matches!(error, PutManifestError::MissingBlob { .. }));
    assert!(!store.repository_exists(&repository("new")).unwrap());
    let mut lie = image_of(b"{}", &[]);
    lie.digest = Digest::sha256(b"other");
    assert!(matches!(
        store.put_manifest(&repository("new"), &lie),
        Err(PutManifestError::DigestMismatch { .. })
    ));
}

#[test]
fn an_index_needs_its_members_unless_it_is_sparse() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let member = push(&store, "a", b"layer", &[]);
    push(&store, "b", b"layer", &[]);
    let absent = Digest::sha256(b"absent");
    let index = |digests: &[&Digest]| {
        let entry = |digest: &&Digest| Descriptor::new(media_type::OCI_MANIFEST, (*digest).clone(), 1);
        write(&Manifest::Index(ImageIndex::new(
            digests.iter().map(entry).collect(),
        )))
    };
    store.put_manifest(&repository("a"), &index(&[&member])).unwrap();
    let mut sparse = index(&[&member, &absent]);
    let error = store.put_manifest(&repository("a"), &sparse).unwrap_err();
    assert!(matches!(error, PutManifestError::MissingManifest { digest } if digest == absent));
    sparse.references = sparse.references.sparse();
    store.put_manifest(&repository("a"), &sparse).unwrap();
    assert!(
        store
            .put_manifest(&repository("elsewhere"), &index(&[&member]))
            .is_err()
    );
}

#[test]
fn layers_that_live_elsewhere_need_not_be_there() {
    let Place {
        store,
        directory: _kept,
    } = place();
    pushed(&store, &repository("a"), b"{}");
    let layer = Descriptor::of(media_type::DOCKER_LAYER_FOREIGN_GZIP, b"elsewhere");
    let manifest = ImageManifest::new(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![layer]);
    store
        .put_manifest(&repository("a"), &write(&Manifest::Image(manifest)))
        .unwrap();
}

#[test]
fn tags_are_listed_in_pages_and_move() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let first = push(&store, "a", b"1", &["b", "a", "C", "10", "9"]);
    let name = repository("a");
    let list = |last: Option<&str>, limit| store.tags(&name, last.map(tag).as_ref(), limit).unwrap();
    assert_eq!(list(None, 100), ["10", "9", "C", "a", "b"].map(tag));
    assert_eq!(list(Some("9"), 2), ["C", "a"].map(tag));
    assert_eq!(list(Some("zzz"), 2), []);
    assert_eq!(list(None, 0), []);

    let second = push(&store, "a", b"2", &["a"]);
    assert_eq!(
        store.manifest(&name, &by_tag("a")).unwrap().unwrap().digest,
        second
    );
    assert_eq!(
        store.manifest_tags(&name, &first).unwrap(),
        ["10", "9", "C", "b"].map(tag)
    );
}

#[test]
fn deleting_a_tag_leaves_its_siblings_and_deleting_a_manifest_takes_them() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let name = repository("a");
    let digest = push(&store, "a", b"1", &["x", "y"]);
    push(&store, "b", b"1", &["x"]);
    assert!(store.delete_tag(&name, &tag("x")).unwrap());
    assert!(!store.delete_tag(&name, &tag("x")).unwrap());
    assert!(store.manifest(&name, &by_tag("y")).unwrap().is_some());
    assert!(store.delete_manifest(&name, &digest).unwrap());
    assert!(!store.delete_manifest(&name, &digest).unwrap());
    assert_eq!(store.manifest(&name, &by_tag("y")).unwrap(), None);
    assert_eq!(store.tags(&name, None, 10).unwrap(), []);
    // The same manifest in another repository does not feel it.
    assert!(store.manifest(&repository("b"), &by_tag("x")).unwrap().is_some());
    assert!(store.image_manifest(&digest).unwrap().is_some());
    store.delete_manifest(&repository("b"), &digest).unwrap();
    assert!(store.image_manifest(&digest).unwrap().is_none());
}

#[test]
fn blobs_are_linked_and_unlinked() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let (a, b) = (repository("a"), repository("b"));
    let digest = pushed(&store, &a, b"x");
    assert_eq!(store.repository_blob(&b, &digest).unwrap(), None);
    assert!(store.link_blob(&b, &digest).unwrap().is_some());
    assert_eq!(
        store.blob_repositories(&digest, 10).unwrap(),
        [a.clone(), b.clone()]
    );
    assert_eq!(store.blob_repositories(&digest, 1).unwrap().len(), 1);
    assert!(store.unlink_blob(&a, &digest).unwrap());
    assert!(!store.unlink_blob(&a, &digest).unwrap());
    assert_eq!(store.repository_blob(&a, &digest).unwrap(), None);
    assert!(store.repository_blob(&b, &digest).unwrap().is_some());
    let absent = Digest::sha256(b"absent");
    assert_eq!(store.link_blob(&a, &absent).unwrap(), None);
    let missing = store
        .link_blobs(&repository("c"), &[digest.clone(), absent.clone()])
        .unwrap();
    assert_eq!(missing, [absent]);
    assert!(
        store
            .repository_blob(&repository("c"), &digest)
            .unwrap()
            .is_some()
    );
}

#[test]
fn repositories_are_listed_in_pages() {
    let Place {
        store,
        directory: _kept,
    } = place();
    for name in ["b/c", "a", "b"] {
        push(&store, name, b"1", &["x"]);
    }
    pushed(&store, &repository("only-blobs"), b"x");
    let list = |last: Option<&str>, limit| store.repositories(last.map(repository).as_ref(), limit).unwrap();
    assert_eq!(list(None, 10), ["a", "b", "b/c"].map(repository));
    assert_eq!(list(Some("a"), 1), ["b"].map(repository));
    assert!(store.repository_exists(&repository("a")).unwrap());
    assert!(!store.repository_exists(&repository("z")).unwrap());
    assert_eq!(store.usage().unwrap().repositories, 3);
}

#[test]
fn referrers_are_found_by_subject_which_need_not_exist() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let name = repository("a");
    pushed(&store, &name, b"{}");
    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"subject");
    let mut manifest = ImageManifest::new(Descriptor::of("application/x-config", b"{}"), Vec::new());
    manifest.subject = Some(subject.clone());
    manifest.annotations.insert("k".to_owned(), "v".to_owned());
    let by_config = write(&Manifest::Image(manifest.clone()));
    manifest.artifact_type = Some("application/x-sbom".to_owned());
    let by_type = write(&Manifest::Image(manifest));
    store.put_manifest(&name, &by_config).unwrap();
    store.put_manifest(&name, &by_type).unwrap();

    let page = |artifact_type, last, at_most| ReferrersPage {
        artifact_type,
        last,
        at_most,
    };
    let list = |page| store.referrers(&name, &subject.digest, page).unwrap();
    let all = page(None, None, 10);
    let found = list(all);
    assert!(!found.has_more);
    let mut expected = [
        (&by_config, "application/x-config"),
        (&by_type, "application/x-sbom"),
    ]
    .map(|(put, artifact)| {
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &put.bytes);
        descriptor.artifact_type = Some(artifact.to_owned());
        descriptor.annotations.insert("k".to_owned(), "v".to_owned());
        descriptor
    });
    expected.sort_by(|a, b| a.digest.cmp(&b.digest));
    assert_eq!(found.descriptors, expected);
    let of_type = list(page(Some("application/x-sbom"), None, 10));
    assert_eq!(of_type.descriptors.len(), 1);
    assert_eq!(of_type.descriptors[0].digest, by_type.digest);
    let stranger = repository("b");
    assert_eq!(
        store.referrers(&stranger, &subject.digest, all).unwrap(),
        Referrers::default()
    );

    // One by one, whatever happens to the one that was seen last.
    let first = list(page(None, None, 1));
    assert!(first.has_more && first.descriptors == expected[..1]);
    store.delete_manifest(&name, &expected[0].digest).unwrap();
    let second = list(page(None, Some(&expected[0].digest), 1));
    assert!(!second.has_more && second.descriptors == expected[1..]);
    assert_eq!(list(all).descriptors.len(), 1);
}

#[test]
fn people_and_tokens() {
    use shipway_store::{JobTokenRecord, UserRecord};
    let Place {
        store,
        directory: _kept,
    } = place();
    let user = |name: &str, hash: &str| UserRecord {
        name: name.to_owned(),
        password_hash: hash.to_owned(),
        administrator: false,
    };
    assert!(
        store
            .add_user(&user("first", "1"))
            .unwrap()
            .unwrap()
            .administrator
    );
    assert!(
        !store
            .add_user(&user("second", "2"))
            .unwrap()
            .unwrap()
            .administrator
    );
    assert_eq!(store.add_user(&user("first", "other")).unwrap(), None);
    assert_eq!(store.user("first").unwrap().unwrap().password_hash, "1");
    store.put_user(&user("second", "changed")).unwrap();
    assert_eq!(store.user("second").unwrap(), Some(user("second", "changed")));
    assert_eq!(store.users().unwrap().len(), 2);

    // Another password keeps the rights that the record says.
    let administrator = UserRecord {
        administrator: true,
        ..user("first", "1")
    };
    assert_eq!(store.user("first").unwrap(), Some(administrator.clone()));
    assert_eq!(store.delete_user("first").unwrap(), Removal::LastAdministrator);
    assert_eq!(store.user("first").unwrap(), Some(administrator));
    let second = UserRecord {
        administrator: true,
        ..user("second", "2")
    };
    store.put_user(&second).unwrap();
    assert_eq!(store.delete_user("first").unwrap(), Removal::Removed);
    assert_eq!(store.delete_user("first").unwrap(), Removal::Unknown);
    // The last of all may go.
    assert_eq!(store.delete_user("second").unwrap(), Removal::Removed);
    assert!(store.users().unwrap().is_empty());

    let token = |expires_unix| JobTokenRecord {
        project: "a/b".to_owned(),
        job: 7,
        expires_unix,
    };
    store.put_job_token(&[1; 32], &token(u64::MAX)).unwrap();
    store.put_job_token(&[2; 32], &token(1)).unwrap();
    assert_eq!(store.job_token(&[1; 32]).unwrap().unwrap().job, 7);
    assert_eq!(store.job_token(&[2; 32]).unwrap(), None, "it has expired");
    assert!(store.job_has_token("a/b", 7).unwrap());
    assert!(!store.job_has_token("a/b", 8).unwrap() && !store.job_has_token("a", 7).unwrap());
    assert!(store.delete_job_token(&[1; 32]).unwrap());
    assert!(!store.job_has_token("a/b", 7).unwrap(), "an expired one counted");
    assert_eq!(store.job_token(&[1; 32]).unwrap(), None);
}
