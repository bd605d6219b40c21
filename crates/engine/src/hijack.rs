//! Turning an HTTP exchange into a plain connection to a process: attach and exec.
//!
//! Clients accept exactly `101 UPGRADED` with both upgrade headers. A client that has nothing to send half-closes at
//! once: the end of its stream is the end of stdin, never of the exchange. The connection is closed after the last byte of
//! output, writing side first, and what the client still sends is read for a moment more, because closing a socket with
//! unread bytes makes the kernel throw away the output on its way.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::reply::{self, MULTIPLEXED, RAW, Reply};
use crate::serve::Place;
use crate::stdcopy::{FrameStream, frame};
use crate::version::ApiVersion;

/// How long a client may take to notice that the output is over.
const LINGER: Duration = Duration::from_secs(2);

/// How output travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Both outputs, each piece labelled.
    Multiplexed,
    /// One terminal.
    Raw,
}

impl Framing {
    pub(crate) fn of(terminal: bool) -> Framing {
        if terminal {
            Framing::Raw
        } else {
            Framing::Multiplexed
        }
    }

    pub(crate) fn encode(self, stream: FrameStream, payload: Bytes) -> Bytes {
        match self {
            Framing::Multiplexed => frame(stream, &payload),
            Framing::Raw => payload,
        }
    }

    /// Clients from before 1.42 know one name for both.
    pub(crate) fn content_type(self, version: ApiVersion) -> &'static str {
        match self {
            Framing::Multiplexed if version >= ApiVersion::NAMES_STREAM_FORMAT => MULTIPLEXED,
            _ => RAW,
        }
    }
}

/// The client's side of an exchange that is about to be taken over.
pub(crate) struct Hijack {
    upgrade: OnUpgrade,
    place: Option<Place>,
}

impl Hijack {
    /// Takes the connection out of the request; `None` when the client did not ask for an upgrade.
    pub(crate) fn take<B>(request: &mut Request<B>) -> Option<Hijack> {
        request.headers().get(UPGRADE)?;
        Some(Hijack {
            place: request.extensions().get::<Place>().cloned(),
            upgrade: hyper::upgrade::on(request),
        })
    }

    /// The `101` and, in the background, the conversation.
    pub(crate) fn converse<O, I>(
        self,
        version: ApiVersion,
        framing: Framing,
        output: O,
        input: Option<I>,
    ) -> Reply
    where
        O: Stream<Item = (FrameStream, Bytes)> + Send + Unpin + 'static,
        I: AsyncWrite + Send + Unpin + 'static,
    {
        let conversation = async move {
            match self.upgrade.await {
                Ok(upgraded) => pump(TokioIo::new(upgraded), framing, output, input).await,
                Err(error) => tracing::debug!(%error, "a client left before its connection was taken over"),
            }
        };
        tokio::spawn(while_open(self.place, conversation));
        switching(Some(framing.content_type(version)), "tcp")
    }

    /// The `101`, and silence until the client goes away.
    pub(crate) fn hold(self) -> Reply {
        let silence = async move {
            if let Ok(upgraded) = self.upgrade.await {
                let _ = tokio::io::copy(&mut TokioIo::new(upgraded), &mut tokio::io::sink()).await;
            }
        };
        tokio::spawn(while_open(self.place, silence));
        switching(None, "h2c")
    }
}

/// Goes on with a connection that was taken over, in its place, until it ends or the engine does.
async fn while_open(place: Option<Place>, conversation: impl Future<Output = ()>) {
    match &place {
        None => conversation.await,
        Some(place) => tokio::select! {
            () = place.closed.cancelled() => {}
            () = conversation => {}
        },
    }
}

fn switching(content_type: Option<&'static str>, protocol: &'static str) -> Reply {
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    reply
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b"UPGRADED"));
    reply
}

/// Moves bytes both ways until the output ends or the client is gone.
async fn pump<C, O, I>(connection: C, framing: Framing, mut output: O, input: Option<I>)
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    O: Stream<Item = (FrameStream, Bytes)> + Unpin,
    I: AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = tokio::io::split(connection);
    let feed = async {
        if let Some(mut input) = input {
            // Either side may end first: a process that no longer reads is as good an end as the client's.
            let _ = tokio::io::copy(&mut from_client, &mut input).await;
            let _ = input.shutdown().await;
        }
        from_client
    };
    let deliver = async {
        while let Some((stream, payload)) = output.next().await {
            if to_client
                .write_all(&framing.encode(stream, payload))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::pin!(feed, deliver);
    let from_client = tokio::select! {
        () = &mut deliver => None,
        from_client = &mut feed => {
            deliver.await;
            Some(from_client)
        }
    };
    let linger = async {
        let mut from_client = match from_client {
            Some(from_client) => from_client,
            // The process is gone: what is still fed to it fails at once and hands the connection back.
            None => feed.await,
        };
        let mut unread = [0; 4096];
        while matches!(from_client.read(&mut unread).await, Ok(read) if read > 0) {}
    };
    let _ = tokio::time::timeout(LINGER, linger).await;
}

#[cfg(test)]
mod tests;
