//! Large answers, of which a few may wait to be read.
//!
//! An answer keeps its turn, and its bytes stay in memory, until it has been sent or its client is gone. A client that is there and
//! does not read (it was stopped, or hangs) would keep it for ever and with a few like it the turns of everybody: so one that
//! takes no piece for a while loses its turn, and finds its answer cut short.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::poll_fn;
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::{Reply, ReplyBody};

/// Answers of this size are nobody's concern.
const SMALL: u64 = 256 << 10;
/// How much of a large answer is handed on at once.
const PIECE: usize = 64 << 10;
/// A piece is taken within this time of the one before: two kilobytes a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that keeps its turn until it has been sent, or until nobody wants it any more, if it is large.
pub(crate) fn in_turn(reply: Reply, turn: OwnedSemaphorePermit) -> Reply {
    in_turn_within(PATIENCE, reply, turn)
}

pub(super) fn in_turn_within(patience: Duration, reply: Reply, turn: OwnedSemaphorePermit) -> Reply {
    let (mut parts, body) = reply.into_parts();
    let length = body.size_hint().exact().unwrap_or(u64::MAX);
    if length <= SMALL {
        return Response::from_parts(parts, body);
    }
    let waiting = Arc::new(Mutex::new(Some(Waiting {
        body,
        rest: Bytes::new(),
        taken: Instant::now(),
        _turn: turn,
    })));
    tokio::spawn(give_up_unread(Arc::downgrade(&waiting), patience));
    let pieces = poll_fn(move |cx| {
        let mut waiting = open(&waiting);
        let Some(answer) = waiting.as_mut() else {
            let problem = "the client did not read the answer in time";
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, problem))));
        };
        answer.poll_piece(cx)
    });
    if length != u64::MAX {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, StreamBody::new(pieces).boxed_unsync())
}

/// What is not read yet. It goes with the answer, or when it is given up.
struct Waiting {
    body: ReplyBody,
    rest: Bytes,
    /// When the last piece was.
    taken: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Waiting {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        while self.rest.is_empty() {
            match ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.taken = Instant::now();
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

fn open(waiting: &Mutex<Option<Waiting>>) -> MutexGuard<'_, Option<Waiting>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops an answer that nobody reads, its turn included.
async fn give_up_unread(waiting: Weak<Mutex<Option<Waiting>>>, patience: Duration) {
    loop {
        let Some(end) = waiting
            .upgrade()
            .and_then(|waiting| Some(open(&waiting).as_ref()?.taken + patience))
        else {
            return;
        };
        if end <= Instant::now() {
            if let Some(waiting) = waiting.upgrade() {
                open(&waiting).take();
            }
            return;
        }
        sleep_until(end).await;
    }
}
