//! Readers that are too slow are given up, and only those.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const WINDOW: Duration = Duration::from_millis(200);

fn paced<S>(stream: S) -> PacedWrites<S> {
    let options = ServerOptions {
        body_timeout: WINDOW,
        least_bytes_per_second: 1000,
        ..ServerOptions::default()
    };
    PacedWrites::new(stream, &options)
}

#[tokio::test]
async fn who_does_not_read_or_hardly_reads_is_given_up() {
    for read in [0, 10] {
        let (near, mut far) = duplex(64);
        let mut sending = paced(near);
        let taking = async {
            far.read_exact(&mut vec![0; read]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            sent = sending.write_all(&[7; 4000]) => sent.unwrap_err(),
            () = taking => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{read}");
    }
}

#[tokio::test]
async fn who_took_enough_is_waited_for_in_the_next_window_only() {
    let (near, mut far) = duplex(64);
    let mut sending = paced(near);
    let taking = async {
        far.read_exact(&mut [0; 1000]).await.unwrap();
        std::future::pending::<()>().await;
    };
    let begun = Instant::now();
    let error = tokio::select! {
        sent = sending.write_all(&[7; 4000]) => sent.unwrap_err(),
        () = taking => unreachable!(),
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(
        begun.elapsed() >= 2 * WINDOW,
        "a window in which enough was taken is no error"
    );
}

#[tokio::test]
async fn all_that_is_taken_at_once_keeps_up() {
    let (near, mut far) = duplex(64);
    let mut sending = paced(near);
    let mut taken = vec![0; 4000];
    let (sent, read) = tokio::join!(sending.write_all(&[7; 4000]), far.read_exact(&mut taken));
    sent.unwrap();
    read.unwrap();
    sending.flush().await.unwrap();
    assert!(
        sending.open.is_none(),
        "a connection on which nothing is written may rest"
    );
}
