//! Readers that are too slow are given up, and only those.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::TcpListener;

use super::*;

fn paced<S>(stream: S, window: Duration, least_bytes_per_second: u64) -> PacedWrites<S> {
    let options = ServerOptions {
        body_timeout: window,
        least_bytes_per_second,
        ..ServerOptions::default()
    };
    PacedWrites::new(stream, &options)
}

#[tokio::test]
async fn who_does_not_read_or_hardly_reads_is_given_up() {
    for read in [0, 10] {
        let (near, mut far) = duplex(64);
        let mut sending = paced(near, Duration::from_millis(200), 1000);
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
async fn all_that_is_taken_at_once_keeps_up() {
    let (near, mut far) = duplex(64);
    let mut sending = paced(near, Duration::from_secs(60), 1000);
    let mut taken = vec![0; 4000];
    let (sent, read) = tokio::join!(sending.write_all(&[7; 4000]), far.read_exact(&mut taken));
    sent.unwrap();
    read.unwrap();
    sending.flush().await.unwrap();
    assert!(
        sending.pace.is_resting(),
        "a connection on which nothing is written may rest"
    );
}

const WINDOW: Duration = Duration::from_secs(1);
const RATE: usize = 800_000;
const ALL: usize = 8_000_000;

/// What the kernel holds for a reader is no reason to take it for slow: this one is thirteen times as fast as it must be, and needs
/// more than a window for what a connection's buffer holds.
#[tokio::test]
async fn a_slow_reader_over_tcp_that_keeps_the_pace_is_served() {
    for _ in 0..5 {
        let (sent, taken, longest_pause) = send_to_a_slow_reader().await;
        if sent.is_ok() {
            assert_eq!(taken, ALL);
            return;
        }
        // On a machine that stood still the reader was too slow indeed.
        assert!(longest_pause > WINDOW / 4, "{sent:?} after {longest_pause:?}");
    }
    panic!("in no attempt had the reader its processor");
}

/// How it went, how much came, and for how long the reader was not run at most.
async fn send_to_a_slow_reader() -> (io::Result<()>, usize, Duration) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    in_small_steps(&near);
    let mut sending = paced(near, WINDOW, 60_000);
    let sending = async move {
        let sent = sending.write_all(&vec![7; ALL]).await;
        drop(sending);
        sent
    };
    let taking = async {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let (mut taken, mut piece) = (0, vec![0; 16 << 10]);
        let (mut last, mut longest_pause) = (begun, Duration::ZERO);
        loop {
            ticks.tick().await;
            longest_pause = longest_pause.max(last.elapsed());
            last = Instant::now();
            // By the clock, so that a tick that came late is made up for.
            let due = begun.elapsed().as_millis() as usize * RATE / 1000;
            while taken < due {
                match far.read(&mut piece).await {
                    Ok(0) | Err(_) => return (taken, longest_pause),
                    Ok(bytes) => taken += bytes,
                }
            }
        }
    };
    let (sent, (taken, longest_pause)) = tokio::join!(sending, taking);
    (sent, taken, longest_pause)
}
