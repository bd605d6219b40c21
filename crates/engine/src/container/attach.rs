//! `POST /containers/{id}/attach`: the container's streams over the connection.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use shipway_container::{AttachFrom, OutputChunk, OutputError, OutputStream};

use super::record::Record;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::hijack::{Framing, Hijack};
use crate::reply::{self, Reply};
use crate::stdcopy::FrameStream;

/// Which outputs a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Wanted {
    pub(super) fn has(self, stream: FrameStream) -> bool {
        match stream {
            FrameStream::Stdout => self.stdout,
            FrameStream::Stderr => self.stderr,
        }
    }
}

impl Inner {
    pub(crate) async fn attach(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        mut call: Call,
    ) -> Result<Reply, Failure> {
        let query = &call.query;
        let wanted = Wanted {
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
        };
        let from = if query.flag("logs") {
            AttachFrom::Start
        } else {
            AttachFrom::Now
        };
        let with_input = query.flag("stdin") && record.body.open_stdin;
        let hijack = Hijack::take(&mut call.request);
        let framing = Framing::of(record.body.tty);
        let failed = record.life.failed_start();
        let attachment = record.container.attach(from, with_input && hijack.is_some());
        let output = wanted_output(attachment.output, wanted).take_until(Box::pin(failed));
        self.tell(record, "attach", []);
        Ok(match hijack {
            Some(hijack) => hijack.converse(call.version, framing, output.boxed(), attachment.stdin),
            // Clients without an upgrade get the output as a plain body.
            None => reply::stream(
                framing.content_type(call.version),
                output.map(move |(stream, payload)| Ok(framing.encode(stream, payload))),
            ),
        })
    }
}

/// The wanted part of an output; what cannot be read any more ends it, with a line on the error stream.
pub(super) fn wanted_output(
    output: impl Stream<Item = Result<OutputChunk, OutputError>> + Send + 'static,
    wanted: Wanted,
) -> impl Stream<Item = (FrameStream, Bytes)> + Send + 'static {
    output.filter_map(move |chunk| {
        let piece = match chunk {
            Ok(chunk) => (frame_stream(chunk.stream), chunk.bytes),
            Err(error) => (
                FrameStream::Stderr,
                Bytes::from(format!("shipway: {}\n", told(&error))),
            ),
        };
        std::future::ready(wanted.has(piece.0).then_some(piece))
    })
}

pub(super) fn frame_stream(stream: OutputStream) -> FrameStream {
    match stream {
        OutputStream::Stdout => FrameStream::Stdout,
        OutputStream::Stderr => FrameStream::Stderr,
    }
}
