//! `--progress=tty`: a live screen in the manner of BuildKit's. The steps that run, each with its last lines below it, are drawn
//! anew as they go on; a step that has ended leaves one line above them, so that a session that is copied reads as a log.
//!
//! A line is never wider than the terminal, whatever a program writes: widths are those of letters as terminals draw them, and
//! colours of programs are left out here. The size is asked for at every drawing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use shipway_build::lint::Finding;
use shipway_container::OutputStream;

use super::{Display, End, Key, Status, Vertex};
use crate::screen::echo::QuietInterrupt;
use crate::screen::lines::{Lines, without_colours};
use crate::screen::{self, phrase};

const TICK: Duration = Duration::from_millis(100);
/// Lines of output below one step.
const MOST_LINES: usize = 6;

/// The display. The terminal is given back when it is dropped, if not before.
pub(super) struct Tty {
    quiet: QuietInterrupt<std::io::Stderr>,
    bars: MultiProgress,
    head: ProgressBar,
    open: BTreeMap<Key, Open>,
    ended: usize,
}

/// A step that runs.
struct Open {
    title: ProgressBar,
    /// What is fetched and what was written last, below the title.
    below: Vec<ProgressBar>,
    /// Of the two streams.
    lines: [Lines; 2],
    last: VecDeque<String>,
    fetching: BTreeMap<String, String>,
}

impl Tty {
    pub(super) fn begin() -> Self {
        let bars = MultiProgress::new();
        screen::live::begin(&bars);
        let head = bars.add(ProgressBar::new_spinner());
        head.set_style(style("[+] Building {seconds} {msg}"));
        head.enable_steady_tick(TICK);
        Self {
            quiet: QuietInterrupt::begin(std::io::stderr()),
            bars,
            head,
            open: BTreeMap::new(),
            ended: 0,
        }
    }

    fn count(&self) {
        let all = self.ended + self.open.len();
        self.head.set_message(format!("({}/{all})", self.ended));
    }

    /// How many lines each running step may have below its title.
    fn room(&self) -> usize {
        let (height, _) = Term::stderr().size();
        let running = self.open.len().max(1);
        let free = usize::from(height).saturating_sub(2 + running);
        (free / running).min(MOST_LINES)
    }

    /// Draws what stands below a step's title.
    fn draw(&mut self, key: Key) {
        let room = self.room();
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let fetching = open.fetching.iter().map(|(id, state)| format!("{id} {state}"));
        let said = open.last.iter().cloned();
        let all: Vec<String> = fetching.chain(said).collect();
        let shown = &all[all.len().saturating_sub(room)..];
        while open.below.len() > shown.len() {
            if let Some(bar) = open.below.pop() {
                self.bars.remove(&bar);
            }
        }
        for (number, text) in shown.iter().enumerate() {
            if number == open.below.len() {
                let above = open.below.last().unwrap_or(&open.title);
                let bar = self.bars.insert_after(above, ProgressBar::new_spinner());
                bar.set_style(style(" => => # {wide_msg:.dim}"));
                open.below.push(bar);
            }
            open.below[number].set_message(text.clone());
        }
    }

    fn give_back(&self) {
        let _ = self.bars.clear();
        screen::live::end();
        self.quiet.end();
    }
}

impl Display for Tty {
    fn started(&mut self, vertex: &Vertex) {
        let title = self.bars.add(ProgressBar::new_spinner());
        title.set_style(style(" => {wide_msg} {seconds:>6}"));
        title.set_message(vertex.name.clone());
        title.enable_steady_tick(TICK);
        self.open.insert(
            vertex.key,
            Open {
                title,
                below: Vec::new(),
                lines: Default::default(),
                last: VecDeque::new(),
                fetching: BTreeMap::new(),
            },
        );
        self.count();
        let keys: Vec<Key> = self.open.keys().copied().collect();
        keys.into_iter().for_each(|key| self.draw(key));
    }

    fn output(&mut self, vertex: &Vertex, stream: OutputStream, bytes: &[u8]) {
        let Some(open) = self.open.get_mut(&vertex.key) else {
            return;
        };
        let last = &mut open.last;
        open.lines[stream as usize].write(bytes, |line| {
            let line = without_colours(&line);
            if line.trim().is_empty() {
                return;
            }
            if last.len() == MOST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        });
        self.draw(vertex.key);
    }

    fn fetched(&mut self, vertex: &Vertex, status: &Status<'_>) {
        let Some(open) = self.open.get_mut(&vertex.key) else {
            return;
        };
        if status.is_done {
            open.fetching.remove(status.id);
        } else {
            let state = match status.total {
                0 => String::new(),
                total => format!("{} / {}", screen::size(status.current), screen::size(total)),
            };
            open.fetching.insert(status.id.to_owned(), state);
        }
        self.draw(vertex.key);
    }

    fn ended(&mut self, vertex: &Vertex, end: End<'_>) {
        let Some(open) = self.open.remove(&vertex.key) else {
            return;
        };
        for bar in open.below.iter().chain([&open.title]) {
            bar.finish_and_clear();
            self.bars.remove(bar);
        }
        self.ended += 1;
        self.count();
        let (_, width) = Term::stderr().size();
        let line = ended_line(&vertex.name, end, vertex.age(), usize::from(width));
        let line = match end {
            End::Done => line,
            End::Cached => screen::cyan(&line),
            End::Failed(_) => screen::red(&line),
            End::Canceled => screen::yellow(&line),
        };
        screen::whole(&format!("{line}\n"), true);
    }

    fn remark(&mut self, vertex: &Vertex, text: &str) {
        screen::error_line(&format!(" => {}: {text}", vertex.name));
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

    fn finish(&mut self) {
        let seconds = self.head.elapsed().as_secs_f64();
        self.head.finish_and_clear();
        self.give_back();
        let all = self.ended + self.open.len();
        let end = if self.open.is_empty() { " FINISHED" } else { "" };
        screen::error_line(&format!("[+] Building {seconds:.1}s ({}/{all}){end}", self.ended));
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// One line, not wider than the terminal: the step on the left, its time on the right.
fn ended_line(name: &str, end: End<'_>, age: Duration, width: usize) -> String {
    let mark = match end {
        End::Done => "",
        End::Cached => "CACHED ",
        End::Failed(_) => "ERROR ",
        End::Canceled => "CANCELED ",
    };
    let time = format!("{:.1}s", age.as_secs_f64());
    let text = format!(" => {mark}{}", phrase(name));
    let left = width.saturating_sub(time.len() + 2).max(12);
    let text = console::truncate_str(&text, left, "…");
    let gap = left.saturating_sub(console::measure_text_width(&text));
    format!("{text}{:gap$} {time}", "")
}

fn style(template: &str) -> ProgressStyle {
    let seconds = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{:.1}s", state.elapsed().as_secs_f64());
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("seconds", seconds)
}

#[cfg(test)]
mod tests {
    use super::{Duration, End, ended_line};

    #[test]
    fn a_line_is_as_wide_as_the_terminal_whatever_it_says() {
        for (name, width) in [
            ("[1/2] RUN make", 40),
            ("[1/2] RUN 日本語のとても長い行が端末の幅を超えます", 40),
            ("[1/2] RUN \u{1b}[31mred\u{1b}[0m and\ttabs \u{202e} turned", 50),
            ("x", 20),
        ] {
            let line = ended_line(name, End::Cached, Duration::from_millis(1234), width);
            assert_eq!(console::measure_text_width(&line), width - 1, "{line:?}");
            assert!(
                line.starts_with(" => CACHED ") && line.ends_with(" 1.2s"),
                "{line:?}"
            );
            assert!(!line.contains(['\u{1b}', '\t', '\u{202e}']), "{line:?}");
        }
    }
}
