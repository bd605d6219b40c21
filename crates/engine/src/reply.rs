//! Answers: whole JSON, nothing, or a stream that is flushed as it comes.
//!
//! Apart so that no handler builds headers. A stream's writer never waits (build output arrives in callbacks that cannot):
//! what a slow client has not read yet is kept, up to a bound, past which further output is dropped. A
//! client that went away is seen as [`StreamWriter::closed`].

mod turn;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::failure::Failure;

pub(crate) use turn::in_turn;

pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Reply = Response<ReplyBody>;

/// Clients compare this with `==`: no charset.
pub(crate) const JSON: &str = "application/json";
pub(crate) const TAR: &str = "application/x-tar";
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// What a client may leave unread before output is dropped.
const MOST_UNREAD: usize = 8 << 20;

pub(crate) fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    typed(status, Some(content_type), body)
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    typed(
        status,
        None,
        Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed_unsync(),
    )
}

pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, JSON, body),
        Err(error) => failure(&Failure::internal(format!(
            "cannot write the answer as JSON: {error}"
        ))),
    }
}

pub(crate) fn failure(failure: &Failure) -> Reply {
    bytes(failure.status(), JSON, failure.json())
}

/// A body whose length is not known yet; the head is sent at once.
pub(crate) fn stream(
    content_type: &'static str,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Reply {
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
    typed(StatusCode::OK, Some(content_type), body)
}

fn typed(status: StatusCode, content_type: Option<&'static str>, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    if let Some(content_type) = content_type {
        reply
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}

/// The writing end of a streamed answer.
#[derive(Debug, Clone)]
pub(crate) struct StreamWriter {
    sender: mpsc::UnboundedSender<Bytes>,
    unread: Arc<AtomicUsize>,
}

/// A streamed answer and its writer; the answer ends when the last clone of the writer is dropped.
pub(crate) fn channel(content_type: &'static str) -> (StreamWriter, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let unread = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&unread);
    let chunks = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })
    .map(move |chunk| {
        read.fetch_sub(chunk.len(), Ordering::Relaxed);
        Ok(chunk)
    });
    (StreamWriter { sender, unread }, stream(content_type, chunks))
}

impl StreamWriter {
    /// Queues bytes; past the bound they are dropped.
    pub(crate) fn write(&self, chunk: Bytes) {
        if self.unread.load(Ordering::Relaxed) <= MOST_UNREAD {
            self.write_always(chunk);
        }
    }

    /// Queues bytes whatever is unread: for the few that say how it ended. A client that missed them would take a failure for
    /// a success.
    fn write_always(&self, chunk: Bytes) {
        let length = chunk.len();
        self.unread.fetch_add(length, Ordering::Relaxed);
        if self.sender.send(chunk).is_err() {
            self.unread.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// One object of a JSON stream.
    pub(crate) fn object(&self, value: &Value) {
        self.write(line(value));
    }

    /// An object that says how it ended: it always arrives.
    pub(crate) fn result(&self, value: &Value) {
        self.write_always(line(value));
    }

    pub(crate) fn status(&self, status: &str) {
        self.object(&json!({ "status": status }));
    }

    pub(crate) fn status_of(&self, id: &str, status: &str) {
        self.object(&json!({ "status": status, "progressDetail": {}, "id": id }));
    }

    pub(crate) fn text(&self, text: &str) {
        self.object(&json!({ "stream": text }));
    }

    /// How a stream says that it failed, the HTTP status being out already; `code` becomes the CLI's exit code.
    pub(crate) fn error(&self, message: &str, code: Option<i32>) {
        let detail = match code {
            Some(code) => json!({ "code": code, "message": message }),
            None => json!({ "message": message }),
        };
        self.result(&json!({ "errorDetail": detail, "error": message }));
    }

    /// Returns when the client went away.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// An object's text, ended by CRLF as Docker does.
fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push_str("\r\n");
    text.into()
}

#[cfg(test)]
mod tests;
