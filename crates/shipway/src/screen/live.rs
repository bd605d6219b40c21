//! Standard error while a live view redraws its last lines: everything else is written above them.
//!
//! One view draws at a time, so there is one place that says which; whoever writes need not know whether there is any.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

static DRAWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

fn drawn() -> std::sync::MutexGuard<'static, Option<MultiProgress>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
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
    match bars {
        Some(bars) => bars.suspend(|| put(text)),
        None => put(text),
    }
}

fn put(text: &str) {
    let mut stream = io::stderr().lock();
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

#[cfg(test)]
mod tests {
    use super::{begin, end, write};
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
