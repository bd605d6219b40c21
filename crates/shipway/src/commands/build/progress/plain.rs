//! `--progress=plain`: every line of every step, in the words of BuildKit's clients, which scripts and people read.
//!
//! Steps that run at the same time are told in blocks, each line with the number of its step. One of them has the floor; what
//! the others say waits until it ends, has had the floor for some time, or too much waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shipway_build::lint::Finding;
use shipway_container::OutputStream;

use super::{Display, End, Key, Status, Vertex, stamp};
use crate::screen::lines::Lines;
use crate::screen::{self, phrase};

/// As long as a step has the floor while others have something to say.
const FLOOR: Duration = Duration::from_secs(5);
/// Bytes that may wait.
const MOST_WAITING: usize = 1 << 20;
/// What is fetched is told of this often.
const FETCHING: Duration = Duration::from_secs(5);

/// The display.
pub(super) struct Plain<W> {
    write: W,
    next_number: usize,
    open: BTreeMap<Key, Open>,
    /// Who has the floor.
    floor: Option<(Key, Instant)>,
    is_begun: bool,
}

/// A step that runs.
struct Open {
    number: Option<usize>,
    name: String,
    /// Of the two streams.
    lines: [Lines; 2],
    /// Whether a stream's last line is not ended.
    is_open: [bool; 2],
    waiting: Vec<String>,
    waiting_bytes: usize,
    /// When each thing that is fetched was told of last, and when it began.
    fetching: BTreeMap<String, (Instant, Instant)>,
}

impl<W: FnMut(&str)> Plain<W> {
    /// Writes whole lines with `write`.
    pub(super) fn new(write: W) -> Self {
        Self {
            write,
            next_number: 1,
            open: BTreeMap::new(),
            floor: None,
            is_begun: false,
        }
    }

    /// Gives the floor to a step, with what it had to say.
    fn give_floor(&mut self, key: Key) {
        if self.floor.is_some_and(|(holder, _)| holder == key) {
            return;
        }
        let mut text = String::new();
        if let Some((holder, _)) = self.floor
            && let Some(number) = self.open.get(&holder).and_then(|open| open.number)
        {
            text.push_str(&format!("#{number} ...\n"));
        }
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        if std::mem::replace(&mut self.is_begun, true) {
            text.push('\n');
        }
        let number = *open.number.get_or_insert_with(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        text.push_str(&format!("#{number} {}\n", open.name));
        for line in open.waiting.drain(..) {
            text.push_str(&format!("#{number} {line}\n"));
        }
        open.waiting_bytes = 0;
        self.floor = Some((key, Instant::now()));
        (self.write)(&text);
    }

    /// Says lines of a step, now or when it has the floor.
    fn say(&mut self, key: Key, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        open.waiting_bytes += lines.iter().map(String::len).sum::<usize>();
        let too_much = open.waiting_bytes > MOST_WAITING;
        open.waiting.extend(lines);
        match self.floor {
            Some((holder, _)) if holder == key => {
                let Some(open) = self.open.get_mut(&key) else {
                    return;
                };
                let number = open.number.unwrap_or_default();
                let lines = open.waiting.drain(..);
                let text: String = lines.map(|line| format!("#{number} {line}\n")).collect();
                open.waiting_bytes = 0;
                (self.write)(&text);
            }
            Some((_, since)) if since.elapsed() < FLOOR && !too_much => {}
            _ => self.give_floor(key),
        }
    }

    /// After a step has ended: who has most to say goes on, else who began first.
    fn next_floor(&mut self) {
        self.floor = None;
        let next = self
            .open
            .iter()
            .max_by_key(|(key, open)| (open.waiting_bytes, std::cmp::Reverse(**key)));
        if let Some((key, _)) = next {
            self.give_floor(*key);
        }
    }
}

impl<W: FnMut(&str) + Send> Display for Plain<W> {
    fn started(&mut self, vertex: &Vertex) {
        self.open.insert(
            vertex.key,
            Open {
                number: None,
                name: vertex.name.clone(),
                lines: Default::default(),
                is_open: [false; 2],
                waiting: Vec::new(),
                waiting_bytes: 0,
                fetching: BTreeMap::new(),
            },
        );
        if self.floor.is_none() {
            self.give_floor(vertex.key);
        }
    }

    fn output(&mut self, vertex: &Vertex, stream: OutputStream, bytes: &[u8]) {
        let (Some(open), Some(last)) = (self.open.get_mut(&vertex.key), bytes.last()) else {
            return;
        };
        open.is_open[stream as usize] = *last != b'\n';
        let age = stamp(vertex.age());
        let mut said = Vec::new();
        open.lines[stream as usize].write(bytes, |line| said.push(format!("{age} {line}")));
        self.say(vertex.key, said);
    }

    fn fetched(&mut self, vertex: &Vertex, status: &Status<'_>) {
        let Some(open) = self.open.get_mut(&vertex.key) else {
            return;
        };
        let now = Instant::now();
        let known = open.fetching.get(status.id).copied();
        let (told, begun) = known.unwrap_or((now, now));
        if known.is_some() && !status.is_done && told.elapsed() < FETCHING {
            return;
        }
        open.fetching.insert(status.id.to_owned(), (now, begun));
        let mut line = status.id.to_owned();
        if status.total > 0 {
            let (current, total) = (screen::size(status.current), screen::size(status.total));
            line.push_str(&format!(" {current} / {total}"));
        }
        let seconds = begun.elapsed().as_secs_f64();
        if seconds > 0.01 {
            line.push_str(&format!(" {seconds:.1}s"));
        }
        if status.is_done {
            line.push_str(" done");
        }
        self.say(vertex.key, vec![line]);
    }

    fn ended(&mut self, vertex: &Vertex, end: End<'_>) {
        let Some(open) = self.open.get_mut(&vertex.key) else {
            return;
        };
        let mut last = Vec::new();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            if open.is_open[stream as usize] {
                let age = stamp(vertex.age());
                open.lines[stream as usize].write(b"\n", |line| last.push(format!("{age} {line}")));
            }
        }
        last.push(match end {
            End::Done => format!("DONE {:.1}s", vertex.age().as_secs_f64()),
            End::Cached => "CACHED".to_owned(),
            End::Canceled => "CANCELED".to_owned(),
            End::Failed(why) => format!("ERROR: {}", phrase(why)),
        });
        self.give_floor(vertex.key);
        self.say(vertex.key, last);
        self.open.remove(&vertex.key);
        self.next_floor();
    }

    fn remark(&mut self, vertex: &Vertex, text: &str) {
        self.say(vertex.key, vec![text.to_owned()]);
    }

    fn warning(&mut self, text: &str) {
        screen::warning(text);
    }

    fn note(&mut self, text: &str) {
        super::note(text);
    }

    fn findings(&mut self, findings: &[Finding]) {
        super::tell_findings(findings);
    }
}
