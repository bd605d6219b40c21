//! The bytes of a program as lines for a screen.
//!
//! They have carriage returns that redraw a line, colours, the section markers of a trace, and whatever else a program prints. On
//! a screen that several jobs or steps share, only text and colours may survive: none must be able to move the cursor.

use crate::screen::{self, Colours};

/// A line longer than this is shown in pieces.
const LONGEST: usize = 16 * 1024;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    keeps_tabs: bool,
}

impl Lines {
    /// Lines for programs, to whom a tab is not the same as blanks.
    pub(crate) fn with_tabs() -> Self {
        Self {
            open: Vec::new(),
            keeps_tabs: true,
        }
    }

    /// Adds bytes; every line they complete is given on, without its end.
    pub(crate) fn write(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open.len() > LONGEST {
                let rest = self.open.split_off(self.open.len() - begun(&self.open));
                if let Some(text) = clean(&self.open, self.keeps_tabs) {
                    line(text);
                }
                self.open = rest;
            }
        }
    }
}

/// How many of the last bytes are the beginning of a character that is not whole.
fn begun(bytes: &[u8]) -> usize {
    let last = bytes
        .utf8_chunks()
        .last()
        .map_or(&b""[..], |chunk| chunk.invalid());
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

/// What a terminal would show of a line in the end; nothing for a line that only carried a marker.
fn clean(line: &[u8], keeps_tabs: bool) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let is_marker = text.starts_with("section_start:") || text.starts_with("section_end:");
    // What stands after the last carriage return has overwritten the rest.
    let shown = text
        .rsplit('\r')
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    let mut shown = screen::clean(shown, Colours::Kept);
    if !keeps_tabs {
        shown = shown.replace('\t', "    ");
    }
    if is_marker && (without_colours(&shown).trim().is_empty() || !text.contains('\r')) {
        None
    } else {
        Some(shown)
    }
}

/// The text of a line without its colours.
pub(crate) fn without_colours(text: &str) -> String {
    screen::clean(text, Colours::Dropped)
}

#[cfg(test)]
mod tests {
    use super::{Lines, without_colours};

    fn lines(writes: &[&str]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for write in writes {
            lines.write(write.as_bytes(), |line| seen.push(line));
        }
        seen
    }

    #[test]
    fn markers_vanish_and_headings_stay() {
        let seen = lines(&[
            "section_start:1:get_sources\r\u{1b}[0K\u{1b}[0K\u{1b}[36;1mGetting",
            " source\u{1b}[0;m\nsection_end:2:get_sources\r\u{1b}[0K\nplain\n",
        ]);
        assert_eq!(seen, ["\u{1b}[36;1mGetting source\u{1b}[0;m", "plain"]);
        assert_eq!(without_colours(&seen[0]), "Getting source");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "aä".repeat(super::LONGEST);
        let mut seen = String::new();
        let mut lines = Lines::default();
        for byte in long.bytes().chain([b'\n']) {
            lines.write(&[byte], |line| seen.push_str(&line));
        }
        assert!(seen == long, "{:?}", seen.find('\u{fffd}'));
    }

    #[test]
    fn a_redrawn_line_shows_its_last_state_and_nothing_moves_the_cursor() {
        assert_eq!(lines(&["10%\r50%\r100%\r\n"]), ["100%"]);
        assert_eq!(
            lines(&["a\u{1b}[2J\u{1b}[1;1Hb\u{7}\u{1b}]0;title\u{7}c\n"]),
            ["abc"]
        );
        assert_eq!(
            lines(&["\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\ \u{1b}]open\n"]),
            ["link open"]
        );
        assert_eq!(lines(&["unfinished"]), Vec::<String>::new());
        assert_eq!(lines(&["\n"]), [""]);
    }
}
