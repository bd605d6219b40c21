//! What the crates below log, on standard error: warnings and errors of ours, or what `RUST_LOG` asks for.
//!
//! An event is one line, above a live view if there is one, whatever stands in its fields: paths, names and the errors of
//! registries come from outside.

use std::io::{self, Write};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::foreign::phrase;

/// Without a word from the user: what of ours goes wrong. Libraries complain about clients, whom nobody here can mend.
const USUAL: &str = "shipway=warn";

/// Has events written from now on.
pub(crate) fn start() {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = match EnvFilter::try_new(&asked) {
        Ok(filter) if !asked.trim().is_empty() => filter,
        Ok(_) => EnvFilter::new(USUAL),
        Err(error) => {
            super::warning(&format!("RUST_LOG is not followed: {error}"));
            EnvFilter::new(USUAL)
        }
    };
    // Who was there before goes on.
    let _ = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Lines(|| Screen))
        .try_init();
}

/// Standard error, which takes whole lines.
struct Screen;

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        super::live::write(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a writer for each event.
struct Lines<F>(F);

impl<'a, W: Write, F: Fn() -> W> MakeWriter<'a> for Lines<F> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            stream: self.0(),
            text: Vec::new(),
        }
    }
}

/// One event, which goes out when it is whole.
struct Line<W: Write> {
    stream: W,
    text: Vec<u8>,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Line<W> {
    fn drop(&mut self) {
        let line = phrase(String::from_utf8_lossy(&self.text).trim_end());
        // Nobody may be there to read it.
        let _ = self.stream.write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A stream that is kept.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_of_text() {
        let kept = Kept::default();
        let stream = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(USUAL))
            .with_ansi(false)
            .with_writer(Lines(move || stream.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let path = "a\u{1b}]0;title\u{7}b\nerror: forged\u{9b}2J";
            tracing::warn!(target: "shipway_registry::client", %path, "a thing\u{1b}[31m went wrong");
            tracing::info!(target: "shipway_registry::client", "not asked for");
            tracing::error!(target: "library", "not ours");
        });
        let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(
            said.contains("went wrong") && said.contains("error: forged"),
            "{said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{said:?}");
        assert!(!said.trim_end().chars().any(char::is_control), "{said:?}");
    }
}
