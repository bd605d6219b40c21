use shipway_store::{OpenError, Scope, Store};

use crate::support::{place, repository};

#[test]
fn a_store_stays_itself() {
    let place = place();
    let again = Store::open(place.store.directory()).unwrap();
    assert_eq!(again.id(), place.store.id());
    assert_ne!(
        Store::open(&place.directory.path().join("other")).unwrap().id(),
        place.store.id()
    );
    let secret = place.store.secret("tokens").unwrap();
    assert_eq!(again.secret("tokens").unwrap(), secret);
    assert_ne!(again.secret("others").unwrap(), secret);
}

#[test]
fn many_may_make_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let ids: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            scope.spawn(|| {
                (
                    Store::open(&path).unwrap().id().clone(),
                    Store::open(&path).unwrap().secret("s").unwrap(),
                )
            })
        };
        let threads: Vec<_> = (0..8).map(|_| open()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
}

#[test]
fn a_newer_layout_is_left_alone() {
    let place = place();
    let path = place.store.directory().join("store.sqlite");
    rusqlite::Connection::open(path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        Store::open(place.store.directory()),
        Err(OpenError::Newer { found: 99, .. })
    ));
}

#[test]
fn the_layout_before_uploads_had_owners_is_brought_up() {
    let place = place();
    let id = place.store.begin_upload(&repository("a")).unwrap();
    let db = rusqlite::Connection::open(place.store.directory().join("store.sqlite")).unwrap();
    db.execute_batch(
        "DROP INDEX uploads_by_owner; ALTER TABLE uploads DROP COLUMN owner; ALTER TABLE blobs DROP COLUMN diff_id;
        DROP TABLE layer_pieces; PRAGMA user_version = 1;",
    )
    .unwrap();
    let again = Store::open(place.store.directory()).unwrap();
    assert_eq!(again.upload_offset(&repository("a"), &id).unwrap(), Some(0));
    again.begin_upload(&repository("a")).unwrap();
}

#[test]
fn the_layout_before_blobs_had_diff_ids_is_brought_up() {
    let place = place();
    let [blob, diff_id] = [b"blob", b"diff"].map(|bytes| place.store.put_blob(bytes).unwrap().digest);
    let db = rusqlite::Connection::open(place.store.directory().join("store.sqlite")).unwrap();
    db.execute_batch(
        "ALTER TABLE blobs DROP COLUMN diff_id; DROP TABLE layer_pieces; PRAGMA user_version = 2;",
    )
    .unwrap();
    let again = Store::open(place.store.directory()).unwrap();
    assert_eq!(again.diff_id(&blob).unwrap(), None);
    again.keep_diff_id(&blob, &diff_id).unwrap();
    assert_eq!(again.diff_id(&blob).unwrap(), Some(diff_id));
}

#[test]
fn the_layout_before_layers_had_pieces_is_brought_up() {
    let place = place();
    let scope = Scope::user();
    let blob = place.store.put_blob(b"layer").unwrap().digest;
    let kept = std::slice::from_ref(&blob);
    place
        .store
        .put_cache_record(&scope, &[1; 32], b"record", kept)
        .unwrap();
    let db = rusqlite::Connection::open(place.store.directory().join("store.sqlite")).unwrap();
    db.execute_batch("DROP TABLE layer_pieces; PRAGMA user_version = 3;")
        .unwrap();
    let again = Store::open(place.store.directory()).unwrap();
    assert_eq!(again.layer_pieces(&scope, 100).unwrap(), []);
    again.keep_layer_pieces(&blob, b"pieces").unwrap();
    assert_eq!(
        again.layer_pieces(&scope, 100).unwrap(),
        [(blob, b"pieces".to_vec())]
    );
}

/// Needs root: only root can make a directory that belongs to somebody else.
#[test]
fn a_stranger_s_store_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(12345), None).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::ForeignOwner {
                owner: 12345,
                user: 0,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "something was written there"
    );
}

#[test]
fn nobody_else_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (made, found) = (directory.path().join("made"), directory.path().join("found"));
    std::fs::create_dir(&found).unwrap();
    std::fs::set_permissions(&found, std::fs::Permissions::from_mode(0o755)).unwrap();
    for path in [made, found] {
        Store::open(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}
