//! How an answer ends when its reader or its writer goes first.

use http::header::CONTENT_LENGTH;

use super::*;

#[tokio::test]
async fn how_it_ended_arrives_however_much_was_not_read() {
    let (writer, reply) = channel(JSON);
    let piece = Bytes::from(vec![b' '; 1 << 20]);
    for _ in 0..64 {
        writer.write(piece.clone());
    }
    writer.error("the step failed", Some(7));
    drop(writer);
    let text = reply.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(b"\"error\":\"the step failed\"}\r\n"));
}

#[tokio::test]
async fn a_large_answer_keeps_its_turn_until_it_is_read_or_dropped() {
    let turns = Arc::new(tokio::sync::Semaphore::new(1));
    let answer = |size: usize| {
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        in_turn(bytes(StatusCode::OK, JSON, vec![b' '; size]), turn)
    };
    let small = answer(1000);
    assert_eq!(turns.available_permits(), 1);
    drop(small);
    let large = answer(1 << 20);
    assert_eq!(turns.available_permits(), 0);
    assert_eq!(large.headers()[CONTENT_LENGTH], "1048576");
    let read = large.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((read.len(), turns.available_permits()), (1 << 20, 1));
    drop(answer(1 << 20));
    assert_eq!(turns.available_permits(), 1);
}

#[tokio::test]
async fn a_large_answer_that_nobody_reads_loses_its_turn() {
    let turns = Arc::new(tokio::sync::Semaphore::new(1));
    let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
    let answer = bytes(StatusCode::OK, JSON, vec![b' '; 1 << 20]);
    let patience = std::time::Duration::from_millis(50);
    let mut answer = turn::in_turn_within(patience, answer, turn).into_body();
    answer.frame().await.unwrap().unwrap();

    let next = tokio::time::timeout(std::time::Duration::from_secs(20), turns.acquire()).await;
    assert!(next.is_ok(), "a stopped client keeps the turn of another");

    let cut = answer.frame().await.unwrap().unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_stream_carries_its_objects_and_ends_with_its_writer() {
    let (writer, reply) = channel(JSON);
    writer.status("Pulling");
    writer.error("no", Some(3));
    drop(writer);
    assert_eq!(reply.headers()[CONTENT_TYPE], "application/json");
    let text = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        text,
        "{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"code\":3,\"message\":\"no\"},\"error\":\"no\"}\r\n"
    );
}

#[tokio::test]
async fn an_unread_stream_is_bounded_and_a_dropped_one_is_noticed() {
    let (writer, reply) = channel(RAW);
    let piece = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..200 {
        writer.write(piece.clone());
    }
    assert!(writer.unread.load(Ordering::Relaxed) <= MOST_UNREAD + 2 * piece.len());
    drop(reply);
    writer.closed().await;
}
