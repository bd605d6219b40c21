//! Standard error while a live view redraws its last lines: everything else is written above them.
//!
//! One view draws at a time, so there is one place that says which; whoever writes need not know whether there is any. The same
//! place knows whether the output of a program has left a line open, so that a line of ours begins one of its own.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

static DRAWN: Mutex<Option<MultiProgress>> = Mutex::new(None);
/// Whether the last that was written is a line without its end. Held while something is written.
static LINE: Mutex<Line> = Mutex::new(Line::Ended);

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// ## Ended => Open when the output of a program does not end with a line's end
    Ended,
    /// ## Open => Ended when it does, or a line of ours has ended it
    Open,
}

impl Line {
    /// After a piece of a program's output.
    fn after(self, text: &str) -> Self {
        match text.as_bytes().last() {
            None => self,
            Some(b'\n') => Self::Ended,
            Some(_) => Self::Open,
        }
    }

    /// What has to come before a line of ours.
    fn end(&mut self) -> &'static str {
        match std::mem::replace(self, Self::Ended) {
            Self::Ended => "",
            Self::Open => "\n",
        }
    }
}

fn drawn() -> std::sync::MutexGuard<'static, Option<MultiProgress>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn line() -> std::sync::MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A live view is drawn until [`end`].
pub(crate) fn begin(bars: &MultiProgress) {
    *drawn() = Some(bars.clone());
}

/// The last live view is drawn no more.
pub(crate) fn end() {
    *drawn() = None;
}

/// Writes whole lines, above the live view if there is one. Nobody may be there to read them.
pub(super) fn write(text: &str) {
    // Not held while something is drawn: the view may want to end.
    let bars = drawn().clone();
    let plain = || {
        let mut line = line();
        put(&format!("{}{text}", line.end()));
    };
    match bars {
        Some(bars) => bars.suspend(plain),
        None => plain(),
    }
}

/// Writes a piece of a program's output, which may leave a line open.
pub(super) fn output(text: &str) {
    let mut line = line();
    put(text);
    *line = line.after(text);
}

fn put(text: &str) {
    let mut stream = io::stderr().lock();
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

#[cfg(test)]
mod tests {
    use super::{Line, begin, end, write};
    use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, TermLike};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// What a view asks of its terminal.
    #[derive(Clone, Debug, Default)]
    struct Asked(Arc<Mutex<Vec<String>>>);

    impl Asked {
        fn note(&self, what: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(what.to_owned());
            Ok(())
        }
    }

    impl TermLike for Asked {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            self.note("up")
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            self.note("down")
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            self.note("right")
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            self.note("left")
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.note("clear")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_program_left_open_is_ended_once() {
        let mut line = Line::Ended;
        assert_eq!(line.end(), "");
        line = line.after("10%").after("").after(" 20%");
        assert_eq!((line.end(), line.end()), ("\n", ""));
        line = line.after("30%").after("done\n");
        assert_eq!(line.end(), "");
    }

    #[test]
    fn a_view_makes_room_for_a_line_until_it_ends() {
        let asked = Asked::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(asked.clone()), 255);
        let bars = MultiProgress::with_draw_target(target);
        let bar = bars.add(ProgressBar::new_spinner());
        bar.set_message("a job");
        bar.tick();
        let since = |since: usize| asked.0.lock().unwrap()[since..].join(" ");
        let drawn = asked.0.lock().unwrap().len();
        begin(&bars);
        write("");
        assert!(since(drawn).contains("clear"), "{:?}", since(0));
        assert!(
            since(drawn).contains("a job"),
            "it is not drawn again: {:?}",
            since(0)
        );
        end();
        let drawn = asked.0.lock().unwrap().len();
        write("");
        assert_eq!(since(drawn), "");
    }
}
