//! Reading a body at the pace that a client must keep.
//!
//! Silence is bounded, and so is sending a byte now and then: over each window in which a client was waited for, it sends a
//! least number of bytes per second. What ends here ends for one request; the connection is closed with it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::ServerOptions;

/// What comes next of a body.
pub(super) enum Piece {
    /// Bytes; trailers are an empty piece.
    Data(Bytes),
    /// All has come.
    End,
    /// Cut, silent for too long, or too slow.
    Interrupted,
}

/// A body and the pace it has kept.
pub(super) struct Paced<'a, B> {
    body: Pin<&'a mut B>,
    pace: Pace,
    silence: Duration,
}

impl<'a, B: Body<Data = Bytes>> Paced<'a, B> {
    pub(super) fn new(body: Pin<&'a mut B>, options: &ServerOptions) -> Self {
        Self {
            body,
            pace: Pace::new(options.least_bytes_per_second, options.body_timeout),
            silence: options.body_timeout,
        }
    }

    /// The bytes that are still to come, at least.
    pub(super) fn announced(&self) -> u64 {
        self.body.size_hint().lower()
    }

    pub(super) async fn next(&mut self) -> Piece {
        let asked = Instant::now();
        match timeout(self.silence, self.body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                if self.pace.keeps_up(asked.elapsed(), data.len() as u64) {
                    Piece::Data(data)
                } else {
                    Piece::Interrupted
                }
            }
            Ok(None) => Piece::End,
            Ok(Some(Err(_))) | Err(_) => Piece::Interrupted,
        }
    }
}

/// How fast a client sends, over windows of time in which it was waited for.
struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    came: u64,
}

impl Pace {
    /// At least so many bytes per second over each window.
    fn new(least_per_second: u64, window: Duration) -> Self {
        Self {
            least: least_per_second,
            window,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// Counts bytes and how long they were waited for; `false` when the client is too slow.
    fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.came += bytes;
        if self.waited < self.window {
            return true;
        }
        let enough = self.came >= self.least.saturating_mul(self.waited.as_secs());
        (self.waited, self.came) = (Duration::ZERO, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_is_too_slow() {
        let window = Duration::from_secs(60);
        let mut pace = Pace::new(1024, window);
        let steps = Duration::from_secs(20);
        assert!(pace.keeps_up(steps, 1) && pace.keeps_up(steps, 1));
        assert!(!pace.keeps_up(steps, 1));
        // A fast start is no reserve for later windows.
        assert!(pace.keeps_up(window, 1 << 30));
        assert!(!pace.keeps_up(window, 1024));
        // Time that was spent on our side is not the client's.
        assert!((0..1000).all(|_| pace.keeps_up(Duration::ZERO, 1)));
    }
}
