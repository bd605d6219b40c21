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
use crate::transfer::Pace;

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
