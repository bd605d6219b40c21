//! A bounded pipe from an async producer to a blocking consumer.
//!
//! The end of the data is a message of its own. A producer that vanishes (its connection was cut, its future dropped)
//! is therefore never mistaken for one that was done: the consumer sees [`Interrupted`] and keeps, but does not
//! commit, what it has.

use std::iter::FusedIterator;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Chunks on their way; with chunks of up to some 100 KiB this is a few MiB at most.
const DEPTH: usize = 16;

/// The data stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended before the data did")]
pub(crate) struct Interrupted;

enum Message {
    Data(Bytes),
    End,
}

/// The producer's end.
pub(crate) struct Feed {
    sender: mpsc::Sender<Message>,
}

/// The consumer's end: an iterator for a blocking thread.
pub(crate) struct Chunks {
    source: Source,
}

enum Source {
    /// Nothing more comes.
    Ended,
    /// All is there already.
    ///   ## Whole => Ended
    Whole(Bytes),
    /// Chunks come one by one.
    ///   ## Piped => Ended (at the end, or when the producer is gone)
    Piped(mpsc::Receiver<Message>),
}

/// Both ends of a new pipe.
pub(crate) fn chunks() -> (Feed, Chunks) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (
        Feed { sender },
        Chunks {
            source: Source::Piped(receiver),
        },
    )
}

impl Feed {
    /// Hands a chunk over; `false` when the consumer has stopped and no more is wanted.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.sender.send(Message::Data(chunk)).await.is_ok()
    }

    /// Says that this was all.
    pub(crate) async fn end(self) {
        // A consumer that has stopped by itself has its own reason, and tells it.
        let _ = self.sender.send(Message::End).await;
    }
}

impl Chunks {
    /// Data that is all there.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            source: Source::Whole(bytes),
        }
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, Interrupted>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Ended => None,
            Source::Whole(bytes) => Some(Ok(bytes)),
            Source::Piped(mut receiver) => match receiver.blocking_recv() {
                Some(Message::Data(chunk)) => {
                    self.source = Source::Piped(receiver);
                    Some(Ok(chunk))
                }
                Some(Message::End) => None,
                None => Some(Err(Interrupted)),
            },
        }
    }
}

impl FusedIterator for Chunks {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_said_and_a_cut_is_seen() {
        for said in [true, false] {
            let (feed, chunks) = chunks();
            let consumer = tokio::task::spawn_blocking(move || chunks.collect::<Result<Vec<_>, _>>());
            for _ in 0..100 {
                assert!(feed.send(Bytes::from_static(b"x")).await);
            }
            if said {
                feed.end().await;
            } else {
                drop(feed);
            }
            let got = consumer.await.unwrap();
            assert_eq!(
                got.map(|chunks| chunks.len()),
                if said { Ok(100) } else { Err(Interrupted) }
            );
        }
    }

    #[tokio::test]
    async fn a_consumer_may_stop_early() {
        let (feed, chunks) = chunks();
        drop(chunks);
        assert!(!feed.send(Bytes::new()).await);
        assert_eq!(Chunks::whole(Bytes::from_static(b"ab")).count(), 1);
    }
}
