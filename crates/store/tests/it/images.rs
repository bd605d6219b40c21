use shipway_oci::{Digest, Reference};
use shipway_store::{PutCacheRecordError, PutManifestError, Scope, Store};

use crate::support::{Place, collect_now, image_of, place};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn put(store: &Store, scope: &Scope, name: &str, layer: &[u8]) -> Digest {
    store.put_blob(b"{}").unwrap();
    store.put_blob(layer).unwrap();
    let image = image_of(b"{}", &[layer]);
    store.put_image(scope, &reference(name), &image).unwrap();
    image.digest
}

#[test]
fn scopes_see_nothing_of_each_other() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let (mine, other) = (Scope::job(1), Scope::job(2));
    let digest = put(&store, &mine, "alpine", b"1");
    assert_eq!(
        store
            .image(&mine, &reference("docker.io/library/alpine:latest"))
            .unwrap(),
        Some(digest.clone())
    );
    assert_eq!(store.image(&other, &reference("alpine")).unwrap(), None);
    let error = store
        .name_image(&other, &reference("stolen"), &digest)
        .unwrap_err();
    assert!(matches!(error, PutManifestError::MissingManifest { .. }));
    assert_eq!(store.images(&other).unwrap(), []);
}

#[test]
fn pulled_scopes_are_found_and_no_others() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let pulled = Scope::pulled("group/project:protected").unwrap();
    for scope in [&Scope::user(), &Scope::imported(), &Scope::job(1), &pulled] {
        put(&store, scope, "a:1", b"1");
    }
    assert_eq!(store.pulled_scopes().unwrap(), std::slice::from_ref(&pulled));
    assert_eq!(pulled.pulled_for(), Some("group/project:protected"));
    store.forget_scope(&pulled).unwrap();
    assert_eq!(store.pulled_scopes().unwrap(), []);
    assert!(Scope::pulled("a\nb").is_err());
}

#[test]
fn names_come_move_and_go_as_docker_has_it() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let scope = Scope::user();
    let first = put(&store, &scope, "a:1", b"1");
    store.name_image(&scope, &reference("b:1"), &first).unwrap();
    let second = put(&store, &scope, "a:1", b"2");
    let names = |store: &Store| -> Vec<(Option<String>, Digest)> {
        let images = store.images(&scope).unwrap();
        images
            .into_iter()
            .map(|image| (image.reference.map(|r| r.familiar()), image.manifest))
            .collect()
    };
    let named = |name: &str, digest: &Digest| (Some(name.to_owned()), digest.clone());
    assert_eq!(names(&store), [named("a:1", &second), named("b:1", &first)]);
    // The name moves on, the image stays without one.
    put(&store, &scope, "b:1", b"3");
    assert!(names(&store).contains(&(None, first.clone())));
    // The last name takes the image along.
    assert!(store.forget_image(&scope, &reference("a:1")).unwrap());
    assert!(!store.forget_image(&scope, &reference("a:1")).unwrap());
    assert!(store.image_manifest(&second).unwrap().is_none());
    assert!(store.forget_manifest(&scope, &first).unwrap());
    assert_eq!(names(&store).len(), 1);
    store.forget_scope(&scope).unwrap();
    assert_eq!(names(&store), []);
}

#[test]
fn an_image_needs_its_blobs_and_keeps_them() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let scope = Scope::user();
    let missing = store
        .put_image(&scope, &reference("a"), &image_of(b"{}", &[b"absent"]))
        .unwrap_err();
    assert!(matches!(missing, PutManifestError::MissingBlob { .. }));
    put(&store, &scope, "a", b"kept");
    store.put_blob(b"stray").unwrap();
    assert_eq!(collect_now(&store).blobs, 1);
    assert!(store.blob(&Digest::sha256(b"kept")).unwrap().is_some());
    store.forget_image(&scope, &reference("a")).unwrap();
    assert_eq!(collect_now(&store).blobs, 2);
}

#[test]
fn cache_records_keep_their_blobs_and_belong_to_their_scope() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let scope = Scope::user();
    let digest = store.put_blob(b"layer").unwrap().digest;
    store
        .put_cache_record(&scope, &[1; 32], b"record", std::slice::from_ref(&digest))
        .unwrap();
    assert_eq!(
        store.cache_record(&scope, &[1; 32]).unwrap().as_deref(),
        Some(&b"record"[..])
    );
    assert_eq!(store.cache_record(&scope, &[2; 32]).unwrap(), None);
    assert_eq!(store.cache_record(&Scope::job(1), &[1; 32]).unwrap(), None);
    assert_eq!(collect_now(&store).blobs, 0);

    store.put_cache_record(&scope, &[1; 32], b"newer", &[]).unwrap();
    assert_eq!(
        store.cache_record(&scope, &[1; 32]).unwrap().as_deref(),
        Some(&b"newer"[..])
    );
    assert_eq!(collect_now(&store).blobs, 1);
    let refused = store.put_cache_record(&scope, &[3; 32], b"", std::slice::from_ref(&digest));
    assert!(matches!(refused, Err(PutCacheRecordError::MissingBlob { .. })));
    assert_eq!(store.cache_record(&scope, &[3; 32]).unwrap(), None);
    assert_eq!(
        store
            .prune_cache(std::time::Duration::from_secs(60), false)
            .unwrap(),
        0
    );
}

#[test]
fn scope_names_have_limits() {
    for bad in ["", "a\nb", &"x".repeat(513)] {
        assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
    }
    assert_eq!("project/a/b".parse::<Scope>().unwrap().to_string(), "project/a/b");
}
