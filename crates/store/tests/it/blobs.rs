use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rustix::fs::{FlockOperation, flock};
use shipway_oci::{Algorithm, Digest};
use shipway_store::{CollectOptions, CommitError, FsckOptions, Meter, Store, StoreError};

use crate::support::{Place, collect_now, content, place};

#[test]
fn what_is_written_is_found() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let mut writer = store.begin_blob().unwrap();
    writer.write_all(b"hello ").unwrap();
    writer.write_all(b"world").unwrap();
    assert_eq!(writer.written(), 11);
    let info = writer.commit(Some(&Digest::sha256(b"hello world"))).unwrap();
    assert_eq!((info.size, &info.digest), (11, &Digest::sha256(b"hello world")));
    assert_eq!(store.blob(&info.digest).unwrap(), Some(info.clone()));
    assert_eq!(content(&store, &info.digest), b"hello world");
    assert_eq!(store.read_blob(&info.digest, 11).unwrap(), b"hello world");
    assert!(store.read_blob(&info.digest, 10).is_err());
}

#[test]
fn a_sha512_blob_is_one_under_that_name_only() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let expected = Digest::of(Algorithm::Sha512, b"data");
    let mut writer = store.begin_blob().unwrap();
    writer.write_all(b"data").unwrap();
    assert_eq!(writer.commit(Some(&expected)).unwrap().digest, expected);
    assert_eq!(content(&store, &expected), b"data");
    assert_eq!(store.blob(&Digest::sha256(b"data")).unwrap(), None);
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    let place = place();
    let mut writer = place.store.begin_blob().unwrap();
    writer.write_all(b"evil").unwrap();
    let expected = Digest::sha256(b"good");
    let error = writer.commit(Some(&expected)).unwrap_err();
    assert!(
        matches!(&error, CommitError::DigestMismatch { actual, .. } if *actual == Digest::sha256(b"evil"))
    );
    assert_eq!(place.store.blob(&expected).unwrap(), None);
    assert!(matches!(
        place.store.open_blob(&expected),
        Err(StoreError::NoSuchBlob { .. })
    ));
    assert_eq!(
        place.store.fsck(&FsckOptions::default()).unwrap().unknown_files,
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn a_dropped_writer_leaves_no_file() {
    let place = place();
    let incoming = place.store.directory().join("incoming");
    let mut writer = place.store.begin_blob().unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 1);
    drop(writer);
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
}

#[test]
fn files_of_writers_that_died_are_swept_and_others_are_not() {
    let place = place();
    let incoming = place.store.directory().join("incoming");
    let live = place.store.begin_blob().unwrap();
    std::fs::write(incoming.join("left"), b"x").unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for entry in std::fs::read_dir(&incoming).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(entry.unwrap().path())
            .unwrap();
        file.set_modified(long_ago).unwrap();
    }
    std::fs::write(incoming.join("new"), b"x").unwrap();
    collect_now(&place.store);
    assert!(!incoming.join("left").exists());
    assert!(incoming.join("new").exists());
    live.commit(None).unwrap();
}

#[test]
fn of_a_batch_only_what_is_committed_stays() {
    let place = place();
    let incoming = place.store.directory().join("incoming");
    let batch = place.store.begin_batch().unwrap();
    let stage = |bytes: &[u8]| {
        let mut file = batch.begin(Algorithm::Sha256).unwrap();
        file.write_all(bytes).unwrap();
        file.finish(None).unwrap()
    };
    let (wanted, unwanted) = (stage(b"wanted"), stage(b"unwanted"));
    assert_eq!(batch.read(&wanted, 6).unwrap(), b"wanted");
    assert!(batch.read(&unwanted, 6).is_err(), "it is longer than that");
    assert_eq!(
        place.store.usage().unwrap().blobs,
        0,
        "nothing is a blob by itself"
    );

    let mut damaged = batch.begin(Algorithm::Sha256).unwrap();
    damaged.write_all(b"damaged").unwrap();
    assert!(matches!(
        damaged.finish(Some(&Digest::sha256(b"promised"))),
        Err(CommitError::DigestMismatch { .. })
    ));

    // It outlives a collection, however long it takes.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for entry in std::fs::read_dir(&incoming).unwrap() {
        let directory = std::fs::File::open(entry.unwrap().path()).unwrap();
        directory.set_modified(long_ago).unwrap();
    }
    collect_now(&place.store);
    for _ in 0..2 {
        assert_eq!(batch.commit(&wanted).unwrap(), *wanted.info());
    }
    drop(batch);
    assert_eq!(content(&place.store, &wanted.info().digest), b"wanted");
    assert_eq!(place.store.usage().unwrap().blobs, 1);
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
}

#[test]
fn a_batch_of_the_dead_is_swept() {
    let place = place();
    let left = place.store.directory().join("incoming/left");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("file"), b"x").unwrap();
    collect_now(&place.store);
    assert!(left.exists(), "it may be between its making and its lock");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::open(&left)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    collect_now(&place.store);
    assert!(!left.exists());
}

#[test]
fn the_same_bytes_are_one_file() {
    let place = place();
    let first = place.store.put_blob(b"same").unwrap();
    let second = place.store.put_blob(b"same").unwrap();
    assert_eq!(first, second);
    let usage = place.store.usage().unwrap();
    assert_eq!((usage.blobs, usage.blob_bytes), (1, 4));
}

#[test]
fn new_bytes_are_counted_once_for_whom_they_were_written() {
    let Place {
        store,
        directory: _kept,
    } = place();
    let meter = Meter::default();
    let theirs = store.metered(&meter);
    store.put_blob(b"known").unwrap();
    theirs.put_blob(b"known").unwrap();
    assert_eq!((meter.bytes(), meter.files()), (0, 0), "it takes no more room");
    theirs.put_blob(b"new one").unwrap();
    theirs.put_blob(b"new one").unwrap();
    let mut dropped = theirs.begin_blob().unwrap();
    dropped.write_all(b"never whole").unwrap();
    assert_eq!((meter.bytes(), meter.files()), (18, 2));
    drop(dropped);
    assert_eq!((meter.bytes(), meter.files()), (7, 1));
}

#[test]
fn a_lost_or_short_file_is_reported_and_healed_by_an_upload() {
    let place = place();
    let digest = place.store.put_blob(b"precious").unwrap().digest;
    let path = place
        .store
        .directory()
        .join("blobs/sha256")
        .join(&digest.hex()[..2])
        .join(digest.hex());

    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        place.store.fsck(&FsckOptions::default()).unwrap().missing,
        std::slice::from_ref(&digest)
    );
    place.store.put_blob(b"precious").unwrap();
    assert!(place.store.fsck(&FsckOptions::default()).unwrap().is_clean());

    std::fs::write(&path, b"prec").unwrap();
    assert_eq!(
        place.store.fsck(&FsckOptions::default()).unwrap().corrupt[0].found_size,
        4
    );
    place.store.put_blob(b"precious").unwrap();
    assert_eq!(content(&place.store, &digest), b"precious");
}

#[test]
fn flipped_bits_are_found() {
    let place = place();
    let digest = place.store.put_blob(b"precious").unwrap().digest;
    let path = place
        .store
        .directory()
        .join("blobs/sha256")
        .join(&digest.hex()[..2])
        .join(digest.hex());
    std::fs::write(&path, b"Precious").unwrap();
    let report = place.store.fsck(&FsckOptions::default()).unwrap();
    assert_eq!(report.corrupt[0].found, Some(Digest::sha256(b"Precious")));
    assert!(
        place
            .store
            .fsck(&FsckOptions {
                quick: true,
                ..Default::default()
            })
            .unwrap()
            .is_clean()
    );
}

fn file_of(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    store.directory().join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// The file of a blob without its row.
fn orphan(store: &Store) -> PathBuf {
    let path = file_of(store, &Digest::sha256(b"orphan"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"orphan").unwrap();
    path
}

#[test]
fn a_collection_removes_old_files_without_a_row() {
    let place = place();
    let known = place.store.put_blob(b"known").unwrap().digest;
    let path = orphan(&place.store);
    let collect = || place.store.collect(&CollectOptions::default()).unwrap();
    collect();
    assert!(path.exists(), "its row may still come");
    let old = SystemTime::now() - Duration::from_secs(3600);
    for entry in [&path, &file_of(&place.store, &known)] {
        File::open(entry).unwrap().set_modified(old).unwrap();
    }
    let writer = File::open(&path).unwrap();
    flock(&writer, FlockOperation::LockExclusive).unwrap();
    collect();
    assert!(path.exists(), "somebody writes it");
    drop(writer);
    collect();
    assert!(!path.exists());
    assert_eq!(content(&place.store, &known), b"known");
}

#[test]
fn files_without_a_row_are_reported_and_removed_on_demand() {
    let place = place();
    let path = orphan(&place.store);
    let report = place.store.fsck(&FsckOptions::default()).unwrap();
    assert!(report.is_clean() && report.unknown_files == [path.clone()] && path.exists());
    place
        .store
        .fsck(&FsckOptions {
            remove_unknown_files: true,
            ..Default::default()
        })
        .unwrap();
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_bytes_in_any_pieces(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..6)) {
        let Place { store, directory: _kept } = place();
        let mut writer = store.begin_blob().unwrap();
        for piece in &pieces { writer.write_all(piece).unwrap(); }
        let whole = pieces.concat();
        let info = writer.commit(None).unwrap();
        prop_assert_eq!(&info.digest, &Digest::sha256(&whole));
        prop_assert_eq!(content(&store, &info.digest), whole);
    }
}
