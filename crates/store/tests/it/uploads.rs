use std::io::Write;

use proptest::prelude::*;
use shipway_oci::{Algorithm, Digest};
use shipway_store::{BeginUploadError, CommitError, OpenUploadError, Store, UploadId};

use crate::support::{content, place, repository};

#[test]
fn an_upload_goes_on_in_another_handle() {
    let place = place();
    let name = repository("a/b");
    let id = place.store.begin_upload(&name).unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    writer.write_all(b"hello ").unwrap();
    assert_eq!(writer.suspend().unwrap(), 6);

    let other = Store::open(place.store.directory()).unwrap();
    assert_eq!(other.upload_offset(&name, &id).unwrap(), Some(6));
    let mut writer = other.open_upload(&name, &id).unwrap().unwrap();
    assert_eq!(writer.offset(), 6);
    writer.write_all(b"world").unwrap();
    let info = writer.commit(Some(&Digest::sha256(b"hello world"))).unwrap();
    assert_eq!(content(&place.store, &info.digest), b"hello world");
    // Linked without a further call, and gone.
    assert_eq!(
        place.store.repository_blob(&name, &info.digest).unwrap(),
        Some(info)
    );
    assert!(place.store.open_upload(&name, &id).unwrap().is_none());
    assert_eq!(
        std::fs::read_dir(place.store.directory().join("uploads"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_dropped_writer_keeps_what_came() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    place
        .store
        .open_upload(&name, &id)
        .unwrap()
        .unwrap()
        .write_all(b"part")
        .unwrap();
    assert_eq!(place.store.open_upload(&name, &id).unwrap().unwrap().offset(), 4);
}

#[test]
fn there_is_one_writer() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    let first = place.store.open_upload(&name, &id).unwrap().unwrap();
    let other = Store::open(place.store.directory()).unwrap();
    assert!(matches!(
        other.open_upload(&name, &id),
        Err(OpenUploadError::Busy)
    ));
    drop(first);
    assert!(other.open_upload(&name, &id).unwrap().is_some());
}

#[test]
fn an_upload_belongs_to_its_repository() {
    let place = place();
    let id = place.store.begin_upload(&repository("a")).unwrap();
    assert!(place.store.open_upload(&repository("b"), &id).unwrap().is_none());
    assert!(!place.store.cancel_upload(&repository("b"), &id).unwrap());
    assert!(place.store.cancel_upload(&repository("a"), &id).unwrap());
    assert!(place.store.open_upload(&repository("a"), &id).unwrap().is_none());
    assert!(
        !place.store.repository_exists(&repository("a")).unwrap(),
        "asking to push made a repository"
    );
}

#[test]
fn a_cancelled_upload_cannot_be_committed() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    let writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    place.store.cancel_upload(&name, &id).unwrap();
    assert!(matches!(writer.commit(None), Err(CommitError::UploadGone)));
    assert_eq!(place.store.blob(&Digest::sha256(b"")).unwrap(), None);
}

#[test]
fn wrong_bytes_end_the_upload() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    writer.write_all(b"evil").unwrap();
    assert!(matches!(
        writer.commit(Some(&Digest::sha256(b"good"))),
        Err(CommitError::DigestMismatch { .. })
    ));
    assert!(place.store.open_upload(&name, &id).unwrap().is_none());
}

#[test]
fn bytes_that_nobody_acknowledged_are_cut_off_and_a_lost_state_is_made_again() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    writer.write_all(b"hello").unwrap();
    writer.suspend().unwrap();
    // As after kill -9 in the middle of a request: more in the file than the row knows.
    let path = place.store.directory().join("uploads").join(id.as_str());
    std::fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b" garbage")
        .unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    assert_eq!(writer.offset(), 5);
    writer.write_all(b"!").unwrap();
    writer.suspend().unwrap();
    // As after a power failure: less in the file than the row knows.
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4)
        .unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    assert_eq!(writer.offset(), 4);
    writer.write_all(b"o?").unwrap();
    assert_eq!(writer.commit(None).unwrap().digest, Digest::sha256(b"hello?"));
}

#[test]
fn what_is_cut_off_is_not_in_the_blob() {
    let place = place();
    let name = repository("a");
    let id = place.store.begin_upload(&name).unwrap();
    place
        .store
        .open_upload(&name, &id)
        .unwrap()
        .unwrap()
        .write_all(b"hello")
        .unwrap();
    let path = place.store.directory().join("uploads").join(id.as_str());
    std::fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b" and much more")
        .unwrap();
    let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
    writer.write_all(b"!").unwrap();
    let info = writer.commit(Some(&Digest::sha256(b"hello!"))).unwrap();
    assert_eq!(
        (info.size, content(&place.store, &info.digest)),
        (6, b"hello!".to_vec())
    );
}

#[test]
fn ids_of_other_spellings_are_no_ids() {
    for bad in [
        "",
        "..",
        "../x",
        "00000000000000000000000000000000",
        "00000000-0000-0000-0000-00000000000A",
    ] {
        assert!(bad.parse::<UploadId>().is_err(), "{bad}");
    }
    assert!("00000000-0000-0000-0000-00000000000a".parse::<UploadId>().is_ok());
}

#[test]
fn idle_uploads_are_given_up() {
    let place = place();
    let name = repository("a");
    let idle = place.store.begin_upload(&name).unwrap();
    let fresh = place.store.begin_upload(&name).unwrap();
    let db = rusqlite::Connection::open(place.store.directory().join("store.sqlite")).unwrap();
    db.execute("UPDATE uploads SET touched = 0 WHERE id = ?1", [idle.as_str()])
        .unwrap();
    place.store.collect(&Default::default()).unwrap();
    assert!(place.store.open_upload(&name, &idle).unwrap().is_none());
    assert!(place.store.open_upload(&name, &fresh).unwrap().is_some());
    assert_eq!(
        std::fs::read_dir(place.store.directory().join("uploads"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn nobody_begins_uploads_without_end() {
    let place = place();
    let name = repository("a");
    let path = place.store.directory().join("store.sqlite");
    let db = rusqlite::Connection::open(path).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
        INSERT INTO uploads (id, repository, offset, algorithm, hash, touched, owner)
        SELECT ?1 || i, 'a', 0, 'sha256', x'', ?3, ?1 FROM n";
    let begin = |owner: &str| place.store.begin_upload_of(owner, &name, Algorithm::Sha256);
    let far = i64::MAX;

    db.execute(fill, ("ann", 1023, far)).unwrap();
    let last = begin("ann").unwrap();
    assert!(matches!(
        begin("ann"),
        Err(BeginUploadError::TooManyOfOwner { each: 1024 })
    ));
    begin("bob").unwrap();
    place.store.cancel_upload(&name, &last).unwrap();
    begin("ann").unwrap();

    db.execute(fill, ("many", 16 * 1024, far)).unwrap();
    assert!(matches!(
        begin("bob"),
        Err(BeginUploadError::TooMany { all: 16_384 })
    ));
    // Idle ones make room without a collection.
    db.execute("UPDATE uploads SET touched = 0 WHERE owner = 'many'", [])
        .unwrap();
    begin("bob").unwrap();
    let files = std::fs::read_dir(place.store.directory().join("uploads")).unwrap();
    assert_eq!(files.count(), 3, "a refused upload leaves no file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_pieces_with_any_stops(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..6),
        long: bool,
    ) {
        let place = place();
        let name = repository("a");
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let id = place.store.begin_upload_as(&name, algorithm).unwrap();
        let mut whole = Vec::new();
        for (piece, suspend) in pieces {
            let mut writer = place.store.open_upload(&name, &id).unwrap().unwrap();
            prop_assert_eq!(writer.offset(), whole.len() as u64);
            writer.write_all(&piece).unwrap();
            whole.extend(piece);
            if suspend { writer.suspend().unwrap(); }
        }
        let writer = place.store.open_upload(&name, &id).unwrap().unwrap();
        prop_assert_eq!(writer.commit(None).unwrap().digest, Digest::of(algorithm, &whole));
    }
}
