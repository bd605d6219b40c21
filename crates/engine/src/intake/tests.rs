//! Uploads that break, that are not read, and bodies that are too large.

use std::sync::{Arc, Mutex};

use http_body_util::Full;

use super::*;

#[tokio::test]
async fn an_upload_comes_back_as_a_rewound_file_without_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = spool(
        Full::new(Bytes::from_static(b"hello")),
        directory.path(),
        5,
        &Meter::default(),
    )
    .await
    .unwrap();
    let mut text = String::new();
    file.file().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let error = spool(
        Full::new(Bytes::from_static(b"hello!")),
        directory.path(),
        5,
        &Meter::default(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.status(), 413);
}

#[tokio::test]
async fn a_reader_that_has_enough_does_not_stop_the_upload() {
    let body = Full::new(Bytes::from(vec![1; 1 << 20]));
    let first = read_with(body, 1 << 20, |mut reader| {
        let mut byte = [0];
        reader.read_exact(&mut byte).map(|()| byte[0])
    });
    assert_eq!(first.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_broken_upload_is_no_end() {
    let pieces = [
        Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
        Err("gone"),
    ];
    let body = http_body_util::StreamBody::new(futures::stream::iter(pieces));
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let outcome = read_with(body, 100, move |mut reader| {
        let end = reader
            .read_to_end(&mut Vec::new())
            .map_err(|error| error.to_string());
        *told.lock().unwrap() = Some(end);
    });
    assert!(outcome.await.unwrap_err().message().contains("broke off: gone"));
    assert_eq!(
        seen.lock().unwrap().take(),
        Some(Err("the upload broke off: gone".to_owned()))
    );
}

#[tokio::test]
async fn small_bodies_are_bounded_and_an_empty_one_is_the_default() {
    assert_eq!(
        json::<Vec<u8>, _>(Full::new(Bytes::from_static(b" \n")))
            .await
            .unwrap(),
        Vec::<u8>::new()
    );
    assert_eq!(
        json::<Vec<u8>, _>(Full::new(Bytes::from_static(b"{")))
            .await
            .unwrap_err()
            .status(),
        400
    );
    let long = Full::new(Bytes::from(vec![b' '; MOST_JSON + 1]));
    assert_eq!(small(long).await.unwrap_err().status(), 413);
}
