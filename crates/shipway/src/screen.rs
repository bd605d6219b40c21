//! The two streams that people see. The only file that prints, so that colour, `NO_COLOR` and closed pipes are decided once,
//! and so that nothing reaches a terminal but text and colours, whoever wrote it.

pub(crate) mod echo;
mod foreign;
pub(crate) mod lines;
pub(crate) mod live;
pub(crate) mod log;

use std::io::{IsTerminal, Write};

pub(crate) use foreign::{Colours, clean, phrase};

/// What becomes of colours on a stream.
fn colours_on(stream: &impl IsTerminal) -> Colours {
    let is_asked_for = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_known = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    if is_asked_for && is_known && stream.is_terminal() {
        Colours::Kept
    } else {
        Colours::Dropped
    }
}

/// In colour where standard error shows it; whoever writes to the other stream drops it again where that does not.
fn paint(code: &str, text: &str) -> String {
    if of_others() == Colours::Kept {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Text in red on a terminal that shows colours; colour never carries meaning alone.
pub(crate) fn red(text: &str) -> String {
    paint("1;31", text)
}

/// Text in yellow on a terminal that shows colours.
pub(crate) fn yellow(text: &str) -> String {
    paint("1;33", text)
}

/// Text in cyan on a terminal that shows colours.
pub(crate) fn cyan(text: &str) -> String {
    paint("36", text)
}

/// Text in green on a terminal that shows colours.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// A line of result on standard output. A reader that is gone is no error: `shipway … | head` ends quietly.
pub(crate) fn line(text: &str) {
    let mut stream = std::io::stdout().lock();
    let text = clean(text, colours_on(&stream));
    let _ = writeln!(stream, "{text}");
}

/// A JSON document on standard output.
pub(crate) fn document(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", escaped(text));
}

/// JSON escapes the older half of the control characters; the others can only stand in its strings.
fn escaped(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for letter in document.chars() {
        match letter {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            other => text.push(other),
        }
    }
    text
}

/// A line for people on standard error.
pub(crate) fn error_line(text: &str) {
    live::write(&format!("{}\n", clean(text, Colours::Kept)));
}

/// A JSON document as a line on standard error, for programs.
pub(crate) fn error_document(text: &str) {
    live::write(&format!("{}\n", escaped(text)));
}

/// Text that is whole, line ends included, on one of the two streams; on standard error above a live view.
pub(crate) fn whole(text: &str, is_error: bool) {
    if is_error {
        live::write(&clean(text, of_others()));
    } else {
        let mut stream = std::io::stdout().lock();
        let text = clean(text, colours_on(&stream));
        let _ = stream.write_all(text.as_bytes());
    }
}

/// A question on standard error, the cursor left behind it.
pub(crate) fn error_prompt(text: &str) {
    error_text(&clean(text, Colours::Kept));
}

/// What becomes of the colours in other programs' text on standard error: they are shown where ours are.
pub(crate) fn of_others() -> Colours {
    colours_on(&std::io::stderr())
}

fn error_text(text: &str) {
    let mut stream = std::io::stderr().lock();
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

/// A warning for people on standard error.
pub(crate) fn warning(text: &str) {
    error_line(&format!(
        "{} {}",
        yellow("warning:"),
        clean(text, Colours::Dropped)
    ));
}

/// A size for people: `1.5 MB` in powers of ten, as Docker prints it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_the_same_without_a_control_character() {
        let value = serde_json::json!({ "a\u{9b}b": "\u{1b}[31m\u{7f}ü" });
        for document in [value.to_string(), format!("{value:#}")] {
            let shown = escaped(&document);
            assert!(
                !shown.chars().any(|letter| letter.is_control() && letter != '\n'),
                "{shown:?}"
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn sizes_are_in_powers_of_ten() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1000), "1.0 kB");
        assert_eq!(size(2_560_000), "2.6 MB");
        assert_eq!(size(u64::MAX), "18446.7 PB");
    }
}
