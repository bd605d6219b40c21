//! The last lines of a step, for when it fails.

use std::collections::VecDeque;
use std::time::Instant;

use shipway_container::OutputStream;

use super::{Vertex, stamp};
use crate::screen::lines::Lines;

/// Lines that are shown of a step that failed: a compiler's last words fit.
const MOST: usize = 40;

/// Keeps the last lines.
pub(super) struct Tail {
    begun: Instant,
    /// Of the two streams.
    lines: [Lines; 2],
    /// Whether a stream's last line is not ended.
    is_open: [bool; 2],
    kept: VecDeque<String>,
}

impl Tail {
    pub(super) fn new(vertex: &Vertex) -> Self {
        Self {
            begun: vertex.begun,
            lines: Default::default(),
            is_open: [false; 2],
            kept: VecDeque::new(),
        }
    }

    pub(super) fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.is_open[stream as usize] = *last != b'\n';
        let age = stamp(self.begun.elapsed());
        let kept = &mut self.kept;
        self.lines[stream as usize].write(bytes, |line| {
            if kept.len() == MOST {
                kept.pop_front();
            }
            kept.push_back(format!("{age} {line}"));
        });
    }

    /// As BuildKit's clients show a step that failed; nothing if it wrote nothing.
    pub(super) fn finish(mut self, name: &str) -> String {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            if self.is_open[stream as usize] {
                self.write(stream, b"\n");
            }
        }
        if self.kept.is_empty() {
            return String::new();
        }
        let lines: Vec<String> = self.kept.into();
        format!("------\n > {name}:\n{}\n------\n", lines.join("\n"))
    }
}
