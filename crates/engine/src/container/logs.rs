//! `GET /containers/{id}/logs`: what a container wrote, from wherever the client wants it.
//!
//! `--tail` counts lines in a first pass over the kept output and skips them in a second: memory stays bounded however
//! long the log is. With `--timestamps` each line begins with the moment its first byte came.

use std::time::SystemTime;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use shipway_container::{OutputChunk, OutputStream};
use time::OffsetDateTime;
use time::macros::format_description;

use super::attach::{Wanted, frame_stream};
use super::record::Record;
use crate::clock::parse_moment;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::hijack::Framing;
use crate::query::Query;
use crate::reply::{self, Reply};

/// What a client wants of a log.
struct Selection {
    wanted: Wanted,
    timestamps: bool,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    /// Lines to pass over.
    skip: u64,
}

impl Selection {
    fn new(query: &Query) -> Result<Selection, Failure> {
        let moment = |key: &str| {
            let moment = query.get(key).filter(|text| *text != "0").map(|text| {
                parse_moment(text)
                    .map(SystemTime::from)
                    .ok_or_else(|| Failure::bad_request(format!("{key}={text:?} is no point in time")))
            });
            moment.transpose()
        };
        let wanted = Wanted {
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
        };
        if !wanted.stdout && !wanted.stderr {
            return Err(Failure::bad_request(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        Ok(Selection {
            wanted,
            timestamps: query.flag("timestamps"),
            since: moment("since")?,
            until: moment("until")?,
            skip: 0,
        })
    }

    fn admits(&self, chunk: &OutputChunk) -> bool {
        self.wanted.has(frame_stream(chunk.stream))
            && self.since.is_none_or(|since| chunk.time >= since)
            && self.until.is_none_or(|until| chunk.time <= until)
    }
}

impl Inner {
    pub(crate) async fn logs(&self, record: &Record, call: &Call) -> Result<Reply, Failure> {
        let mut selection = Selection::new(&call.query)?;
        let follow = call.query.flag("follow") && record.life.is_running();
        if let Some(tail) = tail(&call.query)? {
            let mut lines = LineCount::default();
            let mut log = record.container.logs(false);
            while let Some(chunk) = log
                .try_next()
                .await
                .map_err(|error| Failure::internal(told(&error)))?
            {
                if selection.admits(&chunk) {
                    lines.count(&chunk.bytes);
                }
            }
            selection.skip = lines.total().saturating_sub(tail);
        }
        let framing = Framing::of(record.body.tty);
        let mut writer = LineWriter {
            selection,
            at_start: [true, true],
        };
        let output = record.container.logs(follow).filter_map(move |chunk| {
            let piece = match chunk {
                Ok(chunk) => writer
                    .write(&chunk)
                    .map(|bytes| Ok(framing.encode(frame_stream(chunk.stream), bytes))),
                Err(error) => Some(Err(std::io::Error::other(error))),
            };
            std::future::ready(piece)
        });
        Ok(reply::stream(framing.content_type(call.version), output))
    }
}

/// How many lines from the end; none for all.
fn tail(query: &Query) -> Result<Option<u64>, Failure> {
    match query.get("tail") {
        None | Some("all") => Ok(None),
        // Docker takes what is no number as all.
        Some(text) => Ok(text.parse().ok()),
    }
}

/// Lines of a log, a last one without its end included.
#[derive(Default)]
struct LineCount {
    ended: u64,
    unended: bool,
}

impl LineCount {
    fn count(&mut self, bytes: &[u8]) {
        self.ended += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.unended = bytes.last().is_some_and(|last| *last != b'\n');
    }

    fn total(&self) -> u64 {
        self.ended + u64::from(self.unended)
    }
}

struct LineWriter {
    selection: Selection,
    /// Whether the next byte of each stream begins a line.
    at_start: [bool; 2],
}

impl LineWriter {
    fn write(&mut self, chunk: &OutputChunk) -> Option<Bytes> {
        if !self.selection.admits(chunk) {
            return None;
        }
        let mut bytes = chunk.bytes.clone();
        while self.selection.skip > 0 {
            let end = bytes.iter().position(|byte| *byte == b'\n')?;
            bytes = bytes.slice(end + 1..);
            self.selection.skip -= 1;
        }
        if bytes.is_empty() {
            return None;
        }
        if !self.selection.timestamps {
            return Some(bytes);
        }
        let at_start = match chunk.stream {
            OutputStream::Stdout => &mut self.at_start[0],
            OutputStream::Stderr => &mut self.at_start[1],
        };
        let stamp = stamp(chunk.time);
        let mut stamped = BytesMut::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if std::mem::replace(at_start, line.ends_with(b"\n")) {
                stamped.put_slice(stamp.as_bytes());
            }
            stamped.put_slice(line);
        }
        Some(stamped.freeze())
    }
}

fn stamp(moment: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z ");
    OffsetDateTime::from(moment).format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests;
